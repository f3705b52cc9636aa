//! The log's bounds and the few effects that it needs from its host.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::LogError;
use super::format;

/// Called once, by the writer, when a write or sync has failed. The server aborts the process here.
pub type FatalHook = Arc<dyn Fn(&LogError) + Send + Sync>;

/// A monotonic clock, for measuring syncs only.
pub type MonotonicClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Bounds, in bytes unless named otherwise.
#[derive(Clone)]
pub struct LogConfig {
    /// The length of a segment file. Default 64 MiB.
    pub segment_bytes: u64,
    /// What each write is aligned to, a power of two of 512 to 65536; default 4096, so that a write into a
    /// recycled segment covers whole pages and the kernel need not read them first.
    pub block_bytes: u32,
    /// Freed segments kept for reuse. Default 4. One is always set aside ahead, while the disk has room.
    pub recycled_segments_max: usize,
    /// Beyond so many segments in use, what is still live in the oldest is rewritten. Default 16.
    pub live_segments_max: usize,
    /// At most so much is rewritten in one write. Default 1 MiB.
    pub rewrite_bytes_max: usize,
    /// Payload bytes of written entries kept in memory for each group. Default 4 MiB.
    pub cache_bytes_per_group: usize,
    /// Bytes that may wait for the writer, of all groups together. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// The longest entry. Default 8 MiB.
    pub entry_bytes_max: usize,
    /// About so much goes into one write; a longer single entry goes alone. Default 8 MiB.
    pub write_bytes_max: usize,
    /// Appends are refused while less than this is free on the file system. Default 256 MiB.
    pub reserve_bytes: u64,
    /// After so long without work, the last write is named by a mark. Default 20 ms.
    pub idle_mark_after: Duration,
    /// What to do when the log has failed. Default: nothing.
    pub fatal: FatalHook,
    /// For the sync latency figures. Default: stands still, so that all figures are 0.
    pub clock: MonotonicClock,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            block_bytes: 4096,
            recycled_segments_max: 4,
            live_segments_max: 16,
            rewrite_bytes_max: 1 << 20,
            cache_bytes_per_group: 4 << 20,
            queue_bytes_max: 64 << 20,
            entry_bytes_max: 8 << 20,
            write_bytes_max: 8 << 20,
            reserve_bytes: 256 << 20,
            idle_mark_after: Duration::from_millis(20),
            fatal: Arc::new(|_| {}),
            clock: Arc::new(|| Duration::ZERO),
        }
    }
}

impl fmt::Debug for LogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogConfig")
            .field("segment_bytes", &self.segment_bytes)
            .field("block_bytes", &self.block_bytes)
            .field("recycled_segments_max", &self.recycled_segments_max)
            .field("live_segments_max", &self.live_segments_max)
            .field("rewrite_bytes_max", &self.rewrite_bytes_max)
            .field("cache_bytes_per_group", &self.cache_bytes_per_group)
            .field("queue_bytes_max", &self.queue_bytes_max)
            .field("entry_bytes_max", &self.entry_bytes_max)
            .field("write_bytes_max", &self.write_bytes_max)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("idle_mark_after", &self.idle_mark_after)
            .finish_non_exhaustive()
    }
}

impl LogConfig {
    /// The longest write that any allowed batch can become: the queue's part, the rewriter's part, one commit
    /// record a group, and the mark, each with their headers.
    pub(super) fn write_bytes_worst(&self) -> u64 {
        let queued = self.write_bytes_max.max(self.entry_bytes_max) as u64 * 2;
        let rewritten = self.rewrite_bytes_max.max(self.entry_bytes_max) as u64;
        queued + rewritten + format::WRITE_OVERHEAD_MAX + u64::from(self.block_bytes)
    }

    /// Whether these bounds fit together.
    pub(super) fn check(&self) -> Result<(), LogError> {
        if !self.block_bytes.is_power_of_two() || !(512..=65536).contains(&self.block_bytes) {
            return Err(LogError::Config("block_bytes must be a power of two of 512 to 65536"));
        }
        if !self.segment_bytes.is_multiple_of(u64::from(self.block_bytes)) || self.segment_bytes > 1 << 30 {
            return Err(LogError::Config("segment_bytes must be whole blocks and at most 1 GiB"));
        }
        if self.segment_bytes < self.write_bytes_worst() + u64::from(self.block_bytes) {
            return Err(LogError::Config(
                "segment_bytes must hold twice the larger of write_bytes_max and entry_bytes_max, \
                 one rewrite, and 64 KiB",
            ));
        }
        if self.live_segments_max < 2 {
            return Err(LogError::Config("live_segments_max must be at least 2"));
        }
        if self.queue_bytes_max > (u32::MAX as usize) || self.queue_bytes_max < 4096 {
            return Err(LogError::Config("queue_bytes_max must be 4 KiB to 4 GiB"));
        }
        Ok(())
    }
}
