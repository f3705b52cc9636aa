//! What the node says of itself over HTTP, from its first moment to its last.

use crate::http::Health;
use crate::metrics::Families;
use hapax_raft::node::{Node, Readiness};
use parking_lot::RwLock;
use std::sync::Arc;

/// Where the node is in its life.
enum Phase {
    /// Not serving yet, and why.
    Starting(String),
    /// Serving.
    Running(Arc<Node>),
    /// Not serving any more; its figures can still be read.
    Stopping(Arc<Node>),
}

/// The node's health.
pub(super) struct NodeHealth {
    phase: RwLock<Phase>,
}

impl NodeHealth {
    /// A node that starts.
    pub(super) fn new(doing: &str) -> Arc<Self> {
        Arc::new(Self { phase: RwLock::new(Phase::Starting(doing.to_owned())) })
    }

    /// What it is doing now, before it serves.
    pub(super) fn starting(&self, doing: String) {
        *self.phase.write() = Phase::Starting(doing);
    }

    /// It serves, as far as its replicas do.
    pub(super) fn running(&self, node: Arc<Node>) {
        *self.phase.write() = Phase::Running(node);
    }

    /// It is about to stop.
    pub(super) fn stopping(&self, node: Arc<Node>) {
        *self.phase.write() = Phase::Stopping(node);
    }

    /// It holds on to nothing any more.
    pub(super) fn stopped(&self) {
        self.starting("the node has stopped".to_owned());
    }

    fn node(&self) -> Option<Arc<Node>> {
        match &*self.phase.read() {
            Phase::Starting(_) => None,
            Phase::Running(node) | Phase::Stopping(node) => Some(Arc::clone(node)),
        }
    }
}

impl Health for NodeHealth {
    fn not_ready(&self) -> Vec<String> {
        match &*self.phase.read() {
            Phase::Starting(doing) => vec![doing.clone()],
            Phase::Stopping(_) => vec!["the node is stopping".to_owned()],
            Phase::Running(node) => match node.readiness() {
                Readiness::Ready => Vec::new(),
                Readiness::NotReady { reasons } => reasons,
            },
        }
    }

    fn levels(&self) -> Families {
        self.node().map(|node| crate::metrics::of_node(&node)).unwrap_or_default()
    }
}
