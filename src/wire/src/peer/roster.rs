//! Who is in a fixed cluster, agreed on once before it first runs.

use super::body::body;
use crate::cluster::ClusterId;
use crate::codec::fields;
use crate::limits::{GROUPS, NAME_BYTES, NODES, REPLICAS};

/// Who is in a cluster, and where its shards are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// How many data shards it has; never changes.
    pub shards: u32,
    /// How many replicas a shard has.
    pub replication: u8,
    /// Rises with every change.
    pub version: u64,
    /// The nodes.
    pub nodes: Vec<RosterNode>,
    /// The replicas of every shard.
    pub table: Vec<RosterShard>,
}
fields!(Roster { cluster, shards, replication, version, nodes: NODES, table: GROUPS });

/// One node of the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterNode {
    /// Its id, drawn by itself.
    pub id: u64,
    /// Its name in the configuration; at most 64 bytes.
    pub name: String,
}
fields!(RosterNode { id, name: NAME_BYTES });

/// One shard of the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterShard {
    /// The shard.
    pub shard: u32,
    /// The ids of its replicas, the preferred leader first.
    pub replicas: Vec<u64>,
}
fields!(RosterShard { shard, replicas: REPLICAS });

/// Tells who is asking, and asks for the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterAsk {
    /// The asking node's id.
    pub node: u64,
    /// Its name; at most 64 bytes.
    pub name: String,
    /// The roster that it has, if any.
    pub roster: Option<Roster>,
}
fields!(RosterAsk { node, name: NAME_BYTES, roster });
body!(RosterAsk, ROSTER_ASK);

/// The reply to a [`RosterAsk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterReply {
    /// The replying node's id.
    pub node: u64,
    /// Its name; at most 64 bytes.
    pub name: String,
    /// The roster that it has, if any.
    pub roster: Option<Roster>,
}
fields!(RosterReply { node, name: NAME_BYTES, roster });
body!(RosterReply, ROSTER_REPLY);
