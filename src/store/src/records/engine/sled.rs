//! The sled engine: one tree a space.
//!
//! What is particular to it:
//! - Its `flush()` is `sync_file_range` on Linux, which does not survive the loss of power. After each flush we
//!   sync its file `db` ourselves. Even so it is rebuildable only: never the only copy of an acknowledged byte.
//! - It keeps no versions: a view holds up the writes of its tree ([`StoreError::Pinned`]) until it is dropped.
//! - It reclaims nothing by itself: [`EngineSpace::sweep`] does, in small batches between the writer's.
//! - It panics on files that it does not like; that is damage here.

use super::guard::guarded;
use super::{BatchRow, EngineConfig, EngineSpace, EngineView, RecordEngine, Rows};
use crate::records::error::StoreError;
use crate::records::reclaim::{self, Verdict};
use bytes::Bytes;
use hapax_core::LogTime;
use parking_lot::Mutex;
use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The tree that sled always has; not one of ours.
const DEFAULT_TREE: &[u8] = b"__sled__default";

/// The sled engine.
pub struct SledEngine {
    database: sled::Db,
    /// Its one big file, opened a second time: a sync of any handle syncs the file.
    file: File,
    dir: PathBuf,
}

impl std::fmt::Debug for SledEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledEngine").finish_non_exhaustive()
    }
}

impl SledEngine {
    /// Opens or creates the database in `dir`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when sled cannot recover it; [`StoreError::Io`] when the disk refuses.
    pub fn open(dir: &Path, config: &EngineConfig) -> Result<Self, StoreError> {
        let database = guarded("open the database", || {
            sled::Config::new()
                .path(dir)
                .cache_capacity(config.block_cache_bytes)
                .flush_every_ms(None)
                .open()
                .map_err(|error| failed("open the database", error))
        })?;
        let file = File::open(dir.join("db")).map_err(|error| StoreError::io("open sled's file", error))?;
        Ok(Self { database, file, dir: dir.to_owned() })
    }
}

fn failed(doing: &'static str, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => StoreError::io(doing, error),
        sled::Error::CollectionNotFound(_) => StoreError::Closed,
        // Its text may carry bytes of the file; the kind is enough.
        sled::Error::Corruption { .. } => StoreError::damaged(doing, "sled found corruption"),
        sled::Error::ReportableBug(_) => StoreError::damaged(doing, "sled met a state that it calls a bug"),
        sled::Error::Unsupported(_) => StoreError::damaged(doing, "sled refused"),
    }
}

impl RecordEngine for SledEngine {
    fn space(&self, name: &str) -> Result<Arc<dyn EngineSpace>, StoreError> {
        let tree = guarded("open a tree", || {
            self.database.open_tree(name).map_err(|error| failed("open a tree", error))
        })?;
        Ok(Arc::new(SledSpace { tree, gate: Gate::default(), before: AtomicU64::new(0) }))
    }

    fn space_names(&self) -> Result<Vec<String>, StoreError> {
        let names = guarded("list the trees", || Ok(self.database.tree_names()))?;
        let ours = names.iter().filter(|name| name.as_ref() != DEFAULT_TREE);
        Ok(ours.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    fn drop_space(&self, name: &str) -> Result<(), StoreError> {
        guarded("drop a tree", || {
            self.database.drop_tree(name).map(|_| ()).map_err(|error| failed("drop a tree", error))
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        guarded("flush", || self.database.flush().map(|_| ()).map_err(|error| failed("flush", error)))?;
        let failed = |error| StoreError::io("sync sled's files", error);
        self.file.sync_data().map_err(failed)?;
        // Long values and snapshots of the page table are files of their own, which sled syncs; their names it
        // does not.
        for dir in [self.dir.clone(), self.dir.join("blobs")] {
            match File::open(&dir) {
                Ok(dir) => dir.sync_all().map_err(failed)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        guarded("measure the database", || {
            self.database.size_on_disk().map_err(|error| failed("measure the database", error))
        })
        .unwrap_or(0)
    }
}

/// How many views are open. A batch holds the lock while it is written, so that a view that opens meanwhile
/// waits for its end and sees it whole.
type Gate = Arc<Mutex<usize>>;

/// One tree.
struct SledSpace {
    tree: sled::Tree,
    gate: Gate,
    before: AtomicU64,
}

impl std::fmt::Debug for SledSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledSpace").finish_non_exhaustive()
    }
}

impl EngineSpace for SledSpace {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        get(&self.tree, key)
    }

    fn write_rows(&self, rows: &mut dyn Iterator<Item = BatchRow>, _bytes: usize) -> Result<(), StoreError> {
        let views = self.gate.lock();
        if *views > 0 {
            return Err(StoreError::Pinned);
        }
        guarded("write a batch", || {
            let mut batch = sled::Batch::default();
            for (key, value) in rows {
                match value {
                    Some(value) => batch.insert(key.as_ref(), value.as_ref()),
                    None => batch.remove(key.as_ref()),
                }
            }
            self.tree.apply_batch(batch).map_err(|error| failed("write a batch", error))
        })
    }

    fn view(&self) -> Result<Arc<dyn EngineView>, StoreError> {
        Ok(Arc::new(SledView { tree: self.tree.clone(), pin: Arc::new(Pin::new(&self.gate)) }))
    }

    fn reclaim_before(&self, time: LogTime) {
        self.before.fetch_max(time.0, Ordering::Relaxed);
    }

    fn sweep(&self, after: Option<Bytes>, rows_max: usize) -> Result<Option<Bytes>, StoreError> {
        let before = LogTime(self.before.load(Ordering::Relaxed));
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = Vec::new();
        let mut last = None;
        for row in scan(&self.tree, from, Bound::Unbounded, None).take(rows_max) {
            let (key, value) = row?;
            match reclaim::verdict(&key, &value, before) {
                Verdict::Keep => {}
                Verdict::Drop => rows.push((key.clone(), None)),
                Verdict::Shrink(smaller) => rows.push((key.clone(), Some(smaller.into()))),
            }
            last = Some(key);
        }
        self.write(&rows)?;
        Ok(last)
    }
}

/// Holds a tree still while it lives.
struct Pin(Gate);

impl Pin {
    fn new(gate: &Gate) -> Self {
        *gate.lock() += 1;
        Self(Arc::clone(gate))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
    }
}

/// The tree itself, held still.
struct SledView {
    tree: sled::Tree,
    pin: Arc<Pin>,
}

impl EngineView for SledView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        get(&self.tree, key)
    }

    fn rows(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows {
        scan(&self.tree, from, to, Some(Arc::clone(&self.pin)))
    }
}

fn get(tree: &sled::Tree, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    guarded("read a row", || {
        let value = tree.get(key).map_err(|error| failed("read a row", error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    })
}

fn scan(tree: &sled::Tree, from: Bound<&[u8]>, to: Bound<&[u8]>, pin: Option<Arc<Pin>>) -> Rows {
    let own = |bound: Bound<&[u8]>| bound.map(<[u8]>::to_vec);
    let rows = guarded("scan rows", || Ok(tree.range::<Vec<u8>, _>((own(from), own(to)))));
    let (mut rows, mut first_error) = match rows {
        Ok(rows) => (Some(rows), None),
        Err(error) => (None, Some(error)),
    };
    Box::new(std::iter::from_fn(move || {
        let _held = &pin;
        if let Some(error) = first_error.take() {
            return Some(Err(error));
        }
        let row = guarded("scan rows", || {
            let Some(row) = rows.as_mut().and_then(Iterator::next) else { return Ok(None) };
            let (key, value) = row.map_err(|error| failed("scan rows", error))?;
            Ok(Some((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value))))
        });
        if !matches!(row, Ok(Some(_))) {
            rows = None;
        }
        row.transpose()
    }))
}
