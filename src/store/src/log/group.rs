//! One group's log in memory: what its callers see, and where the writer put it.
//!
//! Contract: a call's effect on memory and its place in the writer's queue are taken under the group's lock,
//! queue first: whoever sees the effect knows that the operation is queued. An entry's payload stays in memory
//! until it is on disk, and then while the cache has room.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::error::LogError;
use super::segment::{Located, Segments};
use super::types::{GroupId, GroupState, LogEntry, LogPosition};

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) mem: Mutex<Mem>,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Tells one entry from another that took its index after a truncation.
    pub(super) seq: u64,
    pub(super) term: u64,
    pub(super) located: Option<Located>,
    pub(super) payload: Option<Bytes>,
}

/// A value with the place of its last record on disk.
#[derive(Clone, Debug)]
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) at: Located,
}

#[derive(Debug, Default)]
pub(super) struct Mem {
    pub(super) quarantined: Option<Arc<str>>,
    pub(super) removed: bool,
    pub(super) purged: Option<LogPosition>,
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<LogPosition>,
    /// Whether `committed` waits to be written with the next write.
    pub(super) committed_dirty: bool,
    /// The index of the first slot.
    pub(super) first: u64,
    pub(super) slots: VecDeque<Slot>,
    next_seq: u64,
    cached_bytes: usize,
    /// Slots before this one have no payload in memory.
    cached_from: usize,
    pub(super) written_vote: Option<Written<Bytes>>,
    pub(super) written_purge: Option<Written<LogPosition>>,
    pub(super) written_committed: Option<Written<Option<LogPosition>>>,
    pub(super) written_quarantine: Option<Written<Arc<str>>>,
}

impl Group {
    pub(super) fn new(id: GroupId) -> Arc<Self> {
        Arc::new(Self { id, mem: Mutex::new(Mem::default()) })
    }
}

/// Replaces a value's record: the old one is dead, the new one live.
pub(super) fn replace<T>(slot: &mut Option<Written<T>>, value: T, at: Located, segments: &Segments) {
    segments.live(at);
    if let Some(old) = slot.replace(Written { value, at }) {
        segments.dead(old.at);
    }
}

impl Mem {
    pub(super) fn last(&self) -> Option<LogPosition> {
        let index = self.first + self.slots.len() as u64;
        self.slots.back().map(|slot| LogPosition { term: slot.term, index: index - 1 }).or(self.purged)
    }

    pub(super) fn state(&self) -> GroupState {
        GroupState {
            purged: self.purged,
            last: self.last(),
            vote: self.vote.clone(),
            committed: self.committed,
        }
    }

    /// Refuses a group that was removed or must not take part.
    pub(super) fn check(&self, group: GroupId) -> Result<(), LogError> {
        if self.removed {
            return Err(LogError::Removed(group));
        }
        match &self.quarantined {
            Some(reason) => Err(LogError::Quarantined { group, reason: Arc::clone(reason) }),
            None => Ok(()),
        }
    }

    /// The slot of an index, if it is in the log.
    pub(super) fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Whether entries starting at `first` may be appended: anything may start an empty log.
    pub(super) fn check_follows(&self, entries: &[LogEntry]) -> Result<(), LogError> {
        let first = match (self.last(), entries.first()) {
            (Some(last), _) => last.index.saturating_add(1),
            (None, Some(entry)) => entry.index,
            (None, None) => return Ok(()),
        };
        // The highest index is never given out, so that "one behind" always exists.
        let out_of_order =
            |(expected, entry): &(u64, &LogEntry)| entry.index != *expected || *expected == u64::MAX;
        match (first..u64::MAX).chain([u64::MAX]).zip(entries).find(out_of_order) {
            Some((expected, entry)) => Err(LogError::OutOfOrder { expected, found: entry.index }),
            None => Ok(()),
        }
    }

    /// The number that the next pushed entry will get.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Adds entries that were checked and queued.
    pub(super) fn push(&mut self, entries: &[LogEntry]) {
        for entry in entries {
            self.push_slot(entry.index, entry.term, None, Some(entry.payload.clone()));
        }
    }

    /// Adds an entry that recovery found.
    pub(super) fn push_recovered(&mut self, index: u64, term: u64, at: Located, segments: &Segments) {
        segments.live(at);
        self.push_slot(index, term, Some(at), None);
    }

    fn push_slot(&mut self, index: u64, term: u64, located: Option<Located>, payload: Option<Bytes>) {
        if self.slots.is_empty() {
            self.first = index;
            self.cached_from = 0;
        }
        match &payload {
            Some(payload) => self.cached_bytes += payload.len(),
            None if self.cached_from == self.slots.len() => self.cached_from += 1,
            None => {}
        }
        self.slots.push_back(Slot { seq: self.next_seq, term, located, payload });
        self.next_seq += 1;
    }

    fn forget(&mut self, slot: &Slot, segments: &Segments) {
        self.cached_bytes -= slot.payload.as_ref().map_or(0, Bytes::len);
        if let Some(at) = slot.located {
            segments.dead(at);
        }
    }

    /// Drops the entries from `index` on.
    pub(super) fn truncate_from(&mut self, index: u64, segments: &Segments) {
        let kept = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        while self.slots.len() > kept {
            if let Some(slot) = self.slots.pop_back() {
                self.forget(&slot, segments);
            }
        }
        self.cached_from = self.cached_from.min(self.slots.len());
    }

    /// Drops the entries up to `position`.
    pub(super) fn purge_to(&mut self, position: LogPosition, segments: &Segments) {
        self.purged = Some(position);
        while !self.slots.is_empty() && self.first <= position.index {
            if let Some(slot) = self.slots.pop_front() {
                self.forget(&slot, segments);
            }
            self.first += 1;
            self.cached_from = self.cached_from.saturating_sub(1);
        }
    }

    /// Notes where the entry that got number `seq` now stands, unless it is gone meanwhile.
    pub(super) fn locate(&mut self, index: u64, seq: u64, at: Located, segments: &Segments) {
        let Some(offset) = index.checked_sub(self.first).and_then(|offset| usize::try_from(offset).ok())
        else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(offset).filter(|slot| slot.seq == seq) {
            segments.live(at);
            if let Some(old) = slot.located.replace(at) {
                segments.dead(old);
            }
        }
    }

    /// Drops the oldest payloads that are on disk, until at most `bytes_max` stay.
    pub(super) fn shrink_cache(&mut self, bytes_max: usize) {
        while self.cached_bytes > bytes_max {
            match self.slots.get_mut(self.cached_from) {
                Some(slot) if slot.located.is_some() => {
                    self.cached_bytes -= slot.payload.take().map_or(0, |payload| payload.len());
                    self.cached_from += 1;
                }
                _ => break,
            }
        }
    }

    /// Drops everything but a quarantine, giving up what it held on disk.
    pub(super) fn clear(&mut self, segments: &Segments) {
        self.truncate_from(0, segments);
        self.slots.clear();
        self.cached_bytes = 0;
        self.cached_from = 0;
        let places = [
            self.written_vote.take().map(|written| written.at),
            self.written_purge.take().map(|written| written.at),
            self.written_committed.take().map(|written| written.at),
        ];
        places.into_iter().flatten().for_each(|at| segments.dead(at));
        self.committed_dirty = false;
        (self.vote, self.purged, self.committed) = (None, None, None);
    }
}
