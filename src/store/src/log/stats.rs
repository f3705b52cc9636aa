//! The log's figures: counters that only grow, and a few levels.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of sync latency: bucket `i` counts syncs of less than `2^i` µs that fit no smaller bucket; the last
/// one counts all the rest.
pub const SYNC_BUCKETS: usize = 24;

/// A reading of the log's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Writes, each one vectored write and one sync: the batches of group commit, marks included.
    pub writes: u64,
    /// Syncs of a segment: one a write.
    pub syncs: u64,
    /// Of the writes, those without a record, made when the log idles or a segment is given up.
    pub marks: u64,
    /// Bytes written, with headers and padding, but without the headers of segments.
    pub bytes: u64,
    /// Records written, of any kind.
    pub records: u64,
    /// Entries written for the first time; divided by `writes` it is the batching.
    pub entries: u64,
    /// Bytes of records written again so that an old segment could go.
    pub rewritten_bytes: u64,
    /// The sum of all sync times, in ns.
    pub sync_total_ns: u64,
    /// The longest sync, in ns.
    pub sync_max_ns: u64,
    /// Syncs by latency: see [`SYNC_BUCKETS`].
    pub sync_buckets: [u64; SYNC_BUCKETS],
    /// Bytes of records that wait for the writer or are being written.
    pub queued_bytes: u64,
    /// Segments in use.
    pub segments_live: u64,
    /// Bytes of them that a recovery still needs.
    pub live_bytes: u64,
    /// Segments that wait for reuse.
    pub segments_free: u64,
    /// Whether the writer waits for room on the disk to begin a segment, so that nothing is written.
    pub waits_for_room: bool,
    /// Groups that must not take part any more.
    pub quarantined_groups: u64,
    /// Damaged places found in synced writes, at opening and since.
    pub damages: u64,
    /// Whether a write or sync has failed, so that the log takes nothing more.
    pub failed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) writes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) marks: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) rewritten_bytes: AtomicU64,
    sync_total_ns: AtomicU64,
    sync_max_ns: AtomicU64,
    sync_buckets: [AtomicU64; SYNC_BUCKETS],
    pub(super) segments_free: AtomicU64,
    pub(super) waits_for_room: AtomicBool,
    pub(super) damages: AtomicU64,
    pub(super) failed: AtomicBool,
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn synced(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - (ns / 1000).leading_zeros()) as usize;
        add(&self.sync_buckets[bucket.min(SYNC_BUCKETS - 1)], 1);
        add(&self.sync_total_ns, ns);
        self.sync_max_ns.fetch_max(ns, Ordering::Relaxed);
        add(&self.syncs, 1);
    }

    pub(super) fn read(&self) -> LogStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStats {
            writes: get(&self.writes),
            syncs: get(&self.syncs),
            marks: get(&self.marks),
            bytes: get(&self.bytes),
            records: get(&self.records),
            entries: get(&self.entries),
            rewritten_bytes: get(&self.rewritten_bytes),
            sync_total_ns: get(&self.sync_total_ns),
            sync_max_ns: get(&self.sync_max_ns),
            sync_buckets: std::array::from_fn(|bucket| get(&self.sync_buckets[bucket])),
            segments_free: get(&self.segments_free),
            waits_for_room: self.waits_for_room.load(Ordering::Relaxed),
            damages: get(&self.damages),
            failed: self.failed.load(Ordering::Relaxed),
            ..LogStats::default()
        }
    }
}
