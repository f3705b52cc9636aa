//! What a verb is answered.

use crate::bytes::Blob;
use crate::error::Refusal;
use crate::outcome::{Metadata, OutcomeClass};
use crate::tagged;
use crate::text::Trace;
use crate::time::LogTime;
use crate::token::Token;
use crate::view::{Page, View};
use bincode::de::Decoder;
use bincode::de::read::Reader;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};

/// A reply with its witness. Errors that never reached a shard have none.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Answer {
    /// What is said.
    pub reply: Reply,
    /// From where in which log.
    pub witness: Option<Witness>,
}

/// From where a reply was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Witness {
    /// The shard.
    pub shard: u32,
    /// The log index: of the command's entry when applied, else the last one applied when read.
    pub index: u64,
    /// The position inside that entry; 0 for a read.
    pub position: u32,
    /// The shard's log time there.
    pub time: LogTime,
    /// Whether it was applied or read.
    pub basis: Basis,
}

/// What a reply rests on. The tags are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The command went through the log.
    Applied,
    /// It was read from applied state by a leader that had confirmed its lead after the call came.
    Read,
    /// It was read from a follower's applied state, as the caller allowed: true at that log time.
    Stale,
}
tagged!(Basis { 1 => Applied, 2 => Read, 3 => Stale });

impl Basis {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Read => "read",
            Self::Stale => "stale",
        }
    }
}

/// The replies of all verbs. The tags are frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// claim: the caller may run.
    Granted(Granted),
    /// claim: somebody else runs.
    InFlight(InFlight),
    /// claim: this key was used for another request.
    Mismatch(Mismatch),
    /// claim: this call's own claim is over; a new attempt takes a new nonce.
    Ended(Ended),
    /// claim: it may have happened, and nobody may silently run it again.
    InDoubt(InDoubtReply),
    /// claim: it ran; this is what it gave.
    Replayed(Replayed),
    /// claim: it ran; the result is gone.
    Spent(SpentReply),
    /// claim: first sent longer ago than anything is remembered.
    TooOld,
    /// renew: the lease moved.
    Renewed(Renewed),
    /// complete: the outcome is kept.
    Completed(CompletedReply),
    /// complete: this very outcome is already kept.
    AlreadyCompleted,
    /// complete: another outcome is already kept.
    Conflict,
    /// release: the claim is over.
    Released,
    /// resolve: decided as asked.
    Resolved,
    /// resolve: there is nothing in doubt under that token.
    NotInDoubt,
    /// The token is dead.
    Fenced,
    /// A verb with a shadow's token.
    Ignored,
    /// forget: dropped, or nothing was there.
    Forgotten,
    /// forget: the record has moved on, or is running.
    Changed,
    /// get: what is there.
    State(Box<View>),
    /// list: one page of one shard.
    Page(Page),
    /// An error with its code.
    Error(Refusal),
}
tagged!(Reply {
    1 => Granted(Granted), 2 => InFlight(InFlight), 3 => Mismatch(Mismatch), 4 => Ended(Ended),
    5 => InDoubt(InDoubtReply), 6 => Replayed(Replayed), 7 => Spent(SpentReply), 8 => TooOld,
    9 => Renewed(Renewed), 10 => Completed(CompletedReply), 11 => AlreadyCompleted, 12 => Conflict,
    13 => Released, 14 => Resolved, 15 => NotInDoubt, 16 => Fenced, 17 => Ignored, 18 => Forgotten,
    19 => Changed, 20 => State(Box<View>), 21 => Page(Page), 22 => Error(Refusal),
});

/// The tag of [`Reply::Granted`] above.
const GRANTED_TAG: u8 = 1;

impl Reply {
    /// The stable name in snake_case, as JSON, metrics and the command line show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::InFlight(_) => "in_flight",
            Self::Mismatch(_) => "mismatch",
            Self::Ended(_) => "ended",
            Self::InDoubt(_) => "in_doubt",
            Self::Replayed(_) => "replayed",
            Self::Spent(_) => "spent",
            Self::TooOld => "too_old",
            Self::Renewed(_) => "renewed",
            Self::Completed(_) => "completed",
            Self::AlreadyCompleted => "already_completed",
            Self::Conflict => "conflict",
            Self::Released => "released",
            Self::Resolved => "resolved",
            Self::NotInDoubt => "not_in_doubt",
            Self::Fenced => "fenced",
            Self::Ignored => "ignored",
            Self::Forgotten => "forgotten",
            Self::Changed => "changed",
            Self::State(_) => "state",
            Self::Page(_) => "page",
            Self::Error(_) => "error",
        }
    }
}

/// The right to run.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct Granted {
    /// The fencing token; [`Token::NONE`] for a shadow grant.
    pub token: Token,
    /// Which attempt this is, from 1; 0 for a shadow grant.
    pub attempt: u32,
    /// The lease given, ms.
    pub lease_ms: u64,
    /// What is left of it, ms: less than `lease_ms` when a lost reply is recovered.
    pub lease_left_ms: u64,
    /// The last attempt's recovery point, or this one's when a lost reply is recovered.
    pub checkpoint: Option<Blob>,
    /// An earlier attempt was released, lapsed or resolved.
    pub takeover: bool,
    /// The earlier attempt was marked: its effect may have happened.
    pub prior_mark: bool,
    /// This is the same grant again, for a caller whose reply was lost.
    pub recovered: bool,
    /// For a shadow under observe: what enforce would have said; never a grant itself.
    pub shadow_of: Option<Box<Reply>>,
}

impl<Context> Decode<Context> for Granted {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self {
            token: Decode::decode(decoder)?,
            attempt: Decode::decode(decoder)?,
            lease_ms: Decode::decode(decoder)?,
            lease_left_ms: Decode::decode(decoder)?,
            checkpoint: Decode::decode(decoder)?,
            takeover: Decode::decode(decoder)?,
            prior_mark: Decode::decode(decoder)?,
            recovered: Decode::decode(decoder)?,
            shadow_of: decode_shadow_of(decoder)?,
        })
    }
}
bincode::impl_borrow_decode!(Granted);

/// Reads what a shadow stands for. It is refused by its tag before it is read when it is a grant:
/// replies nested without end would otherwise exhaust the stack of whoever reads them.
fn decode_shadow_of<D: Decoder>(decoder: &mut D) -> Result<Option<Box<Reply>>, DecodeError> {
    if !bool::decode(decoder)? {
        return Ok(None);
    }
    match decoder.reader().peek_read(1) {
        Some([GRANTED_TAG]) | None => Err(DecodeError::Other("shadow_of")),
        Some(_) => Ok(Some(Box::new(Reply::decode(decoder)?))),
    }
}

/// Somebody else runs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InFlight {
    /// Its attempt.
    pub attempt: u32,
    /// What is left of its lease, ms.
    pub lease_left_ms: u64,
    /// When a retry makes sense, ms from now.
    pub retry_after_ms: u64,
}

/// This key was used for another request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Mismatch {
    /// The fingerprints were made by different algorithms.
    pub algorithm: bool,
    /// Which of the caller's own named fields differ, where policy lets them be named.
    pub fields: Vec<String>,
}

/// Why a call's own claim is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was released (by its holder, or by a resolve).
    Released,
    /// Its lease lapsed.
    Lapsed,
}
tagged!(Ended { 1 => Released, 2 => Lapsed });

/// It may have happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InDoubtReply {
    /// The token in doubt, by which it is resolved.
    pub token: Token,
    /// Its attempt.
    pub attempt: u32,
    /// When its lease lapsed.
    pub since: LogTime,
    /// Its recovery point; empty when there is none.
    pub checkpoint: Blob,
}

/// It ran; this is what it gave.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Replayed {
    /// How it ended.
    pub class: OutcomeClass,
    /// What it gave.
    pub result: Blob,
    /// What describes the result.
    pub metadata: Metadata,
    /// When it completed.
    pub completed_at: LogTime,
    /// Until when it is replayed.
    pub expires_at: LogTime,
    /// Which attempt completed it.
    pub attempt: u32,
    /// The trace of the incarnation's first grant.
    pub first_trace: Option<Trace>,
}

/// It ran; the result is gone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SpentReply {
    /// How it ended; absent when it was forgotten before it ended.
    pub class: Option<OutcomeClass>,
    /// When it completed, or was forgotten.
    pub completed_at: LogTime,
}

/// The lease moved.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Renewed {
    /// When the lease ends now, log time.
    pub deadline: LogTime,
    /// What is left of it, ms.
    pub lease_left_ms: u64,
    /// Whether the no-return mark is set.
    pub marked: bool,
}

/// The outcome is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CompletedReply {
    /// The lease had lapsed; nobody had taken over.
    pub late: bool,
    /// Until when the outcome is replayed.
    pub expires_at: LogTime,
}
