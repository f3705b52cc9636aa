//! What the protocol prevented, for metrics: derived from a record, a command and its reply.
//!
//! The value at stake is counted once for each logical call (incarnation and nonce) that was
//! stopped from running again, however often that call is retried. It is an estimate: which calls
//! were counted is remembered in bounded memory, and each replica remembers for itself.

use crate::command::{Command, Verb};
use crate::money::Money;
use crate::nonce::Nonce;
use crate::record::{Record, State};
use crate::reply::{Granted, Reply};
use crate::time::LogTime;
use crate::token::Token;
use std::collections::{BTreeSet, VecDeque};

/// Something worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A claim got an earlier attempt's record.
    Takeover {
        /// The earlier attempt was marked.
        prior_mark: bool,
    },
    /// A lost grant was found again.
    Recovered,
    /// A second call for a key while the first ran.
    DuplicateInFlight(Prevented),
    /// A call for a key that had ended, with its result or only the memory of it.
    Replay(Prevented),
    /// A call for a key whose last attempt is in doubt.
    BlockedInDoubt(Prevented),
    /// A key came with another request.
    Mismatch,
    /// An outcome came with a dead token: a second run that had to be fenced.
    FencedComplete,
    /// A dead token tried something else.
    Fenced,
    /// An outcome came after its lease had lapsed, and was kept.
    LateComplete,
    /// An outcome came that is not the one kept.
    Conflict {
        /// The one kept was decided by a resolve: somebody must look at this.
        resolved: bool,
    },
    /// The holder's own outcome came after a resolve had decided the same.
    CompleteAfterResolve,
    /// A claim was let through that enforce would have refused.
    Shadow,
}

/// A second run that did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prevented {
    /// The first token of the incarnation, which names it.
    pub incarnation: Token,
    /// The call that was stopped.
    pub nonce: Nonce,
    /// The value at stake, as the record has it.
    pub value: Option<Money>,
}

/// What a command that found this record (as stored) at `now` and got this reply is counted as.
#[must_use]
pub fn event(found: Option<&Record>, command: &Command, reply: &Reply, now: LogTime) -> Option<Event> {
    let settled = found.and_then(|record| record.settle(now));
    let record = settled.as_deref();
    match &command.verb {
        Verb::Claim(claim) => {
            let prevented = record.map(|record| Prevented {
                incarnation: record.incarnation,
                nonce: claim.nonce,
                value: record.value,
            });
            claim_event(reply, prevented)
        }
        Verb::Complete(_) => complete_event(reply, record),
        Verb::Renew(_) | Verb::Release(_) | Verb::Resolve(_) | Verb::Forget(_) => {
            matches!(reply, Reply::Fenced).then_some(Event::Fenced)
        }
    }
}

fn claim_event(reply: &Reply, prevented: Option<Prevented>) -> Option<Event> {
    match reply {
        Reply::Granted(Granted { token, .. }) if token.is_none() => Some(Event::Shadow),
        Reply::Granted(Granted { recovered: true, .. }) => Some(Event::Recovered),
        Reply::Granted(Granted { takeover: true, prior_mark, .. }) => {
            Some(Event::Takeover { prior_mark: *prior_mark })
        }
        Reply::InFlight(_) => prevented.map(Event::DuplicateInFlight),
        Reply::Replayed(_) | Reply::Spent(_) => prevented.map(Event::Replay),
        Reply::InDoubt(_) => prevented.map(Event::BlockedInDoubt),
        Reply::Mismatch(_) => Some(Event::Mismatch),
        _ => None,
    }
}

fn complete_event(reply: &Reply, record: Option<&Record>) -> Option<Event> {
    let resolved = record.is_some_and(|record| {
        matches!(record.state, State::Completed(_) | State::Spent(_))
            && record.resolution.as_ref().is_some_and(|resolution| resolution.token == record.token)
    });
    match reply {
        Reply::Fenced => Some(Event::FencedComplete),
        Reply::Completed(completed) if completed.late => Some(Event::LateComplete),
        Reply::Conflict => Some(Event::Conflict { resolved }),
        Reply::AlreadyCompleted if resolved => Some(Event::CompleteAfterResolve),
        _ => None,
    }
}

/// The calls whose value was counted lately; the oldest are forgotten first.
#[derive(Clone, Debug)]
pub struct CountedPairs {
    capacity: usize,
    pairs: BTreeSet<(Token, Nonce)>,
    order: VecDeque<(Token, Nonce)>,
}

impl CountedPairs {
    /// Remembers at most `capacity` calls (at least 1).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), pairs: BTreeSet::new(), order: VecDeque::new() }
    }

    /// Whether this call is to be counted: true the first time.
    pub fn count(&mut self, prevented: &Prevented) -> bool {
        let pair = (prevented.incarnation, prevented.nonce);
        if !self.pairs.insert(pair) {
            return false;
        }
        self.order.push_back(pair);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.pairs.remove(&oldest);
        }
        true
    }
}
