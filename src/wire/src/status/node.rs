//! One node.

use super::ShardStatus;
use crate::codec::fields;
use crate::limits::{FIGURE_NAME_BYTES, FIGURES, GROUPS, NAME_BYTES, SOFTWARE_BYTES};

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its id.
    pub node: u64,
    /// Its name; at most 64 bytes.
    pub name: String,
    /// The version of its software; at most 64 bytes.
    pub software: String,
    /// Since its process started, ms.
    pub uptime_ms: u64,
    /// Its replicas, by shard.
    pub shards: Vec<ShardStatus>,
    /// Its record store.
    pub engine: EngineStatus,
    /// Figures of its log; at most 64.
    pub log: Vec<Figure>,
}
fields!(NodeStatus {
    node,
    name: NAME_BYTES,
    software: SOFTWARE_BYTES,
    uptime_ms,
    shards: GROUPS,
    engine,
    log: FIGURES,
});

/// How a record store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// Which engine; at most 64 bytes.
    pub name: String,
    /// Its figures; at most 64.
    pub figures: Vec<Figure>,
}
fields!(EngineStatus { name: NAME_BYTES, figures: FIGURES });

/// A figure with the name that metrics give it, so that new ones need no new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its name, unit last; at most 64 bytes.
    pub name: String,
    /// Its value.
    pub value: u64,
}
fields!(Figure { name: FIGURE_NAME_BYTES, value });
