//! The single writer: everything queued, one vectored write, one sync, then the callbacks in order.
//!
//! Contract: a callback hears `Ok` only after the sync of its record, and of the directory if the segment is
//! new. A failed write or sync ends the log: nothing is tried again, every callback gets the error, and the
//! fatal hook is called before any of them. [`LogWriter::run_blocking`] and [`LogWriter::run_inline`] do the
//! same steps; they differ in how they wait.

use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use crate::disk::{self, DiskFile};
use hapax_core::seeded::{self, Bug};

use super::batch::{Encoded, Record, Records};
use super::error::LogError;
use super::format::{FLAG_NONE, Judged, Kind, Place, SegmentHeader};
use super::group::{self, Written};
use super::queue::{Batch, Op, Queued};
use super::rewrite::Rewriter;
use super::segment::{Located, Pool};
use super::shared::Shared;
use super::stats::add;
use super::types::LogPosition;

/// The segment that is being filled.
#[derive(Debug)]
struct Current {
    id: u64,
    file: Arc<dyn DiskFile>,
    offset: u64,
}

/// The one that writes. Dropping it without running it, or in the middle, fails what is queued.
#[derive(Debug)]
pub struct LogWriter {
    pub(super) shared: Arc<Shared>,
    pub(super) pool: Pool,
    current: Option<Current>,
    /// The end of the last synced write.
    synced_end: Place,
    first_segment: u64,
    /// Whether giving up segments is queued already.
    advancing: bool,
    /// Whether the last write has records that no later write vouches for.
    unnamed: bool,
    pub(super) judged: Option<Written<Judged>>,
    rewriter: Rewriter,
    finished: bool,
}

impl LogWriter {
    pub(super) fn new(
        shared: Arc<Shared>,
        pool: Pool,
        synced_end: Place,
        first_segment: u64,
        unnamed: bool,
    ) -> Self {
        Self {
            shared,
            pool,
            current: None,
            synced_end,
            first_segment,
            advancing: false,
            unnamed,
            judged: None,
            rewriter: Rewriter::default(),
            finished: false,
        }
    }

    /// Runs on the caller's thread until the log is stopped or has failed.
    pub fn run_blocking(mut self) {
        while !self.finished {
            if !self.step() && !self.shared.queue.wait_blocking(self.idle_wait()) {
                self.mark_idle();
            }
        }
    }

    /// Runs as a task until the log is stopped or has failed; the disk calls are made inside `poll`, which
    /// suits a simulation. `sleep` is the host's timer.
    pub async fn run_inline<S, F>(mut self, sleep: S)
    where
        S: Fn(Duration) -> F,
        F: Future<Output = ()>,
    {
        while !self.finished {
            if self.step() {
                yield_now().await;
                continue;
            }
            let arrived = match self.idle_wait() {
                Some(wait) => finishes_before(self.shared.queue.wait(), sleep(wait)).await,
                None => {
                    self.shared.queue.wait().await;
                    true
                }
            };
            if !arrived {
                self.mark_idle();
            }
        }
    }

    fn idle_wait(&self) -> Option<Duration> {
        self.unnamed.then_some(self.shared.config.idle_mark_after)
    }

    fn mark_idle(&self) {
        // A closed queue needs no mark; the next step sees that it is closed.
        let _closed = self.shared.queue.push(Op::Mark, None, 0, None);
    }

    /// Writes what is queued; says whether there was anything.
    fn step(&mut self) -> bool {
        let mut batch = self.shared.queue.take(self.shared.config.write_bytes_max);
        if batch.ops.is_empty() {
            return false;
        }
        let stop = batch.ops.iter().any(|queued| matches!(queued.op, Op::Stop));
        let mut written = self.write_batch(&batch);
        if stop && written.is_ok() && self.unnamed {
            written = self.write(&Records::default());
        }
        if let Err(error) = written {
            self.fail(&error, batch.ops);
            return true;
        }
        for queued in batch.ops.drain(..) {
            self.finish(queued, Ok(()));
        }
        if stop {
            self.stop();
        } else {
            self.plan_advance();
        }
        true
    }

    fn finish(&self, queued: Queued, result: Result<(), LogError>) {
        if let Some(done) = queued.done {
            done(result);
        }
        self.shared.queue.give_back(queued.room);
    }

    fn stop(&mut self) {
        self.finished = true;
        for queued in self.shared.queue.close(&LogError::Stopped) {
            self.finish(queued, Err(LogError::Stopped));
        }
    }

    fn fail(&mut self, error: &LogError, ops: Vec<Queued>) {
        self.finished = true;
        self.shared.counters.failed.store(true, Ordering::Relaxed);
        let rest = self.shared.queue.close(error);
        tracing::error!(%error, "the log has failed");
        (self.shared.config.fatal)(error);
        for queued in ops.into_iter().chain(rest) {
            self.finish(queued, Err(error.clone()));
        }
    }

    fn write_batch(&mut self, batch: &Batch) -> Result<(), LogError> {
        let mut records = Records::default();
        // Copies of older records come first, so that what is queued has the last word.
        let queued_bytes = batch.ops.iter().map(|queued| queued.record_bytes).sum();
        self.rewriter.gather(&self.shared, self.judged.as_ref(), queued_bytes, &mut records);
        records.mark_rewritten();
        add(&self.shared.counters.rewritten_bytes, records.record_bytes() as u64);
        let mut needed = false;
        let mut advance = None;
        for queued in &batch.ops {
            match queued.op {
                Op::Advance(first) => advance = Some(first),
                Op::Mark => needed |= self.unnamed,
                _ => {}
            }
            records.push_op(&queued.op);
        }
        for group in &batch.committed {
            let mut mem = group.mem.lock();
            if std::mem::take(&mut mem.committed_dirty) && mem.check(group.id).is_ok() {
                records.push_committed(group, mem.committed);
            }
        }
        self.first_segment = self.first_segment.max(advance.unwrap_or(0));
        if needed || advance.is_some() || !records.list.is_empty() {
            self.write(&records)?;
        }
        if advance.is_some() {
            self.give_up()?;
        }
        Ok(())
    }

    /// One write, one sync, and the news of where everything stands.
    fn write(&mut self, records: &Records) -> Result<(), LogError> {
        let config = &self.shared.config;
        let len = records.write_bytes(config.block_bytes) as u64;
        let fits = |current: &Current| current.offset + len <= config.segment_bytes;
        let rolled = !self.current.as_ref().is_some_and(fits);
        if rolled {
            self.start_segment()?;
        }
        let Some(current) = &mut self.current else { return Err(LogError::Stopped) };
        let place = Place { segment: current.id, offset: current.offset };
        let block_bytes = self.shared.config.block_bytes;
        let encoded = records.encode(place, self.synced_end, self.first_segment, block_bytes);
        let header = rolled.then(|| {
            let segment_bytes = self.shared.config.segment_bytes;
            let (segment, previous_end) = (current.id, self.synced_end);
            SegmentHeader { segment, block_bytes, segment_bytes, previous_end }.encode()
        });
        let mut slices = Vec::new();
        slices.extend(header.as_ref().map(|header| IoSlice::new(header)));
        slices.extend(encoded.slices());
        let start = if rolled { 0 } else { place.offset };
        disk::write_all_at(current.file.as_ref(), &mut slices, start)
            .map_err(LogError::io("write a segment"))?;
        let before = (self.shared.config.clock)();
        if !seeded_unsynced(records) {
            current.file.sync_data().map_err(LogError::io("sync a segment"))?;
        }
        self.shared.counters.synced((self.shared.config.clock)().saturating_sub(before));
        current.offset += len;
        if rolled {
            self.pool.sync_dir()?;
        }
        self.synced_end = Place { segment: place.segment, offset: place.offset + len };
        self.unnamed = !records.list.is_empty();
        self.publish(place.segment, records, &encoded);
        // Not being able to measure is not being full, and is noticed by the write that fails.
        let _full = self.shared.sample_space();
        Ok(())
    }

    fn start_segment(&mut self) -> Result<(), LogError> {
        let (id, file) = self.pool.take()?;
        if self.first_segment == 0 {
            self.first_segment = id;
        }
        self.shared.segments.add(id, Arc::clone(&file));
        self.current = Some(Current { id, file, offset: u64::from(self.shared.config.block_bytes) });
        self.note_free();
        Ok(())
    }

    fn note_free(&self) {
        self.shared.counters.segments_free.store(self.pool.free_count() as u64, Ordering::Relaxed);
    }

    /// Tells the groups where their records now stand.
    fn publish(&mut self, segment: u64, records: &Records, encoded: &Encoded) {
        let counters = &self.shared.counters;
        add(&counters.writes, 1);
        add(&counters.marks, u64::from(records.list.is_empty()));
        add(&counters.bytes, encoded.len as u64);
        add(&counters.records, records.list.len() as u64);
        let first = |record: &&Record| record.kind == Kind::Entry && !record.is_rewritten();
        add(&counters.entries, records.list.iter().filter(first).count() as u64);
        for (record, offset) in records.list.iter().zip(&encoded.offsets) {
            // Both are bounded by the length of a segment, at most 1 GiB.
            let (Ok(offset), Ok(len)) = (u32::try_from(*offset), u32::try_from(record.bytes())) else {
                continue;
            };
            self.publish_record(record, Located { segment, offset, len });
        }
    }

    fn publish_record(&mut self, record: &Record, at: Located) {
        let segments = &self.shared.segments;
        let Some(group) = &record.group else {
            let up_to = Place { segment: record.term, offset: record.index };
            group::replace(&mut self.judged, Judged { up_to }, at, segments);
            return;
        };
        let mut mem = group.mem.lock();
        // A group that is gone holds nothing on disk; a quarantined one, only the record that says so.
        if mem.removed || (mem.quarantined.is_some() && record.kind != Kind::Quarantine) {
            return;
        }
        let position = LogPosition { term: record.term, index: record.index };
        match record.kind {
            Kind::Entry => {
                mem.locate(record.index, record.seq, at, segments);
                mem.shrink_cache(self.shared.config.cache_bytes_per_group);
            }
            Kind::Vote => group::replace(&mut mem.written_vote, record.body.clone(), at, segments),
            Kind::Purge => group::replace(&mut mem.written_purge, position, at, segments),
            Kind::Committed => {
                let committed = (record.flags & FLAG_NONE == 0).then_some(position);
                group::replace(&mut mem.written_committed, committed, at, segments);
            }
            Kind::Quarantine => {
                let reason = mem.quarantined.clone().unwrap_or_else(|| Arc::from("quarantined"));
                group::replace(&mut mem.written_quarantine, reason, at, segments);
            }
            Kind::Mark | Kind::Truncate | Kind::Remove | Kind::Judged => {}
        }
    }

    /// Queues giving up the oldest segments, if nothing in them matters any more. What made them dead was
    /// queued before it was seen here, so it is written before, or with, the mark that gives them up.
    fn plan_advance(&mut self) {
        let Some(current) = &self.current else { return };
        let first = self.shared.segments.first_needed(current.id);
        if !self.advancing && first > self.first_segment {
            self.advancing = self.shared.queue.push(Op::Advance(first), None, 0, None).is_ok();
        }
    }

    /// Sets aside the files below the first segment that the last mark named.
    fn give_up(&mut self) -> Result<(), LogError> {
        self.advancing = false;
        for (id, file) in self.shared.segments.take_below(self.first_segment) {
            self.pool.retire(id, file)?;
        }
        self.note_free();
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

/// [`Bug::AckBeforeFsync`] and [`Bug::UnsyncedVote`]: whether these records go without a sync, until another write
/// is synced.
fn seeded_unsynced(records: &Records) -> bool {
    let votes_only = records.are_all(Kind::Vote);
    seeded::active(Bug::AckBeforeFsync) && !records.list.is_empty() && !votes_only
        || seeded::active(Bug::UnsyncedVote) && votes_only
}

/// Lets other tasks run once.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits for either, and says whether the first one was ready.
async fn finishes_before(first: impl Future<Output = ()>, second: impl Future<Output = ()>) -> bool {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if first.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        second.as_mut().poll(context).map(|()| false)
    })
    .await
}
