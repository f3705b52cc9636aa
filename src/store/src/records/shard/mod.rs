//! The records of one shard replica.
//!
//! Contract:
//! - [`ShardRecords::apply`] makes the changes of an entry and the position after it visible together, and never
//!   waits for the engine. Readers see all of an entry's changes or none.
//! - What is applied reaches the engine in batches that are prefixes of what was applied; after a crash the shard
//!   opens at the position of one of them ([`ShardRecords::applied`]), from where the log is replayed.
//! - [`ShardRecords::durable`] is marked outside the engine; the log may be purged up to it.
//! - Nothing is served that is not what was stored: see [`StoreError::Damaged`].

mod changes;
mod flow;
mod learn;

pub use changes::Changes;
pub(super) use flow::{Pending, Written};

use super::config::RecordConfig;
use super::doubt::{DoubtIndex, doubtful_since};
use super::engine::{ADDRESSES_END, EngineSpace};
use super::error::StoreError;
use super::keys;
use super::ledger::{Counts, Ledger};
use super::overlay::{Found, Overlay};
use super::presence::Presence;
use super::scan::{self, ScanPage, prefix_end};
use super::snapshot::{SnapshotSink, SnapshotSource};
use super::store::Shared;
use crate::address_map::AddressMap;
use crate::codec::meta::{AppliedMeta, decode_meta};
use crate::codec::record::decode_record;
use crate::log::{GroupId, LogPosition};
use bytes::Bytes;
use flow::WriterSide;
use hapax_core::{Address, LogTime, Record};
use parking_lot::Mutex;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Pending rows that a page may have to look through for each row that it gives.
const SCAN_PENDING_FACTOR: usize = 4;

/// The records of one shard replica. All calls may run at the same time; `apply` comes from one task.
pub struct ShardRecords {
    id: GroupId,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Locked before `state`, and for as long as a batch takes: only the writer and a replacement take it.
    side: Mutex<WriterSide>,
    /// A replacement waits for the batch that is being written.
    replacing: AtomicBool,
    durable: watch::Sender<Durable>,
    overfull: AtomicBool,
}

/// What changes together.
struct State {
    space: Arc<dyn EngineSpace>,
    generation: u64,
    overlay: Overlay,
    presence: Presence,
    applied: AppliedMeta,
    /// Counts the calls of apply.
    sequence: u64,
    /// Up to where batches were written, and what they wrote.
    written: Written,
    flush_wanted: u64,
    counts: Counts,
    doubt: DoubtIndex,
    batch: u64,
}

/// Up to where the disk is known to have them.
#[derive(Clone, Debug, Default)]
struct Durable {
    sequence: u64,
    position: Option<LogPosition>,
    failed: Option<StoreError>,
}

/// What is known of an address without a look into the engine.
#[derive(Clone, Debug)]
pub enum Look {
    /// Its record, not settled, or that there is none.
    Known(Option<Arc<Record>>),
    /// The engine may have a record.
    OnDisk,
}

/// Figures of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Records by stored state; approximate.
    pub counts: Counts,
    /// Bytes of changes that the engine does not have yet.
    pub pending_bytes: usize,
    /// Bytes of the cache.
    pub cache_bytes: usize,
    /// Bytes of the filter of what the engine may hold.
    pub filter_bytes: usize,
    /// Batches written since the shard's space was made.
    pub batches: u64,
}

impl std::fmt::Debug for ShardRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardRecords").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ShardRecords {
    /// Opens what the engine holds in `space`.
    pub(super) fn open(
        shared: Arc<Shared>,
        id: GroupId,
        space: Arc<dyn EngineSpace>,
        generation: u64,
        mark: Option<LogPosition>,
    ) -> Result<Self, StoreError> {
        let mut state = State::load(&shared.config, space, generation)?;
        // What the engine came up with may still be in the page cache alone: it counts as written, not as durable.
        if state.applied.position.is_some() {
            (state.sequence, state.written.sequence) = (1, 1);
        }
        let durable = Durable { sequence: 0, position: mark, failed: None };
        let side = WriterSide { job: None, doubtful: state.doubt.addresses() };
        Ok(Self {
            id,
            shared,
            state: Mutex::new(state),
            side: Mutex::new(side),
            durable: watch::Sender::new(durable),
            replacing: AtomicBool::new(false),
            overfull: AtomicBool::new(false),
        })
    }

    /// Which replica's.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Up to where the records are applied: after opening, what the engine came up with.
    #[must_use]
    pub fn applied(&self) -> AppliedMeta {
        self.state.lock().applied.clone()
    }

    /// The stored record of an address, not settled.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the engine's row cannot be read back.
    pub fn get(&self, address: &Address) -> Result<Option<Arc<Record>>, StoreError> {
        let (space, ticket) = {
            let mut state = self.state.lock();
            match state.look(address) {
                Found::Known(record) => return Ok(record),
                Found::Unknown(ticket) => (Arc::clone(&state.space), ticket),
            }
        };
        let Some(value) = space.get(address.canonical())? else { return Ok(None) };
        let record = Arc::new(decode_record(address.canonical(), &value)?);
        self.state.lock().overlay.fill(address, &record, ticket);
        Ok(Some(record))
    }

    /// The same without ever waiting for the engine.
    #[must_use]
    pub fn look(&self, address: &Address) -> Look {
        match self.state.lock().look(address) {
            Found::Known(record) => Look::Known(record),
            Found::Unknown(_) => Look::OnDisk,
        }
    }

    /// Whether only the engine can tell what it has of an address.
    #[must_use]
    pub fn is_cold(&self, address: &Address) -> bool {
        matches!(self.look(address), Look::OnDisk)
    }

    /// Starts collecting the changes of one or more entries; nothing is visible until they are committed.
    #[must_use]
    pub fn begin(&self) -> Changes<'_> {
        Changes { shard: self, changed: AddressMap::default() }
    }

    /// Makes changes and the position after them visible, together. Never waits for the engine; whether more
    /// should be proposed is told by [`ShardRecords::overfull`].
    pub fn apply(
        &self,
        changes: impl IntoIterator<Item = (Address, Option<Arc<Record>>)>,
        meta: AppliedMeta,
    ) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let was_pending = state.sequence > state.written.sequence;
        for (address, record) in changes {
            state.doubt.set(&address, record.as_deref().and_then(doubtful_since));
            if let Some(record) = &record {
                state.counts.add(record);
                state.presence.add(address.canonical());
            }
            if let Some(Some(before)) = state.overlay.put(address, record) {
                state.counts.remove(&before);
            }
        }
        state.applied = meta;
        state.sequence += 1;
        let bytes = state.overlay.pending_bytes();
        let due = state.overlay.changed_bytes() >= self.shared.config.batch().0;
        // Under the lock: the writer, who lowers the flag, must not be overtaken.
        self.overfull.store(bytes > self.shared.config.pending_bytes_max, Ordering::Relaxed);
        drop(guard);
        if due || !was_pending {
            self.shared.signal.ring();
        }
    }

    /// Whether the engine lags so far behind that nothing more should be proposed. Apply itself goes on.
    #[must_use]
    pub fn overfull(&self) -> bool {
        self.overfull.load(Ordering::Relaxed)
    }

    /// The position up to which the records are on the disk and marked so: the log may be purged up to here.
    #[must_use]
    pub fn durable(&self) -> Option<LogPosition> {
        self.durable.borrow().position
    }

    /// Waits until everything applied so far is on the disk, and says up to where that is.
    ///
    /// # Errors
    /// What the writer failed with; [`StoreError::Closed`] when it stopped.
    pub async fn flush(&self) -> Result<Option<LogPosition>, StoreError> {
        let mut durable = self.durable.subscribe();
        let target = {
            let mut state = self.state.lock();
            state.flush_wanted = state.sequence;
            state.sequence
        };
        self.shared.signal.ring();
        loop {
            {
                let durable = durable.borrow_and_update();
                if durable.sequence >= target {
                    return Ok(durable.position);
                }
                if let Some(error) = &durable.failed {
                    return Err(error.clone());
                }
            }
            durable.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }

    /// A page of the records whose canonical address starts with `prefix` and follows `after`: at most `limit`,
    /// stored form, in canonical order, consistent at one position.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row cannot be read back.
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<ScanPage, StoreError> {
        let limit = limit.max(1);
        let end = prefix_end(prefix);
        let to_key = end.as_deref().map_or(ADDRESSES_END, |end| end.min(ADDRESSES_END));
        let (from_key, from) = match after {
            Some(after) if after >= prefix => (after, Bound::Excluded(after)),
            _ => (prefix, Bound::Included(prefix)),
        };
        if from_key >= to_key {
            return Ok(ScanPage { rows: Vec::new(), next: None });
        }
        let to = Bound::Excluded(to_key);
        let (pending, view) = loop {
            let (space, ticket) = {
                let state = self.state.lock();
                (Arc::clone(&state.space), state.overlay.ticket())
            };
            let view = space.view()?;
            let state = self.state.lock();
            // No job ended in between: what the view does not hold is still pending.
            if state.overlay.ticket() == ticket {
                break (state.overlay.range((from, to), limit.saturating_mul(SCAN_PENDING_FACTOR)), view);
            }
        };
        scan::page(pending, view.rows(from, to), limit)
    }

    /// A consistent picture of what the engine holds, with the position read from that same picture. Returns at
    /// once; the records are read when the chunks are. Empty position: nothing was written yet.
    ///
    /// # Errors
    /// What the engine says.
    pub fn view(&self) -> Result<SnapshotSource, StoreError> {
        let space = Arc::clone(&self.state.lock().space);
        let view = space.view()?;
        let meta = load_meta(view.get(keys::META)?)?;
        Ok(SnapshotSource::new(self.id.shard, meta, view))
    }

    /// Starts receiving a snapshot that will replace everything here. Nothing changes before
    /// [`SnapshotSink::finish`].
    ///
    /// # Errors
    /// What the engine says.
    pub fn install(self: &Arc<Self>) -> Result<SnapshotSink, StoreError> {
        let (space, generation) = self.shared.new_space(self.id)?;
        Ok(SnapshotSink::new(Arc::clone(self), space, generation))
    }

    /// Drops everything here: the shard is as new.
    ///
    /// # Errors
    /// What the engine says; a crash leaves the old state or none.
    pub fn wipe(&self) -> Result<(), StoreError> {
        let (space, generation) = self.shared.new_space(self.id)?;
        self.sync_engine()?;
        self.replace(space, generation)
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> ShardStats {
        let state = self.state.lock();
        ShardStats {
            counts: state.counts,
            pending_bytes: state.overlay.pending_bytes(),
            cache_bytes: state.overlay.cache_bytes(),
            filter_bytes: state.presence.bytes(),
            batches: state.batch,
        }
    }

    /// How many addresses are in doubt at a log time, and since when the oldest is.
    #[must_use]
    pub fn in_doubt(&self, now: LogTime) -> (usize, Option<LogTime>) {
        self.state.lock().doubt.summary(now)
    }

    /// Up to `limit` addresses in doubt at a log time and since when, oldest first.
    #[must_use]
    pub fn list_in_doubt(&self, now: LogTime, limit: usize) -> Vec<(Address, LogTime)> {
        self.state.lock().doubt.list(now, limit)
    }

    /// Makes everything written durable, outside of the writer's pace.
    pub(super) fn sync_engine(&self) -> Result<(), StoreError> {
        self.shared.config.fatal.check(self.shared.engine.sync())
    }

    /// Drops a space that will not count.
    pub(super) fn give_up(&self, generation: u64) {
        self.shared.drop_space(&Shared::space_name(self.id, generation));
    }

    /// Switches to another space, durably: what it holds must have been synced.
    pub(super) fn replace(&self, space: Arc<dyn EngineSpace>, generation: u64) -> Result<(), StoreError> {
        let loaded = State::load(&self.shared.config, space, generation)?;
        self.replacing.store(true, Ordering::Relaxed);
        let mut side = self.side.lock();
        self.replacing.store(false, Ordering::Relaxed);
        let switched = self.shared.switch(self.id, generation, loaded.applied.position);
        self.shared.config.fatal.check(switched)?;
        *side = WriterSide { job: None, doubtful: loaded.doubt.addresses() };
        let old = {
            let mut state = self.state.lock();
            let sequence = state.sequence + 1;
            let old = std::mem::replace(&mut *state, loaded);
            // Counting goes on, so that nobody who waits or caches mistakes the old for the new.
            (state.sequence, state.flush_wanted, state.written.sequence) =
                (sequence, old.flush_wanted, sequence);
            state.overlay.follow(&old.overlay);
            state.space.reclaim_before(state.applied.time);
            let position = state.applied.position;
            self.durable.send_modify(|durable| (durable.sequence, durable.position) = (sequence, position));
            old
        };
        self.overfull.store(false, Ordering::Relaxed);
        let name = Shared::space_name(self.id, old.generation);
        drop(old);
        self.shared.drop_space(&name);
        Ok(())
    }
}

impl State {
    /// Looks an address up in all that is in memory.
    fn look(&mut self, address: &Address) -> Found {
        let found = self.overlay.get(address);
        if matches!(found, Found::Unknown(_)) && self.presence.is_absent(address.canonical()) {
            self.assert_absent(address);
            return Found::Known(None);
        }
        found
    }

    /// What the filter calls absent is: tests and simulations pay for a look at each time.
    fn assert_absent(&self, address: &Address) {
        debug_assert!(
            !matches!(self.space.get(address.canonical()), Ok(Some(_))),
            "{address:?} is in the engine, and the filter says that it is not"
        );
    }

    /// Reads what a space holds beside its records.
    fn load(config: &RecordConfig, space: Arc<dyn EngineSpace>, generation: u64) -> Result<Self, StoreError> {
        let view = space.view()?;
        let applied = load_meta(view.get(keys::META)?)?;
        let ledger = Ledger::load(view.as_ref())?;
        let doubt = DoubtIndex::load(view.as_ref())?;
        drop(view);
        let written = Written { sequence: 0, position: applied.position, time: applied.time, generation };
        Ok(Self {
            space,
            generation,
            overlay: Overlay::new(config.cache_bytes_max),
            presence: Presence::new(config.filter_bytes_max),
            applied,
            sequence: 0,
            written,
            flush_wanted: 0,
            counts: ledger.counts,
            doubt,
            batch: ledger.batch,
        })
    }
}

fn load_meta(value: Option<Bytes>) -> Result<AppliedMeta, StoreError> {
    value.map_or_else(|| Ok(AppliedMeta::default()), |value| Ok(decode_meta(&value, keys::META)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;
    use crate::records::{EngineKind, MemoryEngine, RecordStore};
    use std::path::Path;

    /// A batch rests between its rows only as long as nobody waits for its end.
    #[test]
    fn a_replacement_that_waits_for_a_batch_is_seen_by_the_writer() {
        let config =
            RecordConfig { kind: EngineKind::Memory(MemoryEngine::new()), ..RecordConfig::default() };
        let (store, _writer) =
            RecordStore::open(Arc::new(SimDisk::new()), Path::new("/records"), config).expect("opens");
        let shard = store.shard(GroupId { shard: 1, replica: 1 }).expect("opens");
        assert!(!shard.pending().replacement_waits);
        std::thread::scope(|scope| {
            let batch = shard.side.lock();
            let wiped = scope.spawn(|| shard.wipe());
            while !shard.pending().replacement_waits {
                std::thread::yield_now();
            }
            drop(batch);
            wiped.join().expect("no panic").expect("is wiped");
        });
        assert!(!shard.pending().replacement_waits);
    }
}
