//! The record store of one shard, with its writer in the same hand: nothing reaches the engine but when it is told.

use super::keys::Row;
use super::scratch;
use crate::micro::records::at;
use anyhow::{Context as _, Result, ensure};
use hapax_core::Records as _;
use hapax_store::disk::RealDisk;
use hapax_store::log::{GroupId, LogPosition};
use hapax_store::records::{AppliedMeta, EngineKind, RecordConfig, RecordStore, RecordWriter, ShardRecords};
use std::sync::Arc;
use tempfile::TempDir;

const GROUP: GroupId = GroupId { shard: 0, replica: 1 };
/// The writer's clock stands still, so that this never comes, ms.
const NEVER_MS: u64 = 1 << 40;
/// Records in an entry, where the size of entries is not what is measured.
const ENTRY_ROWS: usize = 4096;

/// The bounds of the product, and a writer that moves everything at each step: with a sync behind each batch, or
/// without any.
#[must_use]
pub fn config(kind: EngineKind, synced: bool) -> RecordConfig {
    RecordConfig {
        kind,
        batch_ms: 0,
        idle_ms: 0,
        sync_ms: if synced { 0 } else { NEVER_MS },
        sync_bytes: usize::MAX,
        sweep_ms: NEVER_MS,
        ..RecordConfig::default()
    }
}

/// An open store.
pub struct Stored {
    // Dropped in this order.
    shard: Arc<ShardRecords>,
    writer: RecordWriter,
    _store: RecordStore,
    config: RecordConfig,
    dir: TempDir,
}

impl Stored {
    /// A new one.
    ///
    /// # Errors
    /// What the disk or the engine says.
    pub fn open(config: RecordConfig) -> Result<Self> {
        Self::open_in(scratch::dir()?, config)
    }

    fn open_in(dir: TempDir, config: RecordConfig) -> Result<Self> {
        let opened = RecordStore::open(Arc::new(RealDisk), &dir.path().join("records"), config.clone());
        let (store, mut writer) = opened.context("the store does not open")?;
        let shard = store.shard(GROUP).context("the shard does not open")?;
        while !shard.is_filter_complete() {
            writer.step(0).context("the filter does not learn")?;
        }
        Ok(Self { shard, writer, _store: store, config, dir })
    }

    /// The records.
    #[must_use]
    pub fn shard(&self) -> &ShardRecords {
        &self.shard
    }

    /// The index of the last entry applied.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.shard.applied().position.map_or(0, |position| position.index)
    }

    /// Applies the entry `index`, as the state machine does: change by change, then all of them visible together.
    ///
    /// # Errors
    /// What the store says.
    pub fn apply(&self, index: u64, rows: Vec<Row>) -> Result<()> {
        let mut changes = self.shard.begin();
        for (address, record) in rows {
            changes.put(&address, Some(record))?;
        }
        let position = Some(LogPosition { term: 1, index });
        changes.commit(AppliedMeta { position, time: at(index).time, ..AppliedMeta::default() });
        Ok(())
    }

    /// Moves all that was applied into the engine, as one batch, and syncs it where the configuration says so.
    ///
    /// # Errors
    /// What the writer failed with, or that it left something behind.
    pub fn write(&mut self) -> Result<()> {
        let batches = self.shard.stats().batches;
        self.writer.step(0).context("the writer failed")?;
        let stats = self.shard.stats();
        ensure!(stats.pending_bytes == 0 && stats.batches == batches + 1, "no whole batch: {stats:?}");
        let applied = self.shard.applied().position;
        let is_durable = self.config.sync_ms > 0 || self.shard.durable() == applied;
        ensure!(is_durable, "{:?} is durable instead of {applied:?}", self.shard.durable());
        Ok(())
    }

    /// Applies records and moves them into the engine.
    ///
    /// # Errors
    /// What the store or its writer says.
    pub fn fill(&mut self, rows: &[Row]) -> Result<()> {
        for rows in rows.chunks(ENTRY_ROWS) {
            self.apply(self.index() + 1, rows.to_vec())?;
            self.write()?;
        }
        Ok(())
    }

    /// Closes it and opens it again, so that it has what the engine has and nothing else.
    ///
    /// # Errors
    /// It does not open.
    pub fn reopened(self) -> Result<Self> {
        let Self { shard, writer, _store: store, config, dir } = self;
        drop((shard, writer, store));
        Self::open_in(dir, config)
    }

    /// Whether it has exactly these records under their addresses.
    ///
    /// # Errors
    /// It has not, or the engine cannot tell.
    pub fn check(&self, rows: &[Row]) -> Result<()> {
        for (address, record) in rows {
            let found = self.shard.get(address)?;
            ensure!(found.as_ref() == Some(record), "{address:?} has {found:?} instead of {record:?}");
        }
        Ok(())
    }
}
