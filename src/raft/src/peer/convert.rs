//! Between openraft's messages and the wire's.

use crate::codec;
use crate::types::{Entry, RaftLogId, Types, Vote, from_stored, log_id, position, to_stored};
use bytes::Bytes;
use hapax_store::log::{LogEntry, LogPosition};
use hapax_wire::peer::{AppendOutcome, Ballot, Entry as WireEntry, Position};
use openraft::raft::{AppendEntriesResponse, StreamAppendError, StreamAppendResult};

/// Entries smaller than this are copied out of the read buffer, so that the log's cache does not
/// keep a whole buffer alive for a few bytes.
const COPY_BELOW: usize = 64 << 10;

/// A vote as the wire has it.
#[must_use]
pub fn ballot(vote: &Vote) -> Ballot {
    Ballot { term: vote.leader_id.term, replica: vote.leader_id.voted_for, committed: vote.committed }
}

/// A vote as openraft has it.
#[must_use]
pub fn vote(ballot: Ballot) -> Vote {
    let make = if ballot.committed { Vote::new_committed } else { Vote::new };
    make(ballot.term, ballot.replica)
}

/// A place in the log as the wire has it.
#[must_use]
pub fn place(id: &RaftLogId) -> Position {
    let position = position(id);
    Position { term: position.term, index: position.index }
}

/// A place in the log as openraft has it.
#[must_use]
pub fn unplace(place: Position) -> RaftLogId {
    log_id(LogPosition { term: place.term, index: place.index })
}

/// An entry as the wire has it.
#[must_use]
pub fn wire_entry(entry: &Entry) -> WireEntry {
    let stored = to_stored(entry);
    WireEntry { term: stored.term, index: stored.index, payload: stored.payload.into() }
}

/// An entry as openraft has it.
///
/// # Errors
/// When its payload does not decode.
pub fn raft_entry(entry: WireEntry) -> Result<Entry, codec::PayloadError> {
    let shared = entry.payload.into_bytes();
    let payload = if shared.len() < COPY_BELOW { Bytes::copy_from_slice(&shared) } else { shared };
    from_stored(LogEntry { term: entry.term, index: entry.index, payload })
}

/// What a follower said to a unary append or heartbeat, for the wire.
#[must_use]
pub fn outcome(response: &AppendEntriesResponse<Types>) -> AppendOutcome {
    match response {
        AppendEntriesResponse::Success => AppendOutcome::Success(None),
        AppendEntriesResponse::PartialSuccess(upto) => AppendOutcome::Partial(upto.as_ref().map(place)),
        AppendEntriesResponse::Conflict => AppendOutcome::Conflict,
        AppendEntriesResponse::HigherVote(vote) => AppendOutcome::HigherBallot(ballot(vote)),
    }
}

/// What a follower said to a streamed append, for the wire.
#[must_use]
pub fn stream_outcome(result: &StreamAppendResult<Types>) -> AppendOutcome {
    match result {
        Ok(upto) => AppendOutcome::Success(upto.as_ref().map(place)),
        Err(StreamAppendError::Conflict(_)) => AppendOutcome::Conflict,
        Err(StreamAppendError::HigherVote(vote)) => AppendOutcome::HigherBallot(ballot(vote)),
    }
}
