//! The log that all Raft groups of a node share.
//!
//! Contract:
//! - A callback or future that reports success has its records on disk, and they survive SIGKILL and loss of
//!   power, in order. Records of all groups go through one queue, one write and one sync at a time.
//! - After a crash, a final write that was not whole is cut; damage before the end of what was synced is
//!   never cut: groups that may have lost a record are quarantined, and must not vote again under their id.
//! - A failed write or sync ends the log for good; [`LogConfig::fatal`] is called first. A disk without room for
//!   another segment is no failure: the log waits for room, and goes on by itself.
//! - Everything is bounded: the queue by [`LogConfig::queue_bytes_max`], the cache by
//!   [`LogConfig::cache_bytes_per_group`], an entry by [`LogConfig::entry_bytes_max`]; disk space by purging:
//!   what lags is copied forward once there are more than [`LogConfig::live_segments_max`] segments.
//!
//! What is deliberately absent: threads and timers (the caller runs [`LogWriter`]), and any idea of what an
//! entry or a vote means.

mod batch;
mod config;
mod error;
mod format;
mod group;
mod group_log;
mod queue;
mod recover;
mod replay;
mod rewrite;
mod scan;
mod segment;
mod shared;
mod stats;
mod types;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::oneshot;

use crate::disk::Disk;

pub use config::{FatalHook, LogConfig, MonotonicClock};
pub use error::LogError;
pub use group_log::GroupLog;
pub use queue::Done;
pub use stats::{LogStats, SYNC_BUCKETS};
pub use types::{GroupId, GroupState, LogEntry, LogPosition};
pub use writer::LogWriter;

use format::{Judged, record_bytes};
use group::Group;
use queue::{Op, Queue};
use recover::Recovered;
use segment::{Pool, Segments};
use shared::Shared;
use stats::Counters;

/// A handle on the log. Clones share it. When the last handle, of the log or of a group, is dropped, the
/// writer writes what is queued and ends.
#[derive(Clone, Debug)]
pub struct Log {
    alive: Arc<Alive>,
    is_new: bool,
}

/// Ends the writer when the last handle goes.
#[derive(Debug)]
pub(crate) struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        let _closed = self.0.queue.push(Op::Stop, None, 0, None);
    }
}

impl Log {
    /// Opens the log in `dir`, creating the directory if need be, and recovers it. Nothing queued is written
    /// until the writer runs. Only one log may be open on a directory: the caller holds the lock of the data
    /// directory.
    ///
    /// # Errors
    /// [`LogError::Config`], [`LogError::Io`], or [`LogError::Version`]. Damage is not an error here: it
    /// quarantines groups.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, config: LogConfig) -> Result<(Self, LogWriter), LogError> {
        config.check()?;
        disk.create_dir(dir).map_err(LogError::io("create the log's directory"))?;
        if let Some(parent) = dir.parent() {
            disk.sync_dir(parent).map_err(LogError::io("sync the data directory"))?;
        }
        let recovered = recover::recover(disk.as_ref(), dir)?;
        let kept = config.recycled_segments_max;
        let (unborn, last_id) = (recovered.unborn.clone(), recovered.last_id);
        let mut pool =
            Pool::new(Arc::clone(&disk), dir.to_owned(), config.segment_bytes, kept, unborn, last_id);
        for id in &recovered.free {
            pool.adopt(*id)?;
        }
        // The config bounds the queue to 4 GiB.
        let room_max = u32::try_from(config.queue_bytes_max).unwrap_or(u32::MAX);
        let shared = Arc::new(Shared {
            disk,
            dir: dir.to_owned(),
            config,
            queue: Queue::new(room_max),
            groups: RwLock::new(BTreeMap::new()),
            segments: Segments::default(),
            counters: Counters::default(),
            doubt: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
        });
        let is_new = recovered.segments.is_empty();
        let writer = restore(&shared, pool, recovered)?;
        let _full = shared.sample_space();
        Ok((Self { alive: Arc::new(Alive(shared)), is_new }, writer))
    }

    /// Whether the directory held no write at all: either it never was used, or it was wiped.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// A handle on a group, empty if the log has no record of it. If damage may have held the records of groups
    /// that the log does not name, an unknown group is not taken for new: it is quarantined.
    #[must_use]
    pub fn group(&self, id: GroupId) -> GroupLog {
        self.get_or_create(id, self.alive.0.doubt.load(Ordering::Relaxed))
    }

    /// A handle on a group that the caller knows never to have been on this node under this id.
    #[must_use]
    pub fn create_group(&self, id: GroupId) -> GroupLog {
        self.get_or_create(id, false)
    }

    fn get_or_create(&self, id: GroupId, doubt: bool) -> GroupLog {
        let shared = &self.alive.0;
        let mut created = false;
        let group = Arc::clone(shared.groups.write().entry(id).or_insert_with(|| {
            created = true;
            Group::new(id)
        }));
        if created && doubt {
            shared.quarantine(&group, &"the log was damaged where it may have named this group".into());
        }
        GroupLog::new(Arc::clone(&self.alive), group)
    }

    /// The groups known to the log, quarantined ones included, removed ones not.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        self.alive.0.groups.read().keys().copied().collect()
    }

    /// Drops a group and all that the log holds of it; durable on return. Its id must never be used again.
    ///
    /// # Errors
    /// [`LogError::Removed`] if there is no such group; [`LogError::Io`] or [`LogError::Stopped`].
    pub async fn remove_group(&self, id: GroupId) -> Result<(), LogError> {
        let group = self.alive.0.groups.read().get(&id).cloned();
        match group {
            Some(group) => GroupLog::new(Arc::clone(&self.alive), group).remove().await,
            None => Err(LogError::Removed(id)),
        }
    }

    /// Whether the configured reserve of free space is there, as of now. Space that cannot be measured counts as
    /// there: a write that does not fit says so itself.
    ///
    /// # Errors
    /// [`LogError::DiskFull`].
    pub fn check_room(&self) -> Result<(), LogError> {
        match self.alive.0.sample_space() {
            Err(full @ LogError::DiskFull { .. }) => Err(full),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whether nothing is written, since the disk has no room for another segment.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.alive.0.counters.waits_for_room.load(Ordering::Relaxed)
    }

    /// The log's figures.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let shared = &self.alive.0;
        let groups: Vec<_> = shared.groups.read().values().cloned().collect();
        let quarantined = groups.iter().filter(|group| group.mem.lock().quarantined.is_some()).count();
        LogStats {
            queued_bytes: shared.queue.queued_bytes(),
            segments_live: shared.segments.count() as u64,
            live_bytes: shared.segments.live_bytes(),
            quarantined_groups: quarantined as u64,
            ..shared.counters.read()
        }
    }

    /// Writes what is queued and a last mark, and ends the writer. Later calls are refused.
    ///
    /// # Errors
    /// [`LogError::Io`] if the log failed, [`LogError::Stopped`] if it was stopped before.
    pub async fn flush_and_stop(&self) -> Result<(), LogError> {
        let (sender, receiver) = oneshot::channel();
        let done = move |result| {
            // The caller may have stopped waiting.
            let _gone = sender.send(result);
        };
        self.alive.0.queue.push(Op::Stop, Some(Box::new(done)), 0, None)?;
        receiver.await.unwrap_or(Err(LogError::Stopped))
    }
}

/// Fills the shared state with what was recovered, and queues what must be written because of it.
fn restore(shared: &Arc<Shared>, mut pool: Pool, recovered: Recovered) -> Result<LogWriter, LogError> {
    let Recovered { segments, given_up, end, unnamed, mut replay, damages, .. } = recovered;
    for (id, file) in given_up {
        pool.retire(id, Some(file))?;
    }
    shared.counters.segments_free.store(pool.free_count() as u64, Ordering::Relaxed);
    let first_segment = segments.first().map_or(0, |(id, _)| *id);
    for (id, file) in segments {
        shared.segments.add(id, file);
    }
    stats::add(&shared.counters.damages, damages.len() as u64);
    for damage in &damages {
        tracing::error!(what = damage.what, at = ?damage.at, harmed = ?damage.harmed, "the log is damaged");
    }
    let mut writer = LogWriter::new(Arc::clone(shared), pool, end, first_segment, unnamed);
    judge(shared, &damages, end, &mut replay)?;
    if let Some(judged) = replay.judged {
        group::replace(&mut writer.judged, judged.value, judged.at, &shared.segments);
    }
    if unnamed {
        shared.queue.push(Op::Mark, None, 0, None)?;
    }
    Ok(writer)
}

/// Makes the groups, and quarantines those that damage has harmed, now and in a record.
fn judge(
    shared: &Arc<Shared>,
    damages: &[scan::Damage],
    end: format::Place,
    replay: &mut replay::Replay,
) -> Result<(), LogError> {
    let before = replay.judged.as_ref().map(|judged| judged.value);
    let judged_up_to = before.unwrap_or_default().up_to;
    let (mut harmed, doubt) = recover::harm(damages, &replay.known(), judged_up_to);
    for (group, trouble) in replay.take_groups(&shared.segments) {
        shared.groups.write().insert(group.id, Arc::clone(&group));
        if let Some(reason) = harmed.remove(&group.id).or(trouble) {
            shared.quarantine(&group, &reason);
        }
    }
    // Groups that only damaged records name, but for those that are known to be gone.
    for (id, reason) in harmed.into_iter().filter(|(id, _)| !replay.removed.contains(id)) {
        let group = Group::new(id);
        shared.groups.write().insert(id, Arc::clone(&group));
        shared.quarantine(&group, &reason);
    }
    if doubt {
        // Behind the quarantines in the queue, so that it is never on disk without them.
        shared.queue.push(Op::Judged(Judged { up_to: end }), None, record_bytes(0), None)?;
    }
    shared.doubt.store(doubt || before.is_some(), Ordering::Relaxed);
    Ok(())
}
