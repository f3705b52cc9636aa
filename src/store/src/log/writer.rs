//! The single writer: everything queued, one vectored write, one sync, then the callbacks in order.
//!
//! Contract: a callback hears `Ok` only after the sync of its record, and of the directory if the segment is
//! new. A failed write or sync ends the log: nothing is tried again, every callback gets the error, and the
//! fatal hook is called before any of them. A disk without room for a segment is no failure: the write waits for
//! room, with what is queued behind it, and a segment is always set aside ahead while there is room.
//! [`LogWriter::run_blocking`] and [`LogWriter::run_inline`] do the same steps; they differ in how they wait.

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

/// What one write is made of, and what is due once it is synced.
struct Work {
    batch: Batch,
    records: Records,
    /// Whether it is written even without a record.
    needed: bool,
    /// Whether its mark gives up segments.
    gives_up: bool,
    stops: bool,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("ops", &self.batch.ops.len()).finish_non_exhaustive()
    }
}

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something was done, or the log has ended.
    Done,
    /// Nothing is queued.
    Idle,
    /// Nothing can be written until the disk has room for a segment.
    NoRoom,
}

/// So often the writer looks for room on a full disk.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_millis(100);

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
    /// What waits for room on the disk.
    held: Option<Work>,
    /// Whether to try and set a segment aside, since none is.
    spare_due: bool,
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
            held: None,
            spare_due: false,
            finished: false,
        }
    }

    /// Runs on the caller's thread until the log is stopped or has failed.
    pub fn run_blocking(mut self) {
        while !self.finished {
            match self.step() {
                Step::Done => {}
                Step::Idle => {
                    if !self.shared.queue.wait_blocking(self.idle_wait()) {
                        self.mark_idle();
                    }
                }
                Step::NoRoom => {
                    if self.shared.queue.wait_stop_blocking(LOOK_FOR_ROOM_EVERY) {
                        self.stop_without_room();
                    }
                }
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
            match self.step() {
                Step::Done => yield_now().await,
                Step::Idle => {
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
                Step::NoRoom => {
                    if finishes_before(self.shared.queue.wait_stop(), sleep(LOOK_FOR_ROOM_EVERY)).await {
                        self.stop_without_room();
                    }
                }
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

    /// Writes what is queued, or what was held.
    fn step(&mut self) -> Step {
        let work = match self.held.take() {
            Some(work) => work,
            None => {
                let batch = self.shared.queue.take(self.shared.config.write_bytes_max);
                if batch.ops.is_empty() {
                    return Step::Idle;
                }
                self.gather(batch)
            }
        };
        match self.carry_out(&work) {
            Ok(true) => self.room_is_there(),
            Ok(false) => {
                self.held = Some(work);
                self.room_is_missing();
                return Step::NoRoom;
            }
            Err(error) => {
                self.fail(&error, work.batch.ops);
                return Step::Done;
            }
        }
        for queued in work.batch.ops {
            self.finish(queued, Ok(()));
        }
        if work.stops {
            self.stop();
        } else if let Err(error) = self.set_aside() {
            self.fail(&error, Vec::new());
        } else {
            self.plan_advance();
        }
        Step::Done
    }

    fn room_is_missing(&self) {
        if !self.shared.counters.waits_for_room.swap(true, Ordering::Relaxed) {
            let segment_bytes = self.shared.config.segment_bytes;
            tracing::error!(segment_bytes, "the disk has no room for a segment of the log: all writes wait");
        }
        // So that appends are refused rather than queued.
        let _full = self.shared.sample_space();
    }

    fn room_is_there(&self) {
        if self.shared.counters.waits_for_room.swap(false, Ordering::Relaxed) {
            tracing::info!("the disk has room for a segment of the log again");
        }
    }

    /// Ends the log while nothing can be written.
    fn stop_without_room(&mut self) {
        self.end(&LogError::NoRoom { segment_bytes: self.shared.config.segment_bytes });
    }

    /// Sets a segment aside ahead, so that a disk that is full when the current one ends stops nothing.
    fn set_aside(&mut self) -> Result<(), LogError> {
        if std::mem::take(&mut self.spare_due) && self.pool.free_count() == 0 {
            let _room = self.pool.prepare()?;
            self.note_free();
        }
        Ok(())
    }

    fn finish(&self, queued: Queued, result: Result<(), LogError>) {
        if let Some(done) = queued.done {
            done(result);
        }
        self.shared.queue.give_back(queued.room);
    }

    fn stop(&mut self) {
        self.end(&LogError::Stopped);
    }

    fn end(&mut self, error: &LogError) {
        self.finished = true;
        let rest = self.shared.queue.close(error);
        let held = self.held.take().map(|work| work.batch.ops).unwrap_or_default();
        for queued in held.into_iter().chain(rest) {
            self.finish(queued, Err(error.clone()));
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

    /// Makes the records of a batch.
    fn gather(&mut self, batch: Batch) -> Work {
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
        needed |= advance.is_some() || !records.list.is_empty();
        let stops = batch.ops.iter().any(|queued| matches!(queued.op, Op::Stop));
        Work { batch, records, needed, gives_up: advance.is_some(), stops }
    }

    /// Writes what was gathered; says whether there was room.
    fn carry_out(&mut self, work: &Work) -> Result<bool, LogError> {
        if work.needed && !self.write(&work.records)? {
            return Ok(false);
        }
        if work.gives_up {
            self.give_up()?;
        }
        if work.stops && self.unnamed {
            // The mark only names the end of what is synced already: without room it goes unnamed.
            let _room = self.write(&Records::default())?;
        }
        Ok(true)
    }

    /// One write, one sync, and the news of where everything stands; says whether there was room.
    fn write(&mut self, records: &Records) -> Result<bool, LogError> {
        let config = &self.shared.config;
        let len = records.write_bytes(config.block_bytes) as u64;
        let fits = |current: &Current| current.offset + len <= config.segment_bytes;
        let rolled = !self.current.as_ref().is_some_and(fits);
        if rolled && !self.start_segment()? {
            return Ok(false);
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
        let has_reserve = self.shared.sample_space().is_ok() && self.shared.config.reserve_bytes > 0;
        self.spare_due = rolled || has_reserve;
        Ok(true)
    }

    fn start_segment(&mut self) -> Result<bool, LogError> {
        let Some((id, file)) = self.pool.take()? else { return Ok(false) };
        if self.first_segment == 0 {
            self.first_segment = id;
        }
        self.shared.segments.add(id, Arc::clone(&file));
        self.current = Some(Current { id, file, offset: u64::from(self.shared.config.block_bytes) });
        self.note_free();
        Ok(true)
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
