//! How a node describes itself, to clients and to its peers.

mod node;
mod shard;

pub use node::{EngineStatus, Figure, NodeStatus};
pub use shard::{Match, ShardRole, ShardStatus};
