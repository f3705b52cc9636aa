//! Which node leads which shard.

use crate::codec::fields;
use crate::limits::{ADDR_BYTES, GROUPS, NAME_BYTES, NODES, REPLICAS, ZONE_BYTES};
use crate::message::message;

/// Asks for a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableAsk {
    /// Names the question, among this connection's calls and questions in flight; not 0.
    pub id: u64,
}
message!(TableAsk, TABLE_ASK, CLIENT_FRAME_BYTES, id);

/// The answer to a [`TableAsk`]; also sent unasked, with id 0, when leaders have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The question's; 0 when nobody asked.
    pub id: u64,
    /// The table.
    pub table: ShardTable,
}
message!(Table, TABLE, CLIENT_FRAME_BYTES, id, table);

/// Where the shards are, as far as the answering node knows. A client that follows an old one is
/// redirected by `not_leader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardTable {
    /// Rises with every change of placement (not with every change of leader).
    pub version: u64,
    /// Every data shard, by number.
    pub shards: Vec<ShardEntry>,
    /// Every node that is named above.
    pub nodes: Vec<NodeEntry>,
}
fields!(ShardTable { version, shards: GROUPS, nodes: NODES });

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardEntry {
    /// Its number, from 0.
    pub shard: u32,
    /// The node that leads it, if one is known.
    pub leader: Option<u64>,
    /// Where its replicas are.
    pub replicas: Vec<ReplicaRef>,
}
fields!(ShardEntry { shard, leader, replicas: REPLICAS });

/// One replica of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaRef {
    /// The node that it is on.
    pub node: u64,
    /// Its id in its Raft group.
    pub replica: u64,
}
fields!(ReplicaRef { node, replica });

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its id.
    pub id: u64,
    /// Its name; at most 64 bytes.
    pub name: String,
    /// Where clients reach it, `host:port`.
    pub client_addr: String,
    /// Its failure domain; empty where none is set.
    pub zone: String,
}
fields!(NodeEntry { id, name: NAME_BYTES, client_addr: ADDR_BYTES, zone: ZONE_BYTES });
