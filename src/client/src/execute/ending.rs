//! How an execution ends.

use crate::error::Error;
use hapax_core::reply::{InDoubtReply, InFlight, Mismatch, Replayed, SpentReply};
use hapax_core::{LogTime, OutcomeClass, Reply, Token, Trace, Witness};

/// How the work ended, by the work's own judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending<T> {
    /// It was done.
    Success(T),
    /// A definite business refusal (a declined card): as final as a success.
    Rejected(T),
    /// It failed unexpectedly and must not be repeated all the same; kept for a short while.
    Error(T),
    /// Nothing happened, and the next caller may try: the claim is released with this reason (cut
    /// at 512 bytes). After the mark, this vouches that the effect did not happen.
    TryAgain(String),
}

/// What an execution came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executed<T> {
    /// It ran here, and its outcome is kept.
    Fresh(Fresh<T>),
    /// It had run before; this is what it gave.
    Replayed(Replay<T>),
    /// It did not end: the work asked to be tried again.
    TryAgain(String),
    /// Somebody else runs, and the wait is over.
    InFlight(InFlight),
    /// This key was used for another request.
    Mismatch(Mismatch),
    /// It may have happened, and nobody may silently run it again.
    InDoubt(InDoubtReply),
    /// It ran; the result is gone.
    Spent(SpentReply),
    /// First sent longer ago than anything is remembered.
    TooOld,
    /// It ran here, but the lease was lost and the record moved on without it: another attempt took
    /// over, or somebody resolved it. What this run gave is not kept.
    Fenced(Fresh<T>),
    /// It ran here, but another outcome is kept (somebody resolved it).
    Conflict(Fresh<T>),
}

/// A run that happened here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh<T> {
    /// How it ended.
    pub class: OutcomeClass,
    /// What it gave.
    pub value: T,
    /// The token that it ran under; [`Token::NONE`] for a shadow.
    pub token: Token,
    /// Which attempt it was, from 1; 0 for a shadow.
    pub attempt: u32,
    /// It was completed after its lease had lapsed.
    pub late: bool,
    /// Until when the outcome is replayed, where the reply said so.
    pub expires_at: Option<LogTime>,
    /// For a shadow run under observe: what enforce would have said. Nothing is kept of it.
    pub shadow_of: Option<Reply>,
    /// From where the last reply was given.
    pub witness: Option<Witness>,
}

/// A run that happened before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay<T> {
    /// How it ended.
    pub class: OutcomeClass,
    /// What it gave.
    pub value: T,
    /// When it completed.
    pub completed_at: LogTime,
    /// Until when it is replayed.
    pub expires_at: LogTime,
    /// Which attempt completed it.
    pub attempt: u32,
    /// The trace of the incarnation's first grant.
    pub first_trace: Option<Trace>,
    /// Answered by this client's own cache.
    pub cached: bool,
    /// From where the reply was given.
    pub witness: Option<Witness>,
}

impl<T> Executed<T> {
    /// The outcome, whether it ran now or before.
    #[must_use]
    pub fn outcome(&self) -> Option<(OutcomeClass, &T)> {
        match self {
            Self::Fresh(fresh) => Some((fresh.class, &fresh.value)),
            Self::Replayed(replay) => Some((replay.class, &replay.value)),
            _ => None,
        }
    }

    /// Whether it ran here and its outcome is kept.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }

    /// The stable name in snake_case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fresh(_) => "fresh",
            Self::Replayed(_) => "replayed",
            Self::TryAgain(_) => "try_again",
            Self::InFlight(_) => "in_flight",
            Self::Mismatch(_) => "mismatch",
            Self::InDoubt(_) => "in_doubt",
            Self::Spent(_) => "spent",
            Self::TooOld => "too_old",
            Self::Fenced(_) => "fenced",
            Self::Conflict(_) => "conflict",
        }
    }
}

/// Why an execution came to nothing that the protocol has a name for.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<T, E> {
    /// The claim failed; nothing ran here. If indefinite, it may have been granted: it lapses then.
    #[error("claiming failed: {0}")]
    Claim(Error),
    /// The work failed.
    #[error("the work failed{}: {error}", if *in_doubt { " after its mark; it may have happened" } else { "" })]
    Work {
        /// What the work returned.
        error: E,
        /// The mark had been asked for: the claim was left to lapse, not released.
        in_doubt: bool,
    },
    /// It ran, and whether its outcome is kept is not known. The same outcome may be sent again
    /// with [`crate::Client::complete`]; the claim was left to lapse.
    #[error("it ran, but its outcome was not recorded: {error}")]
    Unrecorded {
        /// What ran.
        fresh: Box<Fresh<T>>,
        /// What went wrong; `too_large` or `invalid` where the value itself is at fault.
        error: Error,
    },
    /// It had run before, and what is kept is not of the type asked for.
    #[error("what an earlier run gave cannot be read: {error}")]
    Undecoded {
        /// What is kept.
        replayed: Box<Replayed>,
        /// What went wrong.
        error: Error,
    },
}

/// Why a holder's call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// The lease is lost: stop acting. What the work gives may still be kept.
    #[error("the lease is lost")]
    Lost,
    /// The call failed, and the lease may still hold.
    #[error(transparent)]
    Call(#[from] Error),
}
