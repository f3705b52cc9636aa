//! What the node says of itself over HTTP, from its first moment to its last.

use crate::config::Config;
use crate::http::Health;
use crate::metrics::Families;
use hapax_raft::node::{Node, Readiness};
use hapax_store::disk::Disk;
use parking_lot::RwLock;
use std::path::PathBuf;
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
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    reserve_bytes: u64,
}

impl NodeHealth {
    /// A node that starts.
    pub(super) fn new(doing: &str, disk: Arc<dyn Disk>, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            phase: RwLock::new(Phase::Starting(doing.to_owned())),
            disk,
            data_dir: config.node.data_dir.clone(),
            reserve_bytes: config.storage.reserve_bytes,
        })
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
        let mut families = self.node().map(|node| crate::metrics::of_node(&node)).unwrap_or_default();
        // What cannot be measured is left out rather than shown as nothing.
        if let Ok(free_bytes) = self.disk.free_bytes(&self.data_dir) {
            crate::metrics::of_disk(&mut families, free_bytes, self.reserve_bytes);
        }
        families
    }
}
