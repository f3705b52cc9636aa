//! Log entries from a leader to a follower.

use super::body::Body;
use super::{Ballot, Entry, Position};
use crate::codec::{BodyReader, BodyWriter, fields};
use crate::kind;
use crate::limits::ENTRIES;
use bincode::error::{DecodeError, EncodeError};
use hapax_core::tagged;

/// Entries that follow `prev`; without entries, a probe of how far the logs agree.
///
/// The frame bounds it: entries of at most [`crate::limits::APPEND_BYTES`] together (see
/// [`Entry::size_bytes`]) always fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The group.
    pub shard: u32,
    /// The leader's replica.
    pub from: u64,
    /// The follower's replica.
    pub to: u64,
    /// The leader's ballot.
    pub ballot: Ballot,
    /// The place just before the first entry; absent at the start of the log.
    pub prev: Option<Position>,
    /// The last committed place that the leader knows.
    pub committed: Option<Position>,
    /// The entries, in order; at most 4096.
    pub entries: Vec<Entry>,
}

/// The fixed part of an append, in its order.
struct Head {
    shard: u32,
    from: u64,
    to: u64,
    ballot: Ballot,
    prev: Option<Position>,
    committed: Option<Position>,
}
fields!(Head { shard, from, to, ballot, prev, committed });

impl Body for Append {
    const KIND: u8 = kind::APPEND;

    fn put_body(&self, body: &mut BodyWriter<'_>) -> Result<(), EncodeError> {
        if self.entries.len() > ENTRIES {
            return Err(EncodeError::Other("entries"));
        }
        let Self { shard, from, to, ballot, prev, committed, entries } = self;
        body.value(&Head {
            shard: *shard,
            from: *from,
            to: *to,
            ballot: *ballot,
            prev: *prev,
            committed: *committed,
        })?;
        entries.iter().try_for_each(|entry| entry.put(body))
    }

    fn take_body(body: &mut BodyReader) -> Result<Self, DecodeError> {
        let Head { shard, from, to, ballot, prev, committed } = body.value()?;
        let mut entries = Vec::new();
        while !body.is_empty() {
            if entries.len() == ENTRIES {
                return Err(DecodeError::Other("entries"));
            }
            entries.push(Entry::take(body)?);
        }
        Ok(Self { shard, from, to, ballot, prev, committed, entries })
    }
}

/// What a follower says to entries or to a heartbeat. The tags are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// All entries are on its disk; its log agrees up to this place.
    Success(Option<Position>),
    /// Those up to this place are; send the rest again.
    Partial(Option<Position>),
    /// It does not have `prev`.
    Conflict,
    /// It has seen a higher ballot.
    HigherBallot(Ballot),
    /// There is no such replica here.
    Gone,
}
tagged!(AppendOutcome {
    1 => Success(Option<Position>), 2 => Partial(Option<Position>), 3 => Conflict,
    4 => HigherBallot(Ballot), 5 => Gone,
});

/// The reply to an [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendReply {
    /// How it went.
    pub outcome: AppendOutcome,
}
fields!(AppendReply { outcome });
super::body::body!(AppendReply, APPEND_REPLY);
