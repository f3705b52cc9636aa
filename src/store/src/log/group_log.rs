//! A group's handle on the shared log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Alive;
use super::error::LogError;
use super::format::record_bytes;
use super::group::Group;
use super::queue::{Done, Op, Room};
use super::shared::{ReadBack, Shared};
use super::types::{GroupId, GroupState, LogEntry, LogPosition};

/// What a group adds to the mark of a write.
const MARK_SHARE_BYTES: usize = 16;
/// How often a read looks again for entries that move while it reads.
const READ_ATTEMPTS: usize = 8;

/// One group's log. Clones are handles on the same group.
///
/// Calls take effect in the order in which they return; a caller that wants its own order awaits one call
/// before it makes the next. What a call changed is visible to [`GroupLog::state`] and [`GroupLog::read`] at
/// once, before it is durable.
#[derive(Clone, Debug)]
pub struct GroupLog {
    alive: Arc<Alive>,
    group: Arc<Group>,
}

impl GroupLog {
    pub(super) fn new(alive: Arc<Alive>, group: Arc<Group>) -> Self {
        Self { alive, group }
    }

    fn shared(&self) -> &Shared {
        &self.alive.0
    }

    /// Whose log this is.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.group.id
    }

    /// What the log holds.
    ///
    /// # Errors
    /// [`LogError::Quarantined`] or [`LogError::Removed`].
    pub fn state(&self) -> Result<GroupState, LogError> {
        let mem = self.group.mem.lock();
        mem.check(self.group.id)?;
        Ok(mem.state())
    }

    /// Appends entries that follow the last one; waits while the queue is full. `done` is called, from the
    /// writer, once all are durable or the log has failed; it must not block. If this returns an error, or is
    /// dropped before it returns, `done` is never called; dropping it may leave a first part of the entries
    /// appended.
    ///
    /// # Errors
    /// All but [`LogError::Io`] and [`LogError::Stopped`] are definite, unless a part was appended already:
    /// then [`GroupLog::state`] tells how far.
    pub async fn append(&self, entries: Vec<LogEntry>, done: Done) -> Result<(), LogError> {
        self.shared().check_space()?;
        self.append_into_reserve(entries, done).await
    }

    /// Appends like [`GroupLog::append`], also while the reserve of the configuration is not there: for entries
    /// that cannot be refused any more. Whoever proposes asks [`super::Log::check_room`] first.
    ///
    /// # Errors
    /// As [`GroupLog::append`], but never [`LogError::DiskFull`].
    pub async fn append_into_reserve(&self, entries: Vec<LogEntry>, done: Done) -> Result<(), LogError> {
        self.check_entries(&entries)?;
        let mut parts = self.split(entries);
        let last = parts.pop();
        for part in parts {
            let bytes = append_bytes(&part);
            let room = self.shared().queue.room(bytes).await?;
            self.enqueue_append(part, None, bytes, room)?;
        }
        let last = last.unwrap_or_default();
        let bytes = append_bytes(&last);
        let room = self.shared().queue.room(bytes).await?;
        self.enqueue_append(last, Some(done), bytes, room)
    }

    /// Appends like [`GroupLog::append`], but refuses instead of waiting, and takes no more entries than fit
    /// one write.
    ///
    /// # Errors
    /// [`LogError::QueueFull`], [`LogError::EntryTooLarge`], or as [`GroupLog::append`].
    pub fn try_append(&self, entries: Vec<LogEntry>, done: Done) -> Result<(), LogError> {
        self.shared().check_space()?;
        self.check_entries(&entries)?;
        let bytes = append_bytes(&entries);
        let bytes_max = self.shared().config.write_bytes_max;
        if bytes > bytes_max && entries.len() > 1 {
            return Err(LogError::EntryTooLarge { bytes, bytes_max });
        }
        let room = self.shared().queue.try_room(bytes)?;
        self.enqueue_append(entries, Some(done), bytes, room)
    }

    fn check_entries(&self, entries: &[LogEntry]) -> Result<(), LogError> {
        let bytes_max = self.shared().config.entry_bytes_max;
        if let Some(entry) = entries.iter().find(|entry| entry.payload.len() > bytes_max) {
            return Err(LogError::EntryTooLarge { bytes: entry.payload.len(), bytes_max });
        }
        let mem = self.group.mem.lock();
        mem.check(self.group.id)?;
        mem.check_follows(entries)
    }

    /// Cuts entries into parts that fit one write each.
    fn split(&self, entries: Vec<LogEntry>) -> Vec<Vec<LogEntry>> {
        let bytes_max = self.shared().config.write_bytes_max;
        let mut parts: Vec<Vec<LogEntry>> = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            let entry_bytes = record_bytes(entry.payload.len());
            match parts.last_mut() {
                Some(part) if bytes + entry_bytes <= bytes_max => part.push(entry),
                _ => {
                    bytes = 0;
                    parts.push(vec![entry]);
                }
            }
            bytes += entry_bytes;
        }
        parts
    }

    fn enqueue_append(
        &self,
        entries: Vec<LogEntry>,
        done: Option<Done>,
        bytes: usize,
        room: Room<'_>,
    ) -> Result<(), LogError> {
        let shared = self.shared();
        let mut mem = self.group.mem.lock();
        mem.check(self.group.id)?;
        mem.check_follows(&entries)?;
        let group = Arc::clone(&self.group);
        let first_seq = mem.next_seq();
        let effect = entries.clone();
        shared.queue.push(Op::Append { group, entries, first_seq }, done, bytes, Some(room))?;
        mem.push(&effect);
        Ok(())
    }

    /// Saves the vote; durable on return, after every append that was made before.
    ///
    /// # Errors
    /// [`LogError::Io`] or [`LogError::Stopped`] where it may or may not be durable, others definite.
    pub async fn save_vote(&self, vote: Bytes) -> Result<(), LogError> {
        let bytes_max = self.shared().config.entry_bytes_max;
        if vote.len() > bytes_max {
            return Err(LogError::EntryTooLarge { bytes: vote.len(), bytes_max });
        }
        let op = Op::Vote { group: Arc::clone(&self.group), vote: vote.clone() };
        self.run(op, vote.len(), |mem, _| mem.vote = Some(vote)).await
    }

    /// Notes the commit position; it is written along with the next write of any group, and never synced for
    /// its own sake.
    ///
    /// # Errors
    /// [`LogError::Quarantined`], [`LogError::Removed`], or what closed the log.
    pub fn save_committed(&self, position: Option<LogPosition>) -> Result<(), LogError> {
        if self.shared().queue.is_closed() {
            return Err(self.shared().queue.closed_by());
        }
        let mut mem = self.group.mem.lock();
        mem.check(self.group.id)?;
        mem.committed = position;
        if !std::mem::replace(&mut mem.committed_dirty, true) {
            self.shared().queue.push_committed(Arc::clone(&self.group));
        }
        Ok(())
    }

    /// Drops all entries after `index`, or all if it is `None`; durable on return.
    ///
    /// # Errors
    /// [`LogError::OutOfOrder`] if `index` is below the purge point; others as [`GroupLog::save_vote`].
    pub async fn truncate_after(&self, index: Option<u64>) -> Result<(), LogError> {
        let from = match index {
            None => 0,
            Some(u64::MAX) => return self.state().map(drop),
            Some(index) => index + 1,
        };
        {
            let mem = self.group.mem.lock();
            if let Some(purged) = mem.purged.filter(|purged| index.is_some_and(|index| index < purged.index))
            {
                return Err(LogError::OutOfOrder { expected: purged.index, found: from });
            }
        }
        let op = Op::Truncate { group: Arc::clone(&self.group), from };
        self.run(op, 0, |mem, shared| mem.truncate_from(from, &shared.segments)).await
    }

    /// Drops all entries up to `position`, which may lie beyond the last: the log then goes on behind it.
    /// Durable on return. A position at or before the purge point changes nothing.
    ///
    /// # Errors
    /// As [`GroupLog::save_vote`].
    pub async fn purge_to(&self, position: LogPosition) -> Result<(), LogError> {
        if position.index == u64::MAX {
            return Err(LogError::OutOfOrder { expected: u64::MAX - 1, found: u64::MAX });
        }
        // An older position is answered by the purge that covers it, which may not be durable yet: it is
        // written again, so that the promise holds without looking.
        let purged = self.state()?.purged.filter(|purged| position.index <= purged.index);
        let position = purged.unwrap_or(position);
        let op = Op::Purge { group: Arc::clone(&self.group), position };
        self.run(op, 0, |mem, shared| mem.purge_to(position, &shared.segments)).await
    }

    /// Drops the group. Its id must never be used again.
    pub(super) async fn remove(&self) -> Result<(), LogError> {
        let queue = &self.shared().queue;
        let bytes = record_bytes(0) + MARK_SHARE_BYTES;
        let room = queue.room(bytes).await?;
        let (done, durable) = signal();
        {
            let mut mem = self.group.mem.lock();
            if mem.removed {
                return Err(LogError::Removed(self.group.id));
            }
            queue.push(Op::Remove { group: Arc::clone(&self.group) }, Some(done), bytes, Some(room))?;
            mem.removed = true;
            mem.clear(&self.shared().segments);
            if let Some(quarantine) = mem.written_quarantine.take() {
                self.shared().segments.dead(quarantine.at);
            }
            // Under the group's lock, so that nobody finds the group in the map but removed.
            self.shared().groups.write().remove(&self.group.id);
        }
        durable.await.unwrap_or(Err(LogError::Stopped))
    }

    /// Queues an operation, shows its effect, and waits until it is durable.
    async fn run(
        &self,
        op: Op,
        body_len: usize,
        effect: impl FnOnce(&mut super::group::Mem, &Shared),
    ) -> Result<(), LogError> {
        let shared = self.shared();
        let bytes = record_bytes(body_len) + MARK_SHARE_BYTES;
        let room = shared.queue.room(bytes).await?;
        let (done, durable) = signal();
        {
            let mut mem = self.group.mem.lock();
            mem.check(self.group.id)?;
            shared.queue.push(op, Some(done), bytes, Some(room))?;
            effect(&mut mem, shared);
        }
        durable.await.unwrap_or(Err(LogError::Stopped))
    }

    /// The index of the oldest entry; `None` when the log holds none. A log that was never purged may
    /// begin anywhere.
    ///
    /// # Errors
    /// [`LogError::Quarantined`] or [`LogError::Removed`].
    pub fn first_index(&self) -> Result<Option<u64>, LogError> {
        let mem = self.group.mem.lock();
        mem.check(self.group.id)?;
        Ok((!mem.slots.is_empty()).then_some(mem.first))
    }

    /// Reads entries from index `from` up to but not including `to_exclusive`, or the end of the log: at least
    /// one if there is one, and no more once their payloads reach `bytes_max`.
    ///
    /// # Errors
    /// [`LogError::Purged`] if `from` is gone; [`LogError::Quarantined`], also where this read is what found
    /// the damage; [`LogError::Io`]; [`LogError::Changed`].
    pub fn read(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        for _ in 0..READ_ATTEMPTS {
            match self.try_read(from, to_exclusive, bytes_max) {
                Ok(entries) => return Ok(entries),
                Err(ReadBack::Moved) => {}
                Err(ReadBack::Failed(error)) => return Err(error),
                Err(ReadBack::Damaged) => {
                    self.state()?;
                    return Err(LogError::Changed);
                }
            }
        }
        Err(LogError::Changed)
    }

    fn try_read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<LogEntry>, ReadBack> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut index = from;
        while index < to && (bytes < bytes_max || entries.is_empty()) {
            let Some(slot) = self.slot(from, index)? else { break };
            let payload = match (slot.payload, slot.located) {
                (Some(payload), _) => payload,
                (None, Some(at)) => self.read_back(index, slot.seq, at)?,
                (None, None) => return Err(ReadBack::Moved),
            };
            bytes += payload.len();
            entries.push(LogEntry { term: slot.term, index, payload });
            index += 1;
        }
        Ok(entries)
    }

    fn slot(&self, from: u64, index: u64) -> Result<Option<super::group::Slot>, ReadBack> {
        let mem = self.group.mem.lock();
        mem.check(self.group.id).map_err(ReadBack::Failed)?;
        match mem.purged {
            Some(purged) if index <= purged.index => Err(ReadBack::Failed(LogError::Purged { from, purged })),
            _ => Ok(mem.slot(index).cloned()),
        }
    }

    /// Reads a payload from disk. What does not check out is damage only if the entry still stands there.
    fn read_back(&self, index: u64, seq: u64, at: super::segment::Located) -> Result<Bytes, ReadBack> {
        let shared = self.shared();
        let result = shared.read_entry(self.group.id, index, at);
        if matches!(result, Err(ReadBack::Damaged)) {
            let still_there = {
                let mem = self.group.mem.lock();
                mem.slot(index).is_some_and(|slot| slot.seq == seq && slot.located == Some(at))
            };
            if !still_there {
                return Err(ReadBack::Moved);
            }
            let reason = format!("entry {index} in segment {} does not match its checksum", at.segment);
            shared.found_damage(&self.group, &reason.into());
        }
        result
    }

    /// Whether the log as a whole has failed.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.shared().counters.failed.load(Ordering::Relaxed)
    }
}

fn append_bytes(entries: &[LogEntry]) -> usize {
    entries.iter().map(|entry| record_bytes(entry.payload.len())).sum::<usize>() + MARK_SHARE_BYTES
}

fn signal() -> (Done, oneshot::Receiver<Result<(), LogError>>) {
    let (sender, receiver) = oneshot::channel();
    let done = move |result| {
        // The caller may have stopped waiting.
        let _gone = sender.send(result);
    };
    (Box::new(done), receiver)
}
