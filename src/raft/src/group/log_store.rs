//! A group's part of the shared log, as openraft wants to see it.
//!
//! Appends return when they are queued; openraft hears of the fsync through its callback. Votes
//! and truncations go through the same queue, in order, and return when they are durable. The
//! committed position is only a hint and is never fsynced: the record store is what is restored
//! from.

use crate::codec;
use crate::group::shard::Shard;
use crate::types::{Entry, Payload, RaftLogId, Types, Vote, from_stored, log_id, position, to_stored};
use futures_util::stream;
use hapax_core::LogTime;
use hapax_store::log::{GroupLog, LogEntry as StoredEntry, LogError, LogPosition};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Payload bytes that one read takes into memory before they are handed on.
const READ_BYTES: usize = 4 << 20;
/// Payload bytes that one append to a peer carries at most, unless a single entry is larger.
const REPLICATE_BYTES: usize = 1 << 20;

/// How many entries without a stamp (new leaders', memberships) are looked through for one that has one.
const UNSTAMPED_MAX: u64 = 1_000;

/// The log of one group.
#[derive(Clone)]
pub struct LogStore {
    log: GroupLog,
    shard: Arc<Shard>,
}

impl LogStore {
    /// Over the group's part of the node's log.
    #[must_use]
    pub fn new(log: GroupLog, shard: Arc<Shard>) -> Self {
        Self { log, shard }
    }

    /// Notes the log time of the newest entry received: a follower that comes to lead goes on from
    /// there. (A leader's own stamps are already its clock's.) Only an entry of the present term
    /// tells the present time: its leader lives, and stamped it. What a new leader sends on from before
    /// its term says nothing about the present; after an outage of all replicas, taking it for the present
    /// would keep log time behind by the whole outage. It only ends what was known from leaders before.
    fn hear(&self, entries: &[Entry]) {
        let newest = entries.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Normal(proposal) => {
                let time = hapax_store::codec::batch::batch_time(&proposal.0)?;
                Some((entry.log_id.leader_id.term, time))
            }
            _ => None,
        });
        let Some((term, time)) = newest else { return };
        let vote = self.log.state().ok().and_then(|state| codec::decode_vote(&state.vote?).ok());
        let is_present = vote.is_some_and(|vote| vote.leader_id.term == term);
        if self.shard.lead().is_none() {
            self.shard.hear(|clock| {
                if is_present || clock.anchor().is_some() {
                    clock.heard(term, time, self.shard.env.clock.boot_ms());
                }
            });
        }
    }

    /// The entries of `[from, to)`, in reads of bounded size, as far as the log has them.
    fn read_all(&self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut next = from;
        while next < to {
            let read = self.read(next, to, READ_BYTES)?;
            let Some(last) = read.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(read);
        }
        Ok(entries)
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let stored = self.log.read(from, to, bytes_max).map_err(to_io)?;
        stored.into_iter().map(|entry| from_stored(entry).map_err(io::Error::from)).collect()
    }

    /// Cuts a range down to what the log holds.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> io::Result<(u64, u64)> {
        let state = self.log.state().map_err(to_io)?;
        let end_of_log = state.last.map_or(0, |last| last.index + 1);
        let from = match range.start_bound() {
            Bound::Included(&from) => from,
            Bound::Excluded(&from) => from + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&to) => to + 1,
            Bound::Excluded(&to) => to,
            Bound::Unbounded => end_of_log,
        };
        let first = self.log.first_index().map_err(to_io)?.unwrap_or(end_of_log);
        Ok((from.max(first), to.min(end_of_log)))
    }
}

/// The log time that an entry bears, if it is one that bears any.
fn stamp_of(entry: &StoredEntry) -> Option<LogTime> {
    match codec::decode_payload(&entry.payload).ok()? {
        Payload::Normal(proposal) => hapax_store::codec::batch::batch_time(&proposal.0),
        _ => None,
    }
}

/// The last entry of a log that bears a log time, among its last thousand.
///
/// # Errors
/// What the log says.
pub fn newest_stamped(log: &GroupLog) -> Result<Option<LogPosition>, LogError> {
    let (Some(first), Some(last)) = (log.first_index()?, log.state()?.last) else { return Ok(None) };
    for index in (first.max(last.index.saturating_sub(UNSTAMPED_MAX))..=last.index).rev() {
        let read = log.read(index, index + 1, 0)?;
        if let Some(found) = read.first().filter(|entry| stamp_of(entry).is_some()) {
            return Ok(Some(found.position()));
        }
    }
    Ok(None)
}

/// The term of the last entry that was made before `term`, among the log's last thousand.
///
/// # Errors
/// What the log says.
pub fn term_before(log: &GroupLog, term: u64) -> Result<Option<u64>, LogError> {
    let (Some(first), Some(last)) = (log.first_index()?, log.state()?.last) else { return Ok(None) };
    for index in (first.max(last.index.saturating_sub(UNSTAMPED_MAX))..=last.index).rev() {
        let read = log.read(index, index + 1, 0)?;
        if let Some(found) = read.first().filter(|entry| entry.term < term) {
            return Ok(Some(found.term));
        }
    }
    Ok(None)
}

/// openraft knows storage errors only as I/O errors.
fn to_io(error: LogError) -> io::Error {
    io::Error::other(error)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = self.bounds(&range)?;
        self.read_all(from, to)
    }

    /// Used by apply: a long stretch of log is handed on in parts, never all at once.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl futures_util::Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let bounds = self.bounds(&range);
        let log = self.clone();
        let (next, to, failed) = match bounds {
            Ok((from, to)) => (from, to, None),
            Err(error) => (0, 0, Some(error)),
        };
        let state = (log, next, to, Vec::<Entry>::new().into_iter(), failed);
        stream::unfold(state, |(log, mut next, to, mut ready, failed)| async move {
            if let Some(error) = failed {
                return Some((Err(error), (log, to, to, ready, None)));
            }
            loop {
                if let Some(entry) = ready.next() {
                    return Some((Ok(entry), (log, next, to, ready, None)));
                }
                if next >= to {
                    return None;
                }
                match log.read(next, to, READ_BYTES) {
                    Ok(read) => {
                        next = read.last().map_or(to, |last| last.log_id.index + 1);
                        ready = read.into_iter();
                    }
                    Err(error) => return Some((Err(error), (log, to, to, ready, None))),
                }
            }
        })
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, REPLICATE_BYTES)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let state = self.log.state().map_err(to_io)?;
        Ok(state.vote.map(|bytes| codec::decode_vote(&bytes)).transpose()?)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.log.state().map_err(to_io)?;
        Ok(LogState { last_purged_log_id: state.purged.map(log_id), last_log_id: state.last.map(log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.log.save_vote(codec::encode_vote(vote)).await.map_err(to_io)
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), io::Error> {
        self.log.save_committed(committed.as_ref().map(position)).map_err(to_io)
    }

    async fn read_committed(&mut self) -> Result<Option<RaftLogId>, io::Error> {
        Ok(self.log.state().map_err(to_io)?.committed.map(log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.hear(&entries);
        let entries: Vec<_> = entries.iter().map(to_stored).collect();
        let done = Box::new(move |result: Result<(), LogError>| callback.io_completed(result.map_err(to_io)));
        // What is refused here ends the group's consensus: the leader looks at the reserve before it
        // proposes, and what was proposed goes into it.
        self.log.append_into_reserve(entries, done).await.map_err(to_io)
    }

    async fn truncate_after(&mut self, last_log_id: Option<RaftLogId>) -> Result<(), io::Error> {
        self.log.truncate_after(last_log_id.map(|id| id.index)).await.map_err(to_io)
    }

    async fn purge(&mut self, log_id: RaftLogId) -> Result<(), io::Error> {
        self.log.purge_to(position(&log_id)).await.map_err(to_io)
    }
}
