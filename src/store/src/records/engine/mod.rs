//! The seam to the storage engines.
//!
//! Contract, the same for all engines and held by one conformance suite:
//! - A **space** is an ordered map of bytes with a name; a shard's records and everything that must agree with
//!   them live in one space.
//! - [`EngineSpace::write_rows`] is atomic: after any crash all rows of a batch are there or none, and batches of one
//!   space survive as a prefix of the order in which they were written.
//! - [`RecordEngine::sync`] makes every write that returned before it was called survive the loss of power.
//! - [`EngineSpace::view`] sees every batch that returned before it and none that starts after it.
//! - Only what had ended by the time given to [`EngineSpace::reclaim_before`] may be dropped or shrunk, so that a
//!   read by address gives, settled at that time or later, what it would have given without reclaiming.
//! - Damage is an error ([`StoreError::Damaged`]), never a wrong row. A panic inside an engine is damage.
//!
//! Keys: an address in canonical form (first byte 0 or 1), or a reserved key of ours (first byte
//! [`RESERVED_FROM`] or above), which reclaiming leaves alone.

mod fjall;
mod guard;
mod memory;
mod sled;

pub use self::fjall::FjallEngine;
pub use self::guard::is_guarded;
pub use self::memory::MemoryEngine;
pub use self::sled::SledEngine;

use super::error::StoreError;
use bytes::Bytes;
use hapax_core::LogTime;
use std::fmt::Debug;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

/// Keys from here on are not addresses.
pub const RESERVED_FROM: u8 = 0xF0;

/// One row of a batch: a key, and its new value or its removal.
pub type BatchRow = (Bytes, Option<Bytes>);

/// Bytes of a key and its value.
#[must_use]
pub fn row_bytes((key, value): &BatchRow) -> usize {
    key.len() + value.as_ref().map_or(0, Bytes::len)
}

/// Rows of a view, in key order; ends after the first error.
pub type Rows = Box<dyn Iterator<Item = Result<(Bytes, Bytes), StoreError>> + Send>;

/// A storage engine: many spaces behind one sync.
pub trait RecordEngine: Send + Sync + Debug {
    /// Opens a space, creating it if it is not there. A created space is durable after the next
    /// [`RecordEngine::sync`].
    ///
    /// # Errors
    /// What the engine says.
    fn space(&self, name: &str) -> Result<Arc<dyn EngineSpace>, StoreError>;

    /// The names of all spaces.
    ///
    /// # Errors
    /// What the engine says.
    fn space_names(&self) -> Result<Vec<String>, StoreError>;

    /// Drops a space and everything in it. Views of it stay readable until they are dropped.
    ///
    /// # Errors
    /// What the engine says; a space that is not there is no error.
    fn drop_space(&self, name: &str) -> Result<(), StoreError>;

    /// Makes every write that has returned durable.
    ///
    /// # Errors
    /// Nothing is known about the disk afterwards: never call it again to retry.
    fn sync(&self) -> Result<(), StoreError>;

    /// Bytes on disk (or in memory, where there is no disk), for metrics.
    fn size_bytes(&self) -> u64;
}

/// One ordered map of an engine. A handle may be used from many threads; writes come from one at a time.
pub trait EngineSpace: Send + Sync + Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when what is stored cannot be read back.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Writes one atomic batch of about `bytes`, which decide how it is written. Keys ascend strictly.
    ///
    /// # Errors
    /// [`StoreError::Pinned`] when an engine without versions has an open view: nothing was written. Anything
    /// else leaves open what was written.
    fn write_rows(&self, rows: &mut dyn Iterator<Item = BatchRow>, bytes: usize) -> Result<(), StoreError>;

    /// Writes one atomic batch that is there already.
    ///
    /// # Errors
    /// As for [`EngineSpace::write_rows`].
    fn write(&self, rows: &[BatchRow]) -> Result<(), StoreError> {
        let bytes = rows.iter().map(row_bytes).sum();
        if rows.is_empty() { Ok(()) } else { self.write_rows(&mut rows.iter().cloned(), bytes) }
    }

    /// A consistent view. Cheap where the engine keeps versions; otherwise it holds up the writes of this space
    /// until it is dropped.
    ///
    /// # Errors
    /// What the engine says.
    fn view(&self) -> Result<Arc<dyn EngineView>, StoreError>;

    /// Allows reclaiming what has ended by `time`. Never goes back.
    fn reclaim_before(&self, time: LogTime);

    /// For engines that do not reclaim by themselves: looks at up to `rows_max` rows after `after`, reclaims what
    /// may be, and says where to go on; `None` at the end (and always, for an engine that reclaims by itself).
    ///
    /// # Errors
    /// As for [`EngineSpace::write_rows`].
    fn sweep(&self, after: Option<Bytes>, rows_max: usize) -> Result<Option<Bytes>, StoreError>;
}

/// A consistent view of one space.
pub trait EngineView: Send + Sync {
    /// The value of a key in this view.
    ///
    /// # Errors
    /// As for [`EngineSpace::get`].
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The rows between two bounds. The iterator keeps the view alive.
    fn rows(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows;
}

/// Which engine keeps the records.
#[derive(Clone, Debug)]
pub enum EngineKind {
    /// The default.
    Fjall,
    /// See the decision record for what it costs and why it is not the default.
    Sled,
    /// In memory, for tests and the simulator. The instance outlives the store that is opened on it, as a disk
    /// outlives a process.
    Memory(MemoryEngine),
}

/// Bounds of an engine's memory and disk.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Cache of blocks read, for all shards together, bytes.
    pub block_cache_bytes: u64,
    /// One shard's table in memory before it goes to disk, bytes (fjall).
    pub memtable_bytes: u64,
    /// A batch of about at least this many bytes becomes a table of its own, past journal and memtable (fjall). To be more
    /// than a chunk of a snapshot, many of which are written one after another.
    pub table_bytes_min: usize,
    /// All journals together, bytes, at least 64 MiB (fjall).
    pub journal_bytes: u64,
    /// Threads that flush and compact (fjall).
    pub worker_threads: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            block_cache_bytes: 64 << 20,
            memtable_bytes: 16 << 20,
            table_bytes_min: 4 << 20,
            journal_bytes: 128 << 20,
            worker_threads: 2,
        }
    }
}

/// Opens an engine on a directory that it owns alone.
///
/// # Errors
/// [`StoreError::Damaged`] when what is there cannot be opened: wipe it and rebuild.
pub fn open_engine(
    kind: &EngineKind,
    dir: &Path,
    config: &EngineConfig,
) -> Result<Arc<dyn RecordEngine>, StoreError> {
    Ok(match kind {
        EngineKind::Fjall => Arc::new(FjallEngine::open(dir, config)?),
        EngineKind::Sled => Arc::new(SledEngine::open(dir, config)?),
        EngineKind::Memory(engine) => Arc::new(engine.clone()),
    })
}

/// The first key that is no address: where a scan of records ends.
pub(crate) const ADDRESSES_END: &[u8] = &[RESERVED_FROM];
