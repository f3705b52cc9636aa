//! The writer's side of a shard: what was applied becomes batches of the engine.

use super::ShardRecords;
use crate::codec::meta::encode_meta;
use crate::codec::record::encode_record_into;
use crate::log::LogPosition;
use crate::records::doubt::{self, doubtful_since};
use crate::records::engine::{BatchRow, EngineSpace, row_bytes};
use crate::records::error::StoreError;
use crate::records::keys;
use crate::records::ledger::Ledger;
use crate::records::overlay::Changed;
use crate::records::pace::Pace;
use bytes::{Bytes, BytesMut};
use hapax_core::seeded::{self, Bug};
use hapax_core::{Address, LogTime, Record};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Entries moved into the cache in one go, so that the lock is never held for long.
const RETIRE_ROWS: usize = 256;

/// What the writer keeps between batches.
#[derive(Debug, Default)]
pub(super) struct WriterSide {
    /// The batch that the engine could not take yet.
    pub(super) job: Option<Job>,
    /// The addresses that have a row in the engine's in-doubt index.
    pub(super) doubtful: BTreeSet<Address>,
}

/// What a batch changes, in canonical order.
type Sorted<'a> = Vec<(&'a Address, &'a Option<Arc<Record>>)>;

/// One batch: the records, and the rows behind them. Records become rows while the batch is written, one after another,
/// since all of them at once would take tens of MiB.
#[derive(Debug)]
pub(super) struct Job {
    changed: Arc<Changed>,
    /// What it takes in memory, some more than its rows.
    bytes: usize,
    /// The ledger, the position, the doubtful.
    rest: Vec<BatchRow>,
    written: Written,
}

/// Up to where the engine has taken batches.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::records) struct Written {
    pub(in crate::records) sequence: u64,
    pub(in crate::records) position: Option<LogPosition>,
    pub(in crate::records) time: LogTime,
    pub(in crate::records) generation: u64,
}

/// What the writer needs to know to decide whether a shard is due.
#[derive(Clone, Copy, Debug)]
pub(in crate::records) struct Pending {
    pub(in crate::records) changed_bytes: usize,
    pub(in crate::records) has_records: bool,
    pub(in crate::records) has_moved: bool,
    pub(in crate::records) flush_wanted: bool,
    pub(in crate::records) replacement_waits: bool,
    pub(in crate::records) unsynced: bool,
}

impl ShardRecords {
    pub(in crate::records) fn pending(&self) -> Pending {
        let durable = self.durable.borrow().sequence;
        let state = self.state.lock();
        Pending {
            changed_bytes: state.overlay.changed_bytes(),
            has_records: state.overlay.pending_bytes() > 0,
            has_moved: state.sequence > state.written.sequence,
            flush_wanted: state.flush_wanted > durable,
            replacement_waits: self.replacing.load(Ordering::Relaxed),
            unsynced: state.written.sequence > durable,
        }
    }

    /// Writes everything applied so far as one batch and says how many bytes; a batch that the engine could not
    /// take before goes first.
    pub(in crate::records) fn write_batch(&self, pace: &mut Pace<'_>) -> Result<usize, StoreError> {
        let mut guard = self.side.lock();
        let side = &mut *guard;
        if side.job.is_none() {
            side.job = self.take_job(&mut side.doubtful);
            if seeded::active(Bug::OverlayLost) && !self.pending().flush_wanted {
                return Ok(0);
            }
        }
        let Some(job) = &side.job else { return Ok(0) };
        if seeded::active(Bug::AppliedNotAtomic) {
            let applied = job.rest.iter().filter(|(key, _)| key == keys::META).cloned();
            self.space().write(&applied.collect::<Vec<_>>())?;
        }
        let records = sorted(&job.changed);
        let mut bytes = 0;
        let rest = job.rest.iter().cloned();
        let mut counted = rows(&records).chain(rest).inspect(|row| {
            bytes += row_bytes(row);
            pace.rows(1);
        });
        self.space().write_rows(&mut counted, job.bytes)?;
        drop(counted);
        self.retire(&records, job.written, pace);
        let changed = side.job.take().and_then(|job| Arc::into_inner(job.changed));
        changed.into_iter().flatten().for_each(|_freed| pace.rows(1));
        Ok(bytes)
    }

    /// Takes everything applied so far out of the overlay and makes a batch of it.
    fn take_job(&self, doubtful: &mut BTreeSet<Address>) -> Option<Job> {
        let (changed, bytes, written, meta, ledger) = {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            if state.sequence == state.written.sequence {
                return None;
            }
            state.batch += 1;
            if state.presence.is_stale(state.counts.total()) {
                let pending = state.overlay.pending_addresses();
                state.presence.renew(pending.map(Address::canonical));
            }
            let meta = state.applied.clone();
            let written = Written {
                sequence: state.sequence,
                position: meta.position,
                time: meta.time,
                generation: state.generation,
            };
            let bytes = state.overlay.changed_bytes();
            let ledger = Ledger { batch: state.batch, counts: state.counts };
            (state.overlay.take(), bytes, written, meta, ledger)
        };
        let mut rest = Vec::from(ledger.rows());
        rest.push((Bytes::from_static(keys::META), Some(encode_meta(&meta, keys::META).into())));
        rest.extend(doubt_rows(&changed, doubtful));
        Some(Job { changed, bytes, rest, written })
    }

    /// Moves a written job from the overlay into the cache, never holding the lock for long.
    fn retire(&self, records: &Sorted<'_>, written: Written, pace: &mut Pace<'_>) {
        for part in records.chunks(RETIRE_ROWS) {
            self.state.lock().overlay.keep_written(part.iter().copied());
            pace.rows(part.len());
        }
        let mut state = self.state.lock();
        let retired = state.overlay.retire();
        state.written = written;
        let bytes = state.overlay.pending_bytes();
        self.overfull.store(bytes > self.shared.config.pending_bytes_max, Ordering::Relaxed);
        drop(state);
        drop(retired);
    }

    /// Up to where batches were written by now.
    pub(in crate::records) fn written(&self) -> Written {
        self.state.lock().written
    }

    /// Tells that the disk has, and the marks tell, what was written up to `written`.
    pub(in crate::records) fn set_durable(&self, written: Written) {
        let state = self.state.lock();
        if state.generation != written.generation {
            return;
        }
        state.space.reclaim_before(written.time);
        self.durable.send_modify(|durable| {
            (durable.sequence, durable.position) = (written.sequence, written.position);
        });
    }

    pub(in crate::records) fn space(&self) -> Arc<dyn EngineSpace> {
        Arc::clone(&self.state.lock().space)
    }

    /// Tells everyone who waits that it will not come.
    pub(in crate::records) fn fail(&self, error: &StoreError) {
        self.durable.send_modify(|durable| {
            durable.failed.get_or_insert_with(|| error.clone());
        });
    }
}

fn sorted(changed: &Changed) -> Sorted<'_> {
    let mut sorted: Sorted<'_> = changed.iter().collect();
    sorted.sort_unstable_by_key(|(address, _)| *address);
    sorted
}

/// Buffers that the rows of a batch share are of this size, or of that of a larger row: large enough that few are
/// allocated, small enough that they stay in the processor's cache, and that a row that outlives the others keeps little.
const SHARED_BYTES: usize = 16 << 10;

/// A copy of `bytes` in the buffer, or in a new one where it is full.
fn share(buffer: &mut BytesMut, bytes: &[u8]) -> Bytes {
    if buffer.capacity() < bytes.len() {
        *buffer = BytesMut::with_capacity(SHARED_BYTES.max(bytes.len()));
    }
    buffer.extend_from_slice(bytes);
    buffer.split().freeze()
}

/// The rows of records, one at a time. Keys and values are in buffers of their own, since an engine keeps some of the
/// keys for its index long after the values are written.
fn rows<'a>(records: &'a Sorted<'a>) -> impl Iterator<Item = BatchRow> + 'a {
    let (mut keys, mut values, mut encoded) = (BytesMut::new(), BytesMut::new(), Vec::new());
    records.iter().map(move |(address, record)| {
        let key = share(&mut keys, address.canonical());
        let value = record.as_ref().map(|record| {
            encode_record_into(address.canonical(), record, &mut encoded);
            share(&mut values, &encoded)
        });
        (key, value)
    })
}

/// What changes in the index of the doubtful, ascending.
fn doubt_rows(changed: &Changed, doubtful: &mut BTreeSet<Address>) -> Vec<BatchRow> {
    let mut rows = Vec::new();
    for (address, record) in changed {
        match record.as_deref().and_then(doubtful_since) {
            Some(since) => {
                let key = keys::doubt(address);
                let value = doubt::encode(&key, since).into();
                rows.push((key, Some(value)));
                doubtful.insert(address.clone());
            }
            None if doubtful.remove(address) => rows.push((keys::doubt(address), None)),
            None => {}
        }
    }
    rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    rows
}
