//! The bounds and the pace of the record store.

use super::engine::{EngineConfig, EngineKind};

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
    /// A shard's changes are written once they take this much, bytes…
    pub batch_bytes: usize,
    /// …or once the oldest of them is this old, ms. What changes twice in between is written once.
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
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            kind: EngineKind::Fjall,
            engine: EngineConfig::default(),
            pending_bytes_max: 32 << 20,
            cache_bytes_max: 8 << 20,
            batch_bytes: 4 << 20,
            batch_ms: 500,
            idle_ms: 10_000,
            sync_bytes: 64 << 20,
            sync_ms: 1_000,
            reserve_bytes: 0,
            sweep_ms: 200,
            sweep_rows: 500,
        }
    }
}
