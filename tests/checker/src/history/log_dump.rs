//! A shard's log as one replica had it on disk.

use super::Hash16;
use serde::{Deserialize, Serialize};

/// One replica's log of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogDump {
    /// Whose.
    pub node: u32,
    /// Of which shard.
    pub shard: u32,
    /// Up to here the replica knew its entries to be committed.
    pub committed: u64,
    /// The entries that it still had, in rising order of their index, without gaps.
    pub entries: Vec<LogEntry>,
}

/// One entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEntry {
    /// Its index.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// [`Hash16::of`] over its bytes.
    pub digest: Hash16,
}
