//! The words of the log: groups, positions, entries, and what is known of a group.

use bytes::Bytes;

/// One Raft member on this node. A shard's replaced replica gets a new `replica`, so a group id names one
/// history for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The shard, or whatever else the group replicates.
    pub shard: u32,
    /// The replica id: never reused.
    pub replica: u64,
}

/// Where an entry stands in its group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The term that it was proposed in, in whatever form the Raft layer packs it.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// One entry. The payload is opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The term that it was proposed in.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// What the Raft layer encoded, at most [`super::LogConfig::entry_bytes_max`].
    pub payload: Bytes,
}

impl LogEntry {
    /// Term and index.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        LogPosition { term: self.term, index: self.index }
    }
}

/// What a group's log holds, as its callers see it: queued writes included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Up to where entries were purged.
    pub purged: Option<LogPosition>,
    /// The last entry, or the purge point if there is none after it.
    pub last: Option<LogPosition>,
    /// The last saved vote.
    pub vote: Option<Bytes>,
    /// The last saved commit position: a hint, possibly older than what was saved last, never beyond `last`
    /// after a restart.
    pub committed: Option<LogPosition>,
}
