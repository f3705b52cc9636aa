//! The records of one shard replica.
//!
//! Contract:
//! - [`ShardRecords::apply`] makes the changes of an entry and the position after it visible together, and never
//!   waits for the engine. Readers see all of an entry's changes or none.
//! - What is applied reaches the engine in batches that are prefixes of what was applied; after a crash the shard
//!   opens at the position of one of them ([`ShardRecords::applied`]), from where the log is replayed.
//! - [`ShardRecords::durable`] is marked outside the engine; the log may be purged up to it.
//! - Nothing is served that is not what was stored: see [`StoreError::Damaged`].

use super::config::RecordConfig;
use super::doubt::{DoubtIndex, doubtful_since};
use super::engine::{ADDRESSES_END, BatchRow, EngineSpace};
use super::error::StoreError;
use super::keys;
use super::ledger::{Counts, Ledger};
use super::overlay::{Changed, Found, Overlay};
use super::scan::{self, ScanPage, prefix_end};
use super::snapshot::{SnapshotSink, SnapshotSource};
use super::store::Shared;
use crate::codec::meta::{AppliedMeta, decode_meta, encode_meta};
use crate::codec::record::{decode_record, encode_record};
use crate::log::{GroupId, LogPosition};
use bytes::Bytes;
use hapax_core::{Address, LogTime, Record};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Entries moved into the cache in one go, so that the lock is never held for long.
const RETIRE_ROWS: usize = 256;

/// Pending rows that a page may have to look through for each row that it gives.
const SCAN_PENDING_FACTOR: usize = 4;

/// The records of one shard replica. All calls may run at the same time; `apply` comes from one task.
pub struct ShardRecords {
    id: GroupId,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Locked before `state`, and for as long as a batch takes: only the writer and a replacement take it.
    side: Mutex<WriterSide>,
    durable: watch::Sender<Durable>,
    overfull: AtomicBool,
}

/// What changes together.
pub(super) struct State {
    pub(super) space: Arc<dyn EngineSpace>,
    pub(super) generation: u64,
    overlay: Overlay,
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

/// What the writer keeps between batches.
#[derive(Debug, Default)]
struct WriterSide {
    /// The batch that the engine could not take yet.
    job: Option<Job>,
    /// The addresses that have a row in the engine's in-doubt index.
    doubtful: BTreeSet<Address>,
}

/// One batch.
#[derive(Debug)]
struct Job {
    changed: Arc<Changed>,
    rows: Vec<BatchRow>,
    written: Written,
}

/// Up to where the engine has taken batches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) sequence: u64,
    pub(super) position: Option<LogPosition>,
    pub(super) time: LogTime,
    pub(super) generation: u64,
}

/// Up to where the disk is known to have them.
#[derive(Clone, Debug, Default)]
struct Durable {
    sequence: u64,
    position: Option<LogPosition>,
    failed: Option<StoreError>,
}

/// What the writer needs to know to decide whether a shard is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) changed_bytes: usize,
    pub(super) has_records: bool,
    pub(super) has_moved: bool,
    pub(super) flush_wanted: bool,
    pub(super) unsynced: bool,
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
            match state.overlay.get(address) {
                Found::Known(record) => return Ok(record),
                Found::Unknown(ticket) => (Arc::clone(&state.space), ticket),
            }
        };
        let Some(value) = space.get(address.canonical())? else { return Ok(None) };
        let record = Arc::new(decode_record(address.canonical(), &value)?);
        self.state.lock().overlay.fill(address, &record, ticket);
        Ok(Some(record))
    }

    /// Starts collecting the changes of one or more entries; nothing is visible until they are committed.
    #[must_use]
    pub fn begin(&self) -> Changes<'_> {
        Changes { shard: self, changed: HashMap::new() }
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
            }
            if let Some(Some(before)) = state.overlay.put(address, record) {
                state.counts.remove(&before);
            }
        }
        state.applied = meta;
        state.sequence += 1;
        let bytes = state.overlay.pending_bytes();
        let due = state.overlay.changed_bytes() >= self.shared.config.batch_bytes;
        drop(guard);
        self.overfull.store(bytes > self.shared.config.pending_bytes_max, Ordering::Relaxed);
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
        self.shared.engine.sync()
    }

    /// Drops a space that will not count.
    pub(super) fn give_up(&self, generation: u64) {
        self.shared.drop_space(&Shared::space_name(self.id, generation));
    }

    /// Switches to another space, durably: what it holds must have been synced.
    pub(super) fn replace(&self, space: Arc<dyn EngineSpace>, generation: u64) -> Result<(), StoreError> {
        let loaded = State::load(&self.shared.config, space, generation)?;
        let mut side = self.side.lock();
        self.shared.switch(self.id, generation, loaded.applied.position)?;
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

/// The writer's side.
impl ShardRecords {
    pub(super) fn pending(&self) -> Pending {
        let state = self.state.lock();
        Pending {
            changed_bytes: state.overlay.changed_bytes(),
            has_records: state.overlay.pending_bytes() > 0,
            has_moved: state.sequence > state.written.sequence,
            flush_wanted: state.flush_wanted > self.durable.borrow().sequence,
            unsynced: state.written.sequence > self.durable.borrow().sequence,
        }
    }

    /// Writes everything applied so far as one batch and says how many bytes; a batch that the engine could not
    /// take before goes first.
    pub(super) fn write_batch(&self) -> Result<usize, StoreError> {
        let mut guard = self.side.lock();
        let side = &mut *guard;
        if side.job.is_none() {
            side.job = self.take_job(&mut side.doubtful);
        }
        let Some(job) = &side.job else { return Ok(0) };
        self.space().write(&job.rows)?;
        let bytes =
            job.rows.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        self.retire(job);
        side.job = None;
        Ok(bytes)
    }

    /// Takes everything applied so far out of the overlay and makes a batch of it.
    fn take_job(&self, doubtful: &mut BTreeSet<Address>) -> Option<Job> {
        let (changed, written, meta, ledger) = {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            if state.sequence == state.written.sequence {
                return None;
            }
            state.batch += 1;
            let meta = state.applied.clone();
            let written = Written {
                sequence: state.sequence,
                position: meta.position,
                time: meta.time,
                generation: state.generation,
            };
            (state.overlay.take(), written, meta, Ledger { batch: state.batch, counts: state.counts })
        };
        let rows = rows_of(&changed, &meta, &ledger, doubtful);
        Some(Job { changed, rows, written })
    }

    /// Moves a written job from the overlay into the cache, never holding the lock for long.
    fn retire(&self, job: &Job) {
        let mut rows = job.changed.iter().peekable();
        while rows.peek().is_some() {
            self.state.lock().overlay.keep_written(rows.by_ref().take(RETIRE_ROWS));
        }
        let mut state = self.state.lock();
        let retired = state.overlay.retire();
        state.written = job.written;
        let bytes = state.overlay.pending_bytes();
        drop(state);
        self.overfull.store(bytes > self.shared.config.pending_bytes_max, Ordering::Relaxed);
        drop(retired);
    }

    /// Up to where batches were written by now.
    pub(super) fn written(&self) -> Written {
        self.state.lock().written
    }

    /// Tells that the disk has, and the marks tell, what was written up to `written`.
    pub(super) fn set_durable(&self, written: Written) {
        let state = self.state.lock();
        if state.generation != written.generation {
            return;
        }
        state.space.reclaim_before(written.time);
        self.durable.send_modify(|durable| {
            (durable.sequence, durable.position) = (written.sequence, written.position);
        });
    }

    pub(super) fn space(&self) -> Arc<dyn EngineSpace> {
        Arc::clone(&self.state.lock().space)
    }

    /// Tells everyone who waits that it will not come.
    pub(super) fn fail(&self, error: &StoreError) {
        self.durable.send_modify(|durable| {
            durable.failed.get_or_insert_with(|| error.clone());
        });
    }
}

/// The rows of a batch, ascending: the records, the ledger, the position, the doubtful.
fn rows_of(
    changed: &Changed,
    meta: &AppliedMeta,
    ledger: &Ledger,
    doubtful: &mut BTreeSet<Address>,
) -> Vec<BatchRow> {
    let mut rows = Vec::with_capacity(changed.len() + 8);
    for (address, record) in changed {
        let value = record.as_ref().map(|record| encode_record(address, record).into());
        rows.push((Bytes::copy_from_slice(address.canonical()), value));
    }
    rows.extend(ledger.rows());
    rows.push((Bytes::from_static(keys::META), Some(encode_meta(meta, keys::META).into())));
    for (address, record) in changed {
        match record.as_deref().and_then(doubtful_since) {
            Some(since) => {
                let key = keys::doubt(address);
                let value = super::doubt::encode(&key, since).into();
                rows.push((key, Some(value)));
                doubtful.insert(address.clone());
            }
            None if doubtful.remove(address) => rows.push((keys::doubt(address), None)),
            None => {}
        }
    }
    rows
}

/// The changes of entries that are being applied: reads see them, everyone else does not until
/// [`Changes::commit`]. Dropped without it, they are as if never made.
#[derive(Debug)]
pub struct Changes<'a> {
    shard: &'a ShardRecords,
    changed: HashMap<Address, Option<Arc<Record>>>,
}

impl Changes<'_> {
    /// Makes them visible together with the position after them.
    pub fn commit(self, meta: AppliedMeta) {
        self.shard.apply(self.changed, meta);
    }
}

impl hapax_core::Records for Changes<'_> {
    type Error = StoreError;

    fn get(&mut self, address: &Address) -> Result<Option<Arc<Record>>, StoreError> {
        match self.changed.get(address) {
            Some(record) => Ok(record.clone()),
            None => self.shard.get(address),
        }
    }

    fn put(&mut self, address: &Address, record: Option<Arc<Record>>) -> Result<(), StoreError> {
        self.changed.insert(address.clone(), record);
        Ok(())
    }
}
