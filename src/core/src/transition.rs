//! What one command does to one record: the heart of the state machine.
//!
//! [`transition`] is total and looks at nothing but its arguments. It first settles the record at
//! the command's log time, then tries the verb's rows in the order of the protocol's tables.

use crate::command::{Command, FORMAT, Verb};
use crate::error::{ErrorCode, Refusal};
use crate::record::Record;
use crate::reply::{Basis, Reply, Witness};
use crate::seeded::{self, Bug};
use crate::text::Principal;
use crate::time::LogTime;
use crate::token::Token;
use crate::verbs;
use std::sync::Arc;

/// Where in a log a command takes effect, and at which log time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The shard.
    pub shard: u32,
    /// The shard's lineage, the top field of its tokens.
    pub epoch: u8,
    /// The index of the log entry.
    pub index: u64,
    /// The position inside that entry.
    pub position: u32,
    /// The shard's log time τ, already clamped.
    pub time: LogTime,
}

impl At {
    /// The token of a grant made here, unless a field of it overflows.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        Token::of_grant(self.epoch, self.index, self.position)
    }

    /// The witness of a reply given by applying a command here.
    #[must_use]
    pub fn witness(&self) -> Witness {
        Witness {
            shard: self.shard,
            index: self.index,
            position: self.position,
            time: self.time,
            basis: Basis::Applied,
        }
    }
}

/// What a command is answered and what becomes of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The answer.
    pub reply: Reply,
    /// The effect.
    pub change: Change,
}

/// The effect of a command on its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// None.
    Keep,
    /// It is this from now on.
    Put(Arc<Record>),
    /// It is absent from now on.
    Remove,
}

/// A command of a format that this code does not know. The replica must stop: to skip it would
/// diverge from those that know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("command format {0} is not known here")]
pub struct UnknownFormat(pub u8);

/// What `command` does to the record stored at its address, `found`, at this place in the log.
///
/// # Errors
/// [`UnknownFormat`], on which the replica must stop applying.
pub fn transition(found: Option<&Record>, command: &Command, at: At) -> Result<Transition, UnknownFormat> {
    known_format(command)?;
    Ok(decide(found, command, at, at.time))
}

/// Whether this code can apply the command.
pub(crate) fn known_format(command: &Command) -> Result<(), UnknownFormat> {
    if command.format == FORMAT { Ok(()) } else { Err(UnknownFormat(command.format)) }
}

/// As [`transition`]; what is left of a lease is counted from `stamp`, which a read takes later
/// than the log time at which it looks at the record.
pub(crate) fn decide(found: Option<&Record>, command: &Command, at: At, stamp: LogTime) -> Transition {
    let too_late = command.not_after.is_some_and(|not_after| at.time > not_after);
    if too_late && !seeded::active(Bug::NotAfterIgnored) {
        let text = "the log time is past not_after";
        return Transition::keep(Reply::Error(Refusal::definite(ErrorCode::TooLate, text)));
    }
    let resurrects = seeded::active(Bug::RenewResurrects) && matches!(command.verb, Verb::Renew(_));
    let settled = found.and_then(|record| record.settle(if resurrects { LogTime::ZERO } else { at.time }));
    let scene = Scene { found: settled.as_deref(), principal: &command.principal, at, stamp };
    match &command.verb {
        Verb::Claim(claim) => verbs::claim::apply(claim, &scene),
        Verb::Renew(renew) => verbs::renew::apply(renew, &scene),
        Verb::Complete(complete) => verbs::complete::apply(complete, &scene),
        Verb::Release(release) => verbs::release::apply(release, &scene),
        Verb::Resolve(resolve) => verbs::resolve::apply(resolve, &scene),
        Verb::Forget(forget) => verbs::forget::apply(forget, &scene),
    }
}

/// What a verb looks at.
pub(crate) struct Scene<'a> {
    /// The record, settled at the log time; `None` when absent.
    pub(crate) found: Option<&'a Record>,
    /// Who asks.
    pub(crate) principal: &'a Principal,
    /// Where the command takes effect.
    pub(crate) at: At,
    /// From when what is left of a lease is counted.
    pub(crate) stamp: LogTime,
}

impl Scene<'_> {
    /// The log time at which the command takes effect.
    pub(crate) fn now(&self) -> LogTime {
        self.at.time
    }
}

impl Transition {
    /// An answer without an effect.
    pub(crate) fn keep(reply: Reply) -> Self {
        Self { reply, change: Change::Keep }
    }

    /// An answer that comes with a new record.
    pub(crate) fn put(reply: Reply, record: Record) -> Self {
        Self { reply, change: Change::Put(Arc::new(record)) }
    }

    /// An answer that comes with the end of the record.
    pub(crate) fn remove(reply: Reply) -> Self {
        Self { reply, change: Change::Remove }
    }
}
