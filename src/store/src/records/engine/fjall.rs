//! The default engine: a log-structured merge tree a shard behind one journal.
//!
//! What is particular to it:
//! - A space is one keyspace. A small batch goes through one journal record with a checksum; recovery drops a torn one.
//!   It waits in a memtable until that is large enough to be a table.
//! - A large batch becomes a table at once, past journal and memtable: its rows are written once instead of twice and
//!   need no skip list. What the memtable holds becomes a table before it, so that batches stay in their order. Such
//!   a batch is durable when it was written. Where tables pile up it goes through the journal, whose writes wait for
//!   compactions.
//! - Reclaiming happens in compactions, by a filter. It answers `Remove` (a tombstone), never `Destroy`, which
//!   lets an older version of the row come back.
//! - It opens without a word after a journal block was damaged, as if what followed had never been written. The
//!   marks kept outside (see `marks`) tell that apart from a crash.
//! - `clear()` is not used; a space is emptied by dropping it and taking a new name.
//! - A commit may stall for a long time behind compactions, so that only the background writer commits.
//! - Rows are handed over and given back as views of shared buffers, not copied; whoever keeps one for long keeps the
//!   buffer or block that it is part of.
//! - A flush or a compaction that ends while a batch is being applied to the memtable makes the rows so far
//!   visible, so that a snapshot taken then would show a part of the batch. While a space is written, its views
//!   are of before the batch.
//! - Ingestion flushes the memtable by itself, which the database's housekeeping does not hear of: its journal would
//!   grow for ever. So the memtable is handed to the flushing threads before.

use super::guard::guarded;
use super::{BatchRow, EngineConfig, EngineSpace, EngineView, RecordEngine, Rows};
use crate::records::error::StoreError;
use crate::records::reclaim::{self, Verdict};
use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::compaction::filter::{self, CompactionFilter, Context, Factory, ItemAccessor};
use fjall::config::PartitioningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use hapax_core::LogTime;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Tables of one space that are merged into the next level together. Each merge writes what it meets there again, so
/// that few large ones write less than many small ones; a read looks into the filter of each.
const MERGED_TABLES: u8 = 16;

/// Bytes of a table that a merge writes, and a sixteenth of the first level that tables are merged into.
const TABLE_BYTES: u64 = 32 << 20;

/// With as many tables that wait to be merged, large batches go through the journal too, whose writes wait from 30 on.
const WAITING_TABLES_MAX: usize = 26;

/// The fjall engine.
pub struct FjallEngine {
    database: Database,
    memtable_bytes: u64,
    table_bytes_min: usize,
    floors: Floors,
}

/// For each space, the time by which a row must have ended for compaction to reclaim it.
type Floors = Arc<Mutex<HashMap<String, Arc<AtomicU64>>>>;

fn floor(floors: &Floors, name: &str) -> Arc<AtomicU64> {
    Arc::clone(floors.lock().entry(name.to_owned()).or_default())
}

impl std::fmt::Debug for FjallEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallEngine").finish_non_exhaustive()
    }
}

impl FjallEngine {
    /// Opens or creates the database in `dir`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it cannot be recovered; [`StoreError::Io`] when the disk refuses.
    pub fn open(dir: &Path, config: &EngineConfig) -> Result<Self, StoreError> {
        let floors = Floors::default();
        let for_filters = Arc::clone(&floors);
        let database = guarded("open the database", || {
            Database::builder(dir)
                .cache_size(config.block_cache_bytes)
                .max_journaling_size(config.journal_bytes.max(64 << 20))
                .worker_threads(config.worker_threads.max(1))
                .with_compaction_filter_factories(Arc::new(move |name| {
                    Some(Arc::new(ReclaimFactory { before: floor(&for_filters, name) }))
                }))
                .open()
                .map_err(|error| failed("open the database", error))
        })?;
        let EngineConfig { memtable_bytes, table_bytes_min, .. } = *config;
        Ok(Self { database, memtable_bytes, table_bytes_min, floors })
    }
}

/// A refusal of the disk is told apart from files that are not what they should be.
fn failed(doing: &'static str, error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(error) if !reads_garbage(&error) => StoreError::io(doing, error),
        fjall::Error::Storage(fjall::LsmError::Io(error)) if !reads_garbage(&error) => {
            StoreError::io(doing, error)
        }
        fjall::Error::Poisoned => StoreError::io(doing, "an earlier write or sync failed"),
        fjall::Error::Locked => StoreError::io(doing, "another process holds the database"),
        fjall::Error::KeyspaceDeleted => StoreError::Closed,
        other => StoreError::damaged(doing, other),
    }
}

/// I/O errors by which a decoder says that a file is not what it should be.
fn reads_garbage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | NotFound | UnexpectedEof)
}

impl RecordEngine for FjallEngine {
    fn space(&self, name: &str) -> Result<Arc<dyn EngineSpace>, StoreError> {
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(self.memtable_bytes)
                .index_block_partitioning_policy(PartitioningPolicy::new([false, true]))
                .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
                .compaction_strategy(Arc::new(
                    Leveled::default().with_l0_threshold(MERGED_TABLES).with_table_target_size(TABLE_BYTES),
                ))
        };
        let keyspace = guarded("open a keyspace", || {
            self.database.keyspace(name, options).map_err(|error| failed("open a keyspace", error))
        })?;
        Ok(Arc::new(FjallSpace {
            database: self.database.clone(),
            keyspace,
            before: floor(&self.floors, name),
            table_bytes_min: self.table_bytes_min,
            is_in_memtable: AtomicBool::new(true),
            commit: Mutex::default(),
            before_batch: Mutex::default(),
        }))
    }

    fn space_names(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.database.list_keyspace_names().iter().map(|name| name.to_string()).collect())
    }

    fn drop_space(&self, name: &str) -> Result<(), StoreError> {
        if !self.database.keyspace_exists(name) {
            return Ok(());
        }
        guarded("drop a keyspace", || {
            let keyspace = self
                .database
                .keyspace(name, KeyspaceCreateOptions::default)
                .map_err(|error| failed("open a keyspace", error))?;
            self.database.delete_keyspace(keyspace).map_err(|error| failed("drop a keyspace", error))
        })?;
        self.floors.lock().remove(name);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        guarded("sync the journal", || {
            self.database.persist(PersistMode::SyncAll).map_err(|error| failed("sync the journal", error))
        })
    }

    fn size_bytes(&self) -> u64 {
        guarded("measure the database", || {
            self.database.disk_space().map_err(|error| failed("measure the database", error))
        })
        .unwrap_or(0)
    }
}

/// One keyspace; nobody else writes to it.
struct FjallSpace {
    database: Database,
    keyspace: Keyspace,
    before: Arc<AtomicU64>,
    /// A batch of at least this many bytes becomes a table.
    table_bytes_min: usize,
    /// The memtable may hold something. So it may after a start.
    is_in_memtable: AtomicBool,
    /// Held while a batch is written.
    commit: Mutex<()>,
    /// While a batch is written: what there was before it. Never held for long.
    before_batch: Mutex<Option<Snapshot>>,
}

impl std::fmt::Debug for FjallSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallSpace").finish_non_exhaustive()
    }
}

impl EngineSpace for FjallSpace {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        guarded("read a row", || {
            let value = self.keyspace.get(key).map_err(|error| failed("read a row", error))?;
            Ok(value.map(Bytes::from))
        })
    }

    fn write_rows(&self, rows: &mut dyn Iterator<Item = BatchRow>, bytes: usize) -> Result<(), StoreError> {
        let is_table = bytes >= self.table_bytes_min && self.keyspace.l0_table_count() < WAITING_TABLES_MAX;
        guarded("write a batch", || {
            let _one_at_a_time = self.commit.lock();
            *self.before_batch.lock() = Some(self.database.snapshot());
            let written = if is_table { self.write_table(rows) } else { self.write_journaled(rows) };
            // Where it failed, nobody knows what of it can be seen: views stay those of before it.
            if written.is_ok() {
                *self.before_batch.lock() = None;
            }
            written.map_err(|error| failed("write a batch", error))
        })
    }

    fn view(&self) -> Result<Arc<dyn EngineView>, StoreError> {
        let snapshot = guarded("open a view", || {
            let before_batch = self.before_batch.lock();
            Ok(before_batch.clone().unwrap_or_else(|| self.database.snapshot()))
        })?;
        Ok(Arc::new(FjallView { snapshot, keyspace: self.keyspace.clone() }))
    }

    fn reclaim_before(&self, time: LogTime) {
        self.before.fetch_max(time.0, Ordering::Relaxed);
    }

    fn sweep(&self, _after: Option<Bytes>, _rows_max: usize) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
}

impl FjallSpace {
    /// Writes a batch to the journal and to the memtable.
    fn write_journaled(&self, rows: &mut dyn Iterator<Item = BatchRow>) -> fjall::Result<()> {
        self.is_in_memtable.store(true, Ordering::Relaxed);
        let mut batch = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), rows.size_hint().0);
        for (key, value) in rows {
            match value {
                Some(value) => batch.insert(&self.keyspace, key, value),
                None => batch.remove(&self.keyspace, key),
            }
        }
        batch.commit()
    }

    /// Writes a batch as a table, or as few, that one change of the list of tables lets count.
    fn write_table(&self, rows: &mut dyn Iterator<Item = BatchRow>) -> fjall::Result<()> {
        if self.is_in_memtable.load(Ordering::Relaxed) {
            self.keyspace.rotate_memtable()?;
            self.is_in_memtable.store(false, Ordering::Relaxed);
        }
        let mut ingestion = self.keyspace.start_ingestion()?;
        for (key, value) in rows {
            match value {
                Some(value) => ingestion.write(key, value)?,
                None => ingestion.write_tombstone(key)?,
            }
        }
        ingestion.finish()
    }
}

/// A snapshot of the database, looked at through one keyspace.
struct FjallView {
    snapshot: Snapshot,
    keyspace: Keyspace,
}

impl EngineView for FjallView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        guarded("read a row", || {
            let value =
                self.snapshot.get(&self.keyspace, key).map_err(|error| failed("read a row", error))?;
            Ok(value.map(Bytes::from))
        })
    }

    fn rows(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows {
        let mut inner = None;
        let (snapshot, keyspace) = (self.snapshot.clone(), self.keyspace.clone());
        let own = |bound: Bound<&[u8]>| bound.map(<[u8]>::to_vec);
        let range = (own(from), own(to));
        let mut over = false;
        Box::new(std::iter::from_fn(move || {
            if over {
                return None;
            }
            let row = guarded("scan rows", || {
                let rows =
                    inner.get_or_insert_with(|| snapshot.range::<Vec<u8>, _>(&keyspace, range.clone()));
                let Some(row) = rows.next() else { return Ok(None) };
                let (key, value) = row.into_inner().map_err(|error| failed("scan rows", error))?;
                Ok(Some((Bytes::from(key), Bytes::from(value))))
            });
            over = !matches!(row, Ok(Some(_)));
            row.transpose()
        }))
    }
}

/// Makes the filter of one keyspace's compactions.
struct ReclaimFactory {
    before: Arc<AtomicU64>,
}

impl Factory for ReclaimFactory {
    fn name(&self) -> &str {
        "reclaim"
    }

    fn make_filter(&self, _ctx: &Context) -> Box<dyn CompactionFilter> {
        Box::new(ReclaimFilter { before: LogTime(self.before.load(Ordering::Relaxed)) })
    }
}

/// Reclaims what had ended when the compaction began.
struct ReclaimFilter {
    before: LogTime,
}

impl CompactionFilter for ReclaimFilter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _ctx: &Context) -> filter::CompactionFilterResult {
        let value = item.value()?;
        Ok(match reclaim::verdict(item.key(), &value, self.before) {
            Verdict::Keep => filter::Verdict::Keep,
            Verdict::Drop => filter::Verdict::Remove,
            Verdict::Shrink(smaller) => filter::Verdict::ReplaceValue(smaller.into()),
        })
    }
}
