//! The bounds and the pace of the record store.

use super::engine::{EngineConfig, EngineKind};
use super::error::StoreError;
use std::fmt;
use std::sync::Arc;

/// What to do when the store has failed outside of its writer, as when a snapshot is being installed: nobody knows
/// what is on the disk then, and the process must end.
#[derive(Clone)]
pub struct OnFatal(Arc<dyn Fn(&StoreError) + Send + Sync>);

impl OnFatal {
    /// From what to do.
    #[must_use]
    pub fn new(hook: impl Fn(&StoreError) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// Tells of an error, if it is one.
    pub(super) fn check<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            tracing::error!(%error, "the record store has failed");
            (self.0)(error);
        }
        result
    }
}

impl Default for OnFatal {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for OnFatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFatal")
    }
}

/// How records are kept. Sizes are of memory, by estimate.
#[derive(Clone, Debug)]
pub struct RecordConfig {
    /// Which engine.
    pub kind: EngineKind,
    /// Its bounds.
    pub engine: EngineConfig,
    /// One shard's changes that the engine may lag behind before the shard is `overfull`, bytes.
    pub pending_bytes_max: usize,
    /// One shard's cache, bytes.
    pub cache_bytes_max: usize,
    /// One shard's filter of what the engine may hold, about 1.5 bytes a record, bytes. Beyond it more and more
    /// look-ups of what is absent go to the engine.
    pub filter_bytes_max: usize,
    /// Records that the filter learns of in one step after a start.
    pub learn_rows: usize,
    /// A shard's changes are written once they take this much, bytes: large batches become tables at once…
    pub batch_bytes: usize,
    /// …or once the oldest of them is this old, ms. What changes twice in between is written once; after a crash what
    /// was applied in that time is applied again, from the log.
    pub batch_ms: u64,
    /// A shard whose position moves but whose records do not is written this seldom, ms.
    pub idle_ms: u64,
    /// The engine is synced once this much was written, bytes…
    pub sync_bytes: usize,
    /// …or once the oldest unsynced batch is this old, ms.
    pub sync_ms: u64,
    /// While less than this is free on the file system, nothing is written: a write that fails ends the engine.
    /// What was applied waits in memory, and is in the log; 0 writes always. To be less than the log's reserve,
    /// so that it is the log that refuses first.
    pub reserve_bytes: u64,
    /// Where the engine does not reclaim by itself: between two steps of the sweep, ms.
    pub sweep_ms: u64,
    /// Rows that one step of the sweep looks at.
    pub sweep_rows: usize,
    /// What to do when the disk fails outside of the writer. Default: nothing.
    pub fatal: OnFatal,
}

/// A batch of sled: it gains nothing by large ones, and holds up views while it takes one.
const SLED_BATCH_BYTES: usize = 4 << 20;
const SLED_BATCH_MS: u64 = 500;

impl RecordConfig {
    /// By how many bytes, and after how many ms, a shard's changes are written: as configured, or less by the engine.
    pub(crate) fn batch(&self) -> (usize, u64) {
        match self.kind {
            EngineKind::Sled => (self.batch_bytes.min(SLED_BATCH_BYTES), self.batch_ms.min(SLED_BATCH_MS)),
            EngineKind::Fjall | EngineKind::Memory(_) => (self.batch_bytes, self.batch_ms),
        }
    }
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            kind: EngineKind::Fjall,
            engine: EngineConfig::default(),
            pending_bytes_max: 96 << 20,
            cache_bytes_max: 8 << 20,
            filter_bytes_max: 16 << 20,
            learn_rows: 4_096,
            batch_bytes: 32 << 20,
            batch_ms: 4_000,
            idle_ms: 10_000,
            sync_bytes: 64 << 20,
            sync_ms: 1_000,
            reserve_bytes: 0,
            sweep_ms: 200,
            sweep_rows: 500,
            fatal: OnFatal::default(),
        }
    }
}
