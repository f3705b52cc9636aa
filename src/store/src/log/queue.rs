//! What waits for the writer: bounded, in order, of all groups together.
//!
//! Contract: an operation in the queue is written, in order, or its callback gets the error that closed the
//! queue. Room is taken in bytes before an operation enters and given back when its callback has run.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, Semaphore};

use bytes::Bytes;
use hapax_core::seeded::{self, Bug};

use super::error::LogError;
use super::format::Judged;
use super::group::Group;
use super::types::{LogEntry, LogPosition};

/// Called when an operation is durable, or will never be known to be.
pub type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

pub(super) enum Op {
    Append {
        group: Arc<Group>,
        entries: Vec<LogEntry>,
        first_seq: u64,
    },
    Vote {
        group: Arc<Group>,
        vote: Bytes,
    },
    Truncate {
        group: Arc<Group>,
        from: u64,
    },
    Purge {
        group: Arc<Group>,
        position: LogPosition,
    },
    Remove {
        group: Arc<Group>,
    },
    Quarantine {
        group: Arc<Group>,
        reason: Arc<str>,
    },
    /// Follows the quarantines that some damage led to.
    Judged(Judged),
    /// Segments below this one are to be given up.
    Advance(u64),
    /// A write without records, to name the end of the last one.
    Mark,
    /// The last operation.
    Stop,
}

pub(super) struct Queued {
    pub(super) op: Op,
    pub(super) done: Option<Done>,
    /// What it takes in the log.
    pub(super) record_bytes: usize,
    /// The room to give back.
    pub(super) room: u32,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("room_max", &self.room_max).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Inner {
    ops: VecDeque<Queued>,
    committed: VecDeque<Arc<Group>>,
    closed: Option<LogError>,
    /// [`Op::Stop`] was put in.
    stopping: bool,
}

pub(super) struct Queue {
    inner: Mutex<Inner>,
    arrived: Condvar,
    arrived_async: Notify,
    room: Semaphore,
    room_max: u32,
}

/// Room in the queue, given back unless an operation takes it along.
pub(super) struct Room<'a> {
    queue: &'a Queue,
    bytes: u32,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.queue.give_back(self.bytes);
    }
}

/// What the writer takes for one write.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) ops: Vec<Queued>,
    pub(super) committed: Vec<Arc<Group>>,
}

/// At most so many commit records go into one write: they are hints, the rest goes with the next.
const COMMITTED_PER_WRITE_MAX: usize = 256;

impl Queue {
    pub(super) fn new(room_max: u32) -> Self {
        Self {
            inner: Mutex::default(),
            arrived: Condvar::new(),
            arrived_async: Notify::new(),
            room: Semaphore::new(room_max as usize),
            room_max,
        }
    }

    fn cost(&self, record_bytes: usize) -> u32 {
        u32::try_from(record_bytes).unwrap_or(u32::MAX).min(self.room_max)
    }

    /// Waits for room, first come first served. An operation larger than the queue waits for all of it.
    pub(super) async fn room(&self, record_bytes: usize) -> Result<Room<'_>, LogError> {
        let bytes = self.cost(record_bytes);
        match self.room.acquire_many(bytes).await {
            Ok(permit) => {
                permit.forget();
                Ok(Room { queue: self, bytes })
            }
            Err(_) => Err(self.closed_by()),
        }
    }

    /// Takes room if there is some and nobody waits for it.
    pub(super) fn try_room(&self, record_bytes: usize) -> Result<Room<'_>, LogError> {
        let bytes = self.cost(record_bytes);
        match self.room.try_acquire_many(bytes) {
            Ok(permit) => {
                permit.forget();
                Ok(Room { queue: self, bytes })
            }
            Err(tokio::sync::TryAcquireError::NoPermits) => Err(LogError::QueueFull),
            Err(tokio::sync::TryAcquireError::Closed) => Err(self.closed_by()),
        }
    }

    pub(super) fn give_back(&self, bytes: u32) {
        self.room.add_permits(bytes as usize);
    }

    /// The bytes of the operations that wait or are being written; operations of more than the bound count as
    /// the bound.
    pub(super) fn queued_bytes(&self) -> u64 {
        u64::from(self.room_max).saturating_sub(self.room.available_permits() as u64)
    }

    pub(super) fn closed_by(&self) -> LogError {
        self.inner.lock().closed.clone().unwrap_or(LogError::Stopped)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.lock().closed.is_some()
    }

    /// Puts an operation in, with the room that was taken for it; the writer's own need none.
    pub(super) fn push(
        &self,
        op: Op,
        done: Option<Done>,
        record_bytes: usize,
        room: Option<Room<'_>>,
    ) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        if let Some(error) = &inner.closed {
            return Err(error.clone());
        }
        let room = room.map_or(0, |room| {
            let bytes = room.bytes;
            std::mem::forget(room);
            bytes
        });
        let overtakes = seeded::active(Bug::VoteOvertakesLog) && matches!(op, Op::Vote { .. });
        inner.stopping |= matches!(op, Op::Stop);
        let place = if overtakes { 0 } else { inner.ops.len() };
        inner.ops.insert(place, Queued { op, done, record_bytes, room });
        drop(inner);
        self.arrived.notify_one();
        self.arrived_async.notify_one();
        Ok(())
    }

    /// Asks for a group's commit position to go along with the next write. Does not wake the writer.
    pub(super) fn push_committed(&self, group: Arc<Group>) {
        self.inner.lock().committed.push_back(group);
    }

    /// Takes operations up to about `bytes_max`, at least one if there is any.
    pub(super) fn take(&self, bytes_max: usize) -> Batch {
        let mut batch = Batch::default();
        let mut inner = self.inner.lock();
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some(queued) = inner.ops.pop_front() else { break };
            bytes += queued.record_bytes;
            let is_vote = matches!(queued.op, Op::Vote { .. });
            batch.ops.push(queued);
            if seeded::active(Bug::VoteOvertakesLog) && is_vote {
                break;
            }
        }
        if !batch.ops.is_empty() {
            let committed = inner.committed.len().min(COMMITTED_PER_WRITE_MAX);
            batch.committed = inner.committed.drain(..committed).collect();
        }
        batch
    }

    /// Blocks the thread until something is there, or for `wait`; says whether it is there.
    pub(super) fn wait_blocking(&self, wait: Option<Duration>) -> bool {
        let mut inner = self.inner.lock();
        match wait {
            Some(wait) => {
                let _timed_out = self.arrived.wait_while_for(&mut inner, |inner| inner.ops.is_empty(), wait);
            }
            None => self.arrived.wait_while(&mut inner, |inner| inner.ops.is_empty()),
        }
        !inner.ops.is_empty()
    }

    /// Waits until something is there; may return early.
    pub(super) async fn wait(&self) {
        let arrived = self.arrived_async.notified();
        if self.inner.lock().ops.is_empty() {
            arrived.await;
        }
    }

    /// Blocks the thread until the log is to stop, or for `wait`; says whether it is to stop.
    pub(super) fn wait_stop_blocking(&self, wait: Duration) -> bool {
        let mut inner = self.inner.lock();
        let _timed_out = self.arrived.wait_while_for(&mut inner, |inner| !inner.stopping, wait);
        inner.stopping
    }

    /// Waits until the log is to stop.
    pub(super) async fn wait_stop(&self) {
        loop {
            let arrived = self.arrived_async.notified();
            if self.inner.lock().stopping {
                return;
            }
            arrived.await;
        }
    }

    /// Refuses everything from now on, and what is still queued, with `error`.
    pub(super) fn close(&self, error: &LogError) -> Vec<Queued> {
        let mut inner = self.inner.lock();
        inner.closed.get_or_insert_with(|| error.clone());
        inner.committed.clear();
        let ops = std::mem::take(&mut inner.ops);
        drop(inner);
        self.room.close();
        ops.into()
    }
}
