//! The engine in memory, for tests and the simulator: a disk that can lose what was not synced.
//!
//! It keeps the synced state and the batches written since; [`MemoryEngine::crash`] keeps any prefix of those.
//! Maps are copied on write, so that a view costs one reference.

use super::{BatchRow, EngineSpace, EngineView, RecordEngine, Rows};
use crate::records::error::StoreError;
use crate::records::reclaim::{self, Verdict};
use bytes::Bytes;
use hapax_core::LogTime;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Map = Arc<BTreeMap<Bytes, Bytes>>;

/// The engine in memory. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct MemoryEngine {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    spaces: BTreeMap<String, Space>,
    /// What survives a crash, before the unsynced operations.
    synced: BTreeMap<String, Map>,
    /// In the order in which they were done.
    unsynced: Vec<Op>,
    /// Fails every write and sync while set.
    failing: bool,
    on_view: Option<Hook>,
    on_get: Option<Hook>,
}

/// Runs where a test wants to be.
#[derive(Clone)]
struct Hook(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

#[derive(Debug, Default, Clone)]
struct Space {
    map: Map,
    reclaim_before: LogTime,
}

#[derive(Debug, Clone)]
enum Op {
    Create(String),
    Drop(String),
    Write(String, Vec<BatchRow>),
}

impl MemoryEngine {
    /// An empty engine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many operations (batches, creations, drops) a crash may lose.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state.lock().unsynced.len()
    }

    /// What a crash leaves: everything synced, and the first `keep` operations of those that were not. Handles of
    /// the engine that crashed go on with their own state and do not reach the new one.
    #[must_use]
    pub fn crash(&self, keep: usize) -> Self {
        let state = self.state.lock();
        let mut synced = state.synced.clone();
        for op in state.unsynced.iter().take(keep) {
            replay(&mut synced, op);
        }
        let spaces = synced
            .iter()
            .map(|(name, map)| (name.clone(), Space { map: Arc::clone(map), reclaim_before: LogTime::ZERO }))
            .collect();
        let state = State { spaces, synced, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Forgets everything, as if its directory had been removed.
    pub(crate) fn wipe(&self) {
        *self.state.lock() = State::default();
    }

    /// From now on every write and sync fails (or no longer).
    pub fn set_failing(&self, failing: bool) {
        self.state.lock().failing = failing;
    }

    /// From now on runs `hook` whenever a view was taken and before its taker has it.
    pub fn set_on_view(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.state.lock().on_view = Some(Hook(Arc::new(hook)));
    }

    /// From now on runs `hook` before each look at a single row.
    pub fn set_on_get(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.state.lock().on_get = Some(Hook(Arc::new(hook)));
    }

    /// Flips one bit of a stored value, as a bad disk would.
    pub fn flip_bit(&self, space: &str, key: &[u8], bit: usize) -> bool {
        let mut state = self.state.lock();
        let Some(space) = state.spaces.get_mut(space) else { return false };
        let Some(value) = Arc::make_mut(&mut space.map).get_mut(key) else { return false };
        let mut bytes = value.to_vec();
        let Some(byte) = bytes.get_mut(bit / 8) else { return false };
        *byte ^= 1 << (bit % 8);
        *value = bytes.into();
        true
    }
}

impl MemoryEngine {
    /// Flips one bit of one stored value, in what is read and in what survives a crash. `pick` decides which.
    /// Says whether there was any.
    pub fn rot(&self, pick: u64) -> bool {
        let mut state = self.state.lock();
        let state = &mut *state;
        let rows: usize = state.spaces.values().map(|space| space.map.len()).sum();
        if rows == 0 {
            return false;
        }
        let row = usize::try_from(pick % rows as u64).unwrap_or(0);
        let all = state.spaces.iter().flat_map(|(name, space)| space.map.keys().map(move |key| (name, key)));
        let Some((name, key)) = all.map(|(name, key)| (name.clone(), key.clone())).nth(row) else {
            return false;
        };
        let read = state.spaces.get_mut(&name).is_some_and(|space| flip(&mut space.map, &key, pick));
        let kept = state.synced.get_mut(&name).is_some_and(|map| flip(map, &key, pick));
        read || kept
    }
}

fn flip(map: &mut Map, key: &Bytes, pick: u64) -> bool {
    let Some(value) = Arc::make_mut(map).get_mut(key) else { return false };
    let mut bytes = value.to_vec();
    let bits = bytes.len() * 8;
    let Some(bit) = usize::try_from(pick >> 8).unwrap_or(0).checked_rem(bits) else { return false };
    bytes[bit / 8] ^= 1 << (bit % 8);
    *value = bytes.into();
    true
}

fn replay(maps: &mut BTreeMap<String, Map>, op: &Op) {
    match op {
        Op::Create(name) => {
            maps.entry(name.clone()).or_default();
        }
        Op::Drop(name) => {
            maps.remove(name);
        }
        Op::Write(name, rows) => {
            if let Some(map) = maps.get_mut(name) {
                write_rows(Arc::make_mut(map), rows);
            }
        }
    }
}

fn write_rows(map: &mut BTreeMap<Bytes, Bytes>, rows: &[BatchRow]) {
    for (key, value) in rows {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

impl State {
    fn refuse(&self, doing: &'static str) -> Result<(), StoreError> {
        if self.failing { Err(StoreError::io(doing, "set to fail")) } else { Ok(()) }
    }
}

impl RecordEngine for MemoryEngine {
    fn space(&self, name: &str) -> Result<Arc<dyn EngineSpace>, StoreError> {
        let mut state = self.state.lock();
        if !state.spaces.contains_key(name) {
            state.refuse("create a space")?;
            state.spaces.insert(name.to_owned(), Space::default());
            state.unsynced.push(Op::Create(name.to_owned()));
        }
        Ok(Arc::new(MemorySpace { engine: self.clone(), name: name.to_owned() }))
    }

    fn space_names(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.state.lock().spaces.keys().cloned().collect())
    }

    fn drop_space(&self, name: &str) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.refuse("drop a space")?;
        if state.spaces.remove(name).is_some() {
            state.unsynced.push(Op::Drop(name.to_owned()));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.refuse("sync")?;
        state.unsynced.clear();
        state.synced =
            state.spaces.iter().map(|(name, space)| (name.clone(), Arc::clone(&space.map))).collect();
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        let state = self.state.lock();
        let rows = state.spaces.values().flat_map(|space| space.map.iter());
        rows.map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

/// One map of a [`MemoryEngine`].
#[derive(Debug)]
struct MemorySpace {
    engine: MemoryEngine,
    name: String,
}

impl MemorySpace {
    fn map(&self) -> Map {
        let state = self.engine.state.lock();
        state.spaces.get(&self.name).map(|space| Arc::clone(&space.map)).unwrap_or_default()
    }
}

impl EngineSpace for MemorySpace {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let hook = self.engine.state.lock().on_get.clone();
        if let Some(Hook(hook)) = hook {
            hook();
        }
        let state = self.engine.state.lock();
        Ok(state.spaces.get(&self.name).and_then(|space| space.map.get(key).cloned()))
    }

    fn write_rows(&self, rows: &mut dyn Iterator<Item = BatchRow>, _bytes: usize) -> Result<(), StoreError> {
        let rows: Vec<_> = rows.collect();
        let mut state = self.engine.state.lock();
        state.refuse("write a batch")?;
        if let Some(space) = state.spaces.get_mut(&self.name) {
            write_rows(Arc::make_mut(&mut space.map), &rows);
            state.unsynced.push(Op::Write(self.name.clone(), rows));
        }
        Ok(())
    }

    fn view(&self) -> Result<Arc<dyn EngineView>, StoreError> {
        let view = Arc::new(MemoryView(self.map()));
        let hook = self.engine.state.lock().on_view.clone();
        if let Some(Hook(hook)) = hook {
            hook();
        }
        Ok(view)
    }

    fn reclaim_before(&self, time: LogTime) {
        let mut state = self.engine.state.lock();
        if let Some(space) = state.spaces.get_mut(&self.name) {
            space.reclaim_before = space.reclaim_before.max(time);
        }
    }

    fn sweep(&self, after: Option<Bytes>, rows_max: usize) -> Result<Option<Bytes>, StoreError> {
        let map = self.map();
        let before =
            self.engine.state.lock().spaces.get(&self.name).map_or(LogTime::ZERO, |s| s.reclaim_before);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = Vec::new();
        let mut last = None;
        for (key, value) in map.range((from, Bound::Unbounded)).take(rows_max) {
            last = Some(key.clone());
            match reclaim::verdict(key, value, before) {
                Verdict::Keep => {}
                Verdict::Drop => rows.push((key.clone(), None)),
                Verdict::Shrink(smaller) => rows.push((key.clone(), Some(smaller.into()))),
            }
        }
        self.write(&rows)?;
        Ok(last)
    }
}

/// A view: the map as it was.
struct MemoryView(Map);

impl EngineView for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn rows(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Rows {
        let own = |bound: Bound<&[u8]>| bound.map(Bytes::copy_from_slice);
        let (map, mut from, to) = (Arc::clone(&self.0), own(from), own(to));
        Box::new(std::iter::from_fn(move || {
            if empty_range(&from, &to) {
                return None;
            }
            let (key, value) = map.range((from.clone(), to.clone())).next()?;
            from = Bound::Excluded(key.clone());
            Some(Ok((key.clone(), value.clone())))
        }))
    }
}

/// `BTreeMap::range` panics on these.
fn empty_range(from: &Bound<Bytes>, to: &Bound<Bytes>) -> bool {
    match (from, to) {
        (Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from > to
        }
        _ => false,
    }
}
