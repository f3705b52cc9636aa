//! The record store of a node: one engine for all shard replicas.
//!
//! Layout of its directory: `marks` (see `marks`), `opening` while it is opened (see `attempts`), and the engine's
//! own directory. In the engine, a space each
//! replica and generation, and the space `catalog` that says which generation of a replica counts. A shard is
//! replaced by filling a space of the next generation, syncing it, and then changing its catalog row: a crash
//! leaves the old shard or the new one, and a space that the catalog does not name is dropped at the next start.

use super::attempts::Attempts;
use super::config::RecordConfig;
use super::engine::{EngineKind, EngineSpace, RESERVED_FROM, RecordEngine, open_engine};
use super::error::StoreError;
use super::marks::{Mark, Marks, REPLICAS_MAX};
use super::shard::ShardRecords;
use super::signal::Signal;
use super::writer::RecordWriter;
use crate::codec;
use crate::disk::Disk;
use crate::log::{GroupId, LogPosition};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const CATALOG: &str = "catalog";

/// The first byte of a catalog row's key: reserved, so that reclaiming passes it by.
const CATALOG_ROW: u8 = RESERVED_FROM;

/// The record store of a node. Clones share it.
#[derive(Clone, Debug)]
pub struct RecordStore {
    shared: Arc<Shared>,
    shards: OpenShards,
}

/// The shards that are open. Held by the store and its writer; the shards themselves hold [`Shared`] alone.
pub(super) type OpenShards = Arc<Mutex<BTreeMap<GroupId, Arc<ShardRecords>>>>;

/// What the store, its shards and its writer share.
#[derive(Debug)]
pub(super) struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    pub(super) config: RecordConfig,
    pub(super) engine: Arc<dyn RecordEngine>,
    pub(super) signal: Signal,
    pub(super) marks: Mutex<Marks>,
    pub(super) closing: AtomicBool,
    /// Which generation of each replica counts, as the catalog space has it.
    generations: Mutex<BTreeMap<GroupId, u64>>,
    /// The last generation of each replica that a space was made for since the start.
    made: Mutex<BTreeMap<GroupId, u64>>,
    catalog: Arc<dyn EngineSpace>,
}

impl RecordStore {
    /// Opens or creates the store in `dir`, and gives its writer, which the caller must run.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the whole store must be wiped ([`RecordStore::destroy`]) and rebuilt;
    /// [`StoreError::Io`] when the disk refuses.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: RecordConfig,
    ) -> Result<(Self, RecordWriter), StoreError> {
        let failed = |error| StoreError::io("create the store's directory", error);
        disk.create_dir(dir).map_err(failed)?;
        if let Some(parent) = dir.parent() {
            disk.sync_dir(parent).map_err(failed)?;
        }
        let marks = Marks::open(Arc::clone(&disk), dir)?;
        let attempts = Attempts::new(disk.as_ref(), dir);
        attempts.begin()?;
        let opened = open_catalogued(&config, dir);
        attempts.end()?;
        let (engine, catalog, generations) = opened?;
        let shared = Arc::new(Shared {
            disk: Arc::clone(&disk),
            dir: dir.to_owned(),
            config,
            engine,
            signal: Signal::default(),
            marks: Mutex::new(marks),
            closing: AtomicBool::new(false),
            generations: Mutex::new(generations),
            made: Mutex::default(),
            catalog,
        });
        shared.drop_leftovers()?;
        let shards = OpenShards::default();
        let writer = RecordWriter::new(Arc::clone(&shared), Arc::clone(&shards));
        Ok((Self { shared, shards }, writer))
    }

    /// Removes a store that cannot be opened, marks included: every shard is as new then. Whether that is allowed
    /// is for the caller to know: the log must still have everything, or peers must.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the disk refuses.
    pub fn destroy(disk: &dyn Disk, dir: &Path, kind: &EngineKind) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("remove the store", error);
        Attempts::new(disk, dir).end()?;
        match disk.remove(&dir.join("marks")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => disk.sync_dir(dir).map_err(failed)?,
        }
        match kind {
            EngineKind::Memory(engine) => engine.wipe(),
            EngineKind::Fjall | EngineKind::Sled => {
                let engine = engine_dir(dir, kind);
                if engine.exists() {
                    std::fs::remove_dir_all(&engine).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// The records of a replica, as the engine has them; empty if it has none. The same handle each time.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the replica's records must be wiped ([`RecordStore::wipe`]) and rebuilt: also
    /// when the engine came up behind the mark, without a word.
    pub fn shard(&self, id: GroupId) -> Result<Arc<ShardRecords>, StoreError> {
        let mut shards = self.shards.lock();
        if let Some(shard) = shards.get(&id) {
            return Ok(Arc::clone(shard));
        }
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        if shards.len() >= REPLICAS_MAX {
            return Err(StoreError::io("open a shard", "too many replicas on this node"));
        }
        let marked = self.shared.marks.lock().get(id);
        let known = self.shared.generations.lock().get(&id).copied();
        if marked.map(|mark| mark.generation) > known {
            return Err(StoreError::damaged("a shard's records", "the engine lost a shard that was marked"));
        }
        let generation = match known {
            Some(generation) => generation,
            None => self.make(id)?,
        };
        let space = self.shared.engine.space(&Shared::space_name(id, generation))?;
        // A mark of an earlier generation tells nothing: the crash came between the switch and its mark.
        let mark = marked.filter(|mark| mark.generation == generation).map(|mark| mark.position);
        let shard = Arc::new(ShardRecords::open(Arc::clone(&self.shared), id, space, generation, mark)?);
        if shard.applied().position.map(|position| position.index) < mark.map(|mark| mark.index) {
            return Err(StoreError::damaged("a shard's records", "the engine came up behind its mark"));
        }
        shards.insert(id, Arc::clone(&shard));
        self.shared.signal.ring();
        Ok(shard)
    }

    /// Makes a replica's records empty, whether or not they can be opened; then [`RecordStore::shard`] opens them.
    /// (A shard that is open is wiped with [`ShardRecords::wipe`].)
    ///
    /// # Errors
    /// What the engine says; a crash leaves the old state or none.
    pub fn wipe(&self, id: GroupId) -> Result<(), StoreError> {
        if let Some(shard) = self.shards.lock().get(&id) {
            return shard.wipe();
        }
        let old = self.shared.generations.lock().get(&id).copied();
        self.make(id)?;
        if let Some(old) = old {
            self.shared.drop_space(&Shared::space_name(id, old));
        }
        Ok(())
    }

    /// Makes an empty generation of a replica and lets it count.
    fn make(&self, id: GroupId) -> Result<u64, StoreError> {
        let (_, generation) = self.shared.new_space(id)?;
        self.shared.engine.sync()?;
        self.shared.switch(id, generation, None)?;
        Ok(generation)
    }

    /// Forgets a replica that this node no longer has.
    ///
    /// # Errors
    /// What the engine says.
    pub fn remove(&self, id: GroupId) -> Result<(), StoreError> {
        let shard = self.shards.lock().remove(&id);
        if let Some(shard) = shard {
            shard.fail(&StoreError::Closed);
        }
        let Some(generation) = self.shared.generations.lock().remove(&id) else { return Ok(()) };
        // The mark first: a mark without records would be taken for damage.
        self.shared.marks.lock().update(&[(id, None)])?;
        self.shared.catalog.write(&[(catalog_key(id), None)])?;
        self.shared.engine.sync()?;
        self.shared.drop_space(&Shared::space_name(id, generation));
        Ok(())
    }

    /// The replicas that have records here.
    #[must_use]
    pub fn replicas(&self) -> Vec<GroupId> {
        self.shared.generations.lock().keys().copied().collect()
    }

    /// Bytes on disk, for metrics. May read the disk: not for a hot path.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.engine.size_bytes()
    }

    /// Tells the writer to write and sync everything applied so far, and to end.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.signal.ring();
    }
}

fn engine_dir(dir: &Path, kind: &EngineKind) -> PathBuf {
    dir.join(match kind {
        EngineKind::Fjall => "fjall",
        EngineKind::Sled => "sled",
        EngineKind::Memory(_) => "memory",
    })
}

/// An engine, its catalog, and what that holds.
type Catalogued = (Arc<dyn RecordEngine>, Arc<dyn EngineSpace>, BTreeMap<GroupId, u64>);

fn open_catalogued(config: &RecordConfig, dir: &Path) -> Result<Catalogued, StoreError> {
    let engine = open_engine(&config.kind, &engine_dir(dir, &config.kind), &config.engine)?;
    let catalog = engine.space(CATALOG)?;
    let generations = read_catalog(catalog.as_ref())?;
    Ok((engine, catalog, generations))
}

fn catalog_key(id: GroupId) -> Bytes {
    let mut key = vec![CATALOG_ROW];
    key.extend_from_slice(&id.shard.to_be_bytes());
    key.extend_from_slice(&id.replica.to_be_bytes());
    key.into()
}

fn read_catalog(catalog: &dyn EngineSpace) -> Result<BTreeMap<GroupId, u64>, StoreError> {
    const WHAT: &str = "a row of the catalog";
    let mut generations = BTreeMap::new();
    for row in catalog.view()?.rows(Bound::Unbounded, Bound::Unbounded) {
        let (key, value) = row?;
        let generation = codec::decode_number(&value, &key, WHAT)?;
        let Some((_, rest)) = key.split_first() else { continue };
        let id = rest.split_first_chunk::<4>().and_then(|(shard, replica)| {
            let shard = u32::from_be_bytes(*shard);
            Some(GroupId { shard, replica: u64::from_be_bytes(replica.try_into().ok()?) })
        });
        let id = id.ok_or_else(|| StoreError::damaged(WHAT, "its key has the wrong length"))?;
        generations.insert(id, generation);
    }
    Ok(generations)
}

impl Shared {
    /// Whether the configured reserve of free space is not there. Space that cannot be measured counts as there.
    pub(super) fn is_full(&self) -> bool {
        let reserve_bytes = self.config.reserve_bytes;
        reserve_bytes > 0 && self.disk.free_bytes(&self.dir).is_ok_and(|free| free < reserve_bytes)
    }

    /// The name of a replica's space of a generation.
    pub(super) fn space_name(id: GroupId, generation: u64) -> String {
        format!("{:08x}-{:016x}-{generation:x}", id.shard, id.replica)
    }

    /// Makes an empty space of a new generation. (Its name may have been used before the start, by one that never
    /// came to count.)
    pub(super) fn new_space(&self, id: GroupId) -> Result<(Arc<dyn EngineSpace>, u64), StoreError> {
        let counting = self.generations.lock().get(&id).copied().unwrap_or(0);
        let generation = {
            let mut made = self.made.lock();
            let last = made.entry(id).or_insert(0);
            *last = counting.max(*last) + 1;
            *last
        };
        let name = Self::space_name(id, generation);
        self.engine.drop_space(&name)?;
        Ok((self.engine.space(&name)?, generation))
    }

    /// Lets a generation count from now on, durably, and marks its position. It must have been synced.
    pub(super) fn switch(
        &self,
        id: GroupId,
        generation: u64,
        position: Option<LogPosition>,
    ) -> Result<(), StoreError> {
        let key = catalog_key(id);
        let value = codec::encode_number(generation, &key);
        self.catalog.write(&[(key, Some(value.into()))])?;
        self.engine.sync()?;
        self.generations.lock().insert(id, generation);
        let mark = position.map(|position| Mark { generation, position });
        self.marks.lock().update(&[(id, mark)])
    }

    /// Marks positions that a sync has made durable, but for replicas that were replaced since they were written.
    pub(super) fn update_marks(&self, marks: &[(GroupId, Mark)]) -> Result<(), StoreError> {
        let mut file = self.marks.lock();
        let generations = self.generations.lock().clone();
        let current: Vec<_> = marks
            .iter()
            .filter(|(id, mark)| generations.get(id) == Some(&mark.generation))
            .map(|(id, mark)| (*id, Some(*mark)))
            .collect();
        file.update(&current)
    }

    /// Drops a space that no longer counts. If that fails it is dropped at the next start.
    pub(super) fn drop_space(&self, name: &str) {
        if let Err(error) = self.engine.drop_space(name) {
            tracing::warn!(space = name, %error, "a replaced space could not be dropped");
        }
    }

    fn drop_leftovers(&self) -> Result<(), StoreError> {
        let counting: Vec<_> = self
            .generations
            .lock()
            .iter()
            .map(|(id, generation)| Self::space_name(*id, *generation))
            .collect();
        for name in self.engine.space_names()? {
            if name != CATALOG && !counting.contains(&name) {
                self.engine.drop_space(&name)?;
            }
        }
        Ok(())
    }
}
