//! What may be known of one address.

use crate::history::{Claim, Class, Outcome, Payload};
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// A part of the history, the same only if it is the same place in it.
#[derive(Debug)]
pub(crate) struct Ref<'h, T>(pub(crate) &'h T);

impl<T> Clone for Ref<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ref<'_, T> {}

impl<T> PartialEq for Ref<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl<T> Eq for Ref<'_, T> {}

impl<T> Hash for Ref<'_, T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).addr().hash(state);
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
    }
}

/// A moment, known within bounds: at `lo` or later, at `hi` or earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instant {
    pub(crate) lo: u64,
    pub(crate) hi: u64,
    /// What the server said that its log time was then; 0 when it has not.
    pub(crate) said_ms: u64,
}

impl Instant {
    pub(crate) fn exactly(moment: u64) -> Self {
        Self { lo: moment, hi: moment, said_ms: 0 }
    }

    pub(crate) fn between(lo: u64, hi: u64) -> Self {
        Self { lo, hi, said_ms: 0 }
    }

    /// The later of two.
    pub(crate) fn max(self, other: Self) -> Self {
        Self { lo: self.lo.max(other.lo), hi: self.hi.max(other.hi), said_ms: 0 }
    }

    /// The earlier of two.
    pub(crate) fn min(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.min(other.hi), said_ms: 0 }
    }
}

/// An address: what it may hold, and how high its tokens have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cell<'h> {
    /// No token of it so far is known to be above this one.
    pub(crate) floor: u64,
    pub(crate) record: Option<Record<'h>>,
}

impl<'h> Cell<'h> {
    pub(crate) const ABSENT: Self = Self { floor: 0, record: None };

    pub(crate) fn with(&self, record: Record<'h>) -> Self {
        Self { floor: self.floor, record: Some(record) }
    }

    pub(crate) fn without(&self) -> Self {
        Self { floor: self.floor, record: None }
    }

    /// The same, its last token having turned out to be this one; unless it cannot be.
    pub(crate) fn bound(&self, token: u64) -> Option<Self> {
        let record = self.record?;
        match record.token {
            Token::Known(known) => (known == token).then_some(*self),
            Token::Unknown { indexes } => {
                let index = token_index(token);
                let fits = token > self.floor && indexes.0 <= index && index <= indexes.1;
                let record = Record { token: Token::Known(token), ..record };
                fits.then_some(Self { floor: token, record: Some(record) })
            }
        }
    }
}

/// The log index that a token names.
pub(crate) fn token_index(token: u64) -> u64 {
    (token >> 12) & ((1 << 44) - 1)
}

/// A token, or that nobody was told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    Known(u64),
    /// It lies between these log indexes.
    Unknown {
        indexes: (u64, u64),
    },
}

/// A record, from the last grant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record<'h> {
    /// The last claim that was granted.
    pub(crate) claim: Ref<'h, Claim>,
    pub(crate) principal: Ref<'h, crate::history::Name>,
    /// The claim whose grant began the incarnation.
    pub(crate) first: Ref<'h, Claim>,
    pub(crate) token: Token,
    pub(crate) attempt: u32,
    /// The verdict on this very token, if there was one; the inner is none for a release.
    pub(crate) verdict: Option<Option<Ref<'h, Outcome>>>,
    pub(crate) stage: Stage<'h>,
}

pub(crate) type Checkpoint<'h> = Option<Ref<'h, Payload>>;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage<'h> {
    Claimed {
        since: Instant,
        deadline: Instant,
        hold_ends: Instant,
        checkpoint: Checkpoint<'h>,
        seq: u64,
        marked: bool,
        prior_mark: bool,
    },
    Open {
        cause: Cause,
        since: Instant,
        ends: Instant,
        checkpoint: Checkpoint<'h>,
        checkpoint_ends: Instant,
        marked: bool,
    },
    InDoubt {
        since: Instant,
        checkpoint: Checkpoint<'h>,
        marked: bool,
    },
    Completed {
        outcome: Ref<'h, Outcome>,
        since: Instant,
        expires: Instant,
    },
    Spent {
        class: Option<Class>,
        outcome: Option<Ref<'h, Outcome>>,
        since: Instant,
        forgotten: Instant,
    },
}

/// Why nobody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    Released,
    Lapsed,
    Resolved,
}

impl Cell<'_> {
    /// A few words for a report.
    pub(crate) fn describe(&self) -> String {
        let Some(record) = self.record else { return format!("it absent, tokens up to {}", self.floor) };
        let between = |moment: &Instant| {
            if moment.lo == moment.hi {
                moment.lo.to_string()
            } else {
                format!("{}..{}", moment.lo, moment.hi)
            }
        };
        let stage = match &record.stage {
            Stage::Claimed { deadline, marked, .. } => {
                format!("claimed until {}, marked {marked}", between(deadline))
            }
            Stage::Open { cause, since, .. } => format!("open ({cause:?}) since {}", between(since)),
            Stage::InDoubt { since, .. } => format!("in doubt since {}", between(since)),
            Stage::Completed { outcome, expires, .. } => {
                format!("completed with {} until {}", outcome.result.digest, between(expires))
            }
            Stage::Spent { forgotten, .. } => format!("spent until {}", between(forgotten)),
        };
        format!("it {stage} (token {:?}, attempt {})", record.token, record.attempt)
    }
}
