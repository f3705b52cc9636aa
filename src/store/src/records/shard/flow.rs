//! The writer's side of a shard: what was applied becomes batches of the engine.

use super::ShardRecords;
use crate::codec::meta::{AppliedMeta, encode_meta};
use crate::codec::record::encode_record_into;
use crate::log::LogPosition;
use crate::records::doubt::{self, doubtful_since};
use crate::records::engine::{BatchRow, EngineSpace};
use crate::records::error::StoreError;
use crate::records::keys;
use crate::records::ledger::Ledger;
use crate::records::overlay::Changed;
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
type Sorted = Vec<(Address, Option<Arc<Record>>)>;

/// One batch.
#[derive(Debug)]
pub(super) struct Job {
    changed: Sorted,
    rows: Vec<BatchRow>,
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
            unsynced: state.written.sequence > durable,
        }
    }

    /// Writes everything applied so far as one batch and says how many bytes; a batch that the engine could not
    /// take before goes first.
    pub(in crate::records) fn write_batch(&self) -> Result<usize, StoreError> {
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
            let applied = job.rows.iter().filter(|(key, _)| key == keys::META).cloned();
            self.space().write(&applied.collect::<Vec<_>>())?;
        }
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
            (state.overlay.take(), written, meta, Ledger { batch: state.batch, counts: state.counts })
        };
        let changed = sorted(&changed);
        let rows = rows_of(&changed, &meta, &ledger, doubtful);
        Some(Job { changed, rows, written })
    }

    /// Moves a written job from the overlay into the cache, never holding the lock for long.
    fn retire(&self, job: &Job) {
        let mut rows = job.changed.iter().map(|(address, record)| (address, record)).peekable();
        while rows.peek().is_some() {
            self.state.lock().overlay.keep_written(rows.by_ref().take(RETIRE_ROWS));
        }
        let mut state = self.state.lock();
        let retired = state.overlay.retire();
        state.written = job.written;
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

fn sorted(changed: &Changed) -> Sorted {
    let mut sorted: Sorted =
        changed.iter().map(|(address, record)| (address.clone(), record.clone())).collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    sorted
}

/// Buffers that the rows of a batch share are of this size, or of that of a larger row: large enough that few are
/// allocated, small enough that a row that outlives the others keeps little.
const SHARED_BYTES: usize = 64 << 10;

/// A copy of `bytes` in the buffer, or in a new one where it is full.
fn share(buffer: &mut BytesMut, bytes: &[u8]) -> Bytes {
    if buffer.capacity() < bytes.len() {
        *buffer = BytesMut::with_capacity(SHARED_BYTES.max(bytes.len()));
    }
    buffer.extend_from_slice(bytes);
    buffer.split().freeze()
}

/// The rows of a batch, ascending: the records, the ledger, the position, the doubtful.
fn rows_of(
    changed: &Sorted,
    meta: &AppliedMeta,
    ledger: &Ledger,
    doubtful: &mut BTreeSet<Address>,
) -> Vec<BatchRow> {
    let mut rows = Vec::with_capacity(changed.len() + 8);
    let (mut shared, mut encoded) = (BytesMut::new(), Vec::new());
    for (address, record) in changed {
        let key = share(&mut shared, address.canonical());
        let value = record.as_ref().map(|record| {
            encode_record_into(address.canonical(), record, &mut encoded);
            share(&mut shared, &encoded)
        });
        rows.push((key, value));
    }
    rows.extend(ledger.rows());
    rows.push((Bytes::from_static(keys::META), Some(encode_meta(meta, keys::META).into())));
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
    rows
}
