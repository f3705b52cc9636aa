//! A node as its client port sees it.

use crate::listen::Service;
use hapax_raft::call::{Call, Caller};
use hapax_raft::node::Node;
use hapax_wire::client::ShardTable;
use hapax_wire::status::NodeStatus;
use std::sync::Arc;
use tokio::sync::watch;

/// A running node.
pub(super) struct NodeService(pub(super) Arc<Node>);

impl Service for NodeService {
    fn submit(&self, calls: Vec<Call>, caller: &Arc<Caller>) {
        self.0.submit(calls, caller);
    }

    fn cancel(&self, caller: &Arc<Caller>, id: u64) {
        // A held call looks whether its caller still wants it before it is granted.
        caller.cancel(id);
    }

    fn table(&self) -> ShardTable {
        self.0.table()
    }

    fn table_changes(&self) -> watch::Receiver<u64> {
        self.0.table_changes()
    }

    fn status(&self) -> NodeStatus {
        self.0.status()
    }
}
