//! What the client port needs of a node.

use hapax_raft::call::{Call, Caller};
use hapax_wire::client::ShardTable;
use hapax_wire::status::NodeStatus;
use std::sync::Arc;
use tokio::sync::watch;

/// A node as the client port sees it.
pub trait Service: Send + Sync + 'static {
    /// Takes calls. Never blocks; each call is answered exactly once through its caller.
    fn submit(&self, calls: Vec<Call>, caller: &Arc<Caller>);
    /// Nobody waits for this call any more.
    fn cancel(&self, caller: &Arc<Caller>, id: u64);
    /// Where the shards are.
    fn table(&self) -> ShardTable;
    /// Changes when the table does.
    fn table_changes(&self) -> watch::Receiver<u64>;
    /// How the node is.
    fn status(&self) -> NodeStatus;
}
