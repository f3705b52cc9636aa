//! What can go wrong in the log, said so that the caller knows whether anything was written.

use std::io;
use std::sync::Arc;

use super::types::{GroupId, LogPosition};

/// An error of the shared log. It is cheap to clone: one failed sync is told to every caller that waited.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// A write or sync failed. The log takes nothing more until it is opened again, in a new process.
    #[error("the log failed to {doing}: {error}")]
    Io {
        /// What was being done, e.g. `sync a segment`.
        doing: &'static str,
        /// What the disk said.
        error: Arc<io::Error>,
    },
    /// The disk has less free space than the configured reserve. Nothing was written: definite.
    #[error("disk full: {free_bytes} bytes are free, {reserve_bytes} are kept in reserve")]
    DiskFull {
        /// Free bytes, recycled segments counted as free.
        free_bytes: u64,
        /// The reserve of the configuration.
        reserve_bytes: u64,
    },
    /// The log was stopped while it waited for room on the disk to begin a segment. Nothing was written: definite.
    #[error("the disk has no room for another segment of the log, of {segment_bytes} bytes")]
    NoRoom {
        /// The length of a segment.
        segment_bytes: u64,
    },
    /// The queue to the writer has no room. Nothing was written: definite.
    #[error("the log's queue is full")]
    QueueFull,
    /// An entry is longer than the configured bound. Nothing was written: definite.
    #[error("an entry of {bytes} bytes is over the bound of {bytes_max}")]
    EntryTooLarge {
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The indexes do not follow one another or the log's last one. Nothing was written: definite.
    #[error("log index {found} does not follow: expected {expected}")]
    OutOfOrder {
        /// What was expected.
        expected: u64,
        /// What was found.
        found: u64,
    },
    /// A record of this group was damaged on disk: the replica must not take part again under its id.
    #[error("the log of shard {} replica {} is quarantined: {reason}", group.shard, group.replica)]
    Quarantined {
        /// Whose log.
        group: GroupId,
        /// What was found, without a byte of any payload.
        reason: Arc<str>,
    },
    /// The group was removed. Nothing was written: definite.
    #[error("the log of shard {} replica {} was removed", .0.shard, .0.replica)]
    Removed(GroupId),
    /// The entries asked for were purged.
    #[error("log index {from} is purged, up to {}", purged.index)]
    Purged {
        /// What was asked for.
        from: u64,
        /// Up to where it is gone.
        purged: LogPosition,
    },
    /// An entry was truncated or moved again and again while it was read; the caller may ask again.
    #[error("the entries changed while they were read")]
    Changed,
    /// The log was stopped, or its writer is gone.
    #[error("the log is stopped")]
    Stopped,
    /// The configuration cannot work.
    #[error("log configuration: {0}")]
    Config(&'static str),
    /// The directory holds a log that this version cannot read.
    #[error("segment {segment} has format version {found}, this program reads {supported}")]
    Version {
        /// The segment's id.
        segment: u64,
        /// The version found.
        found: u32,
        /// The version that this program writes and reads.
        supported: u32,
    },
}

impl LogError {
    /// Maps a disk error, naming what was being done.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { doing, error: Arc::new(error) }
    }

    /// Whether the call had no effect and will have none.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Stopped)
    }
}
