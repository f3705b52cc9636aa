//! A naive model of the protocol, written from its page and sharing no code with the state
//! machine: it keeps, for every address, all that ever happened, and works out where things stand
//! by looking through that history each time it is asked.

mod claim;
mod own;
mod status;

use hapax_core::command::{Command, Verb, Verdict};
use hapax_core::fingerprint::{Fields, Fingerprint};
use hapax_core::policy::Terms;
use hapax_core::{
    Address, Blob, ErrorCode, LogTime, Nonce, Outcome, Principal, Refusal, Reply, Token, Trace,
};
use status::Status;
use std::collections::BTreeMap;

/// One thing that happened.
#[derive(Clone, Debug)]
struct Fact {
    at: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Granted(Grant),
    Renewed { seq: u64, lease_ms: u64, checkpoint: Option<Blob>, mark: bool },
    Completed { outcome: Outcome, retention_ms: u64 },
    Released,
    Resolved(Verdict),
    Erased,
    Reset,
}

#[derive(Clone, Debug)]
struct Grant {
    token: u64,
    attempt: u32,
    nonce: Nonce,
    principal: Principal,
    fingerprint: Fingerprint,
    fields: Fields,
    lease_ms: u64,
    terms: Terms,
    trace: Option<Trace>,
    /// The recovery point of the attempt before.
    inherited: Blob,
    prior_mark: bool,
}

/// The whole history of a shard.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    epoch: u64,
    facts: BTreeMap<Address, Vec<Fact>>,
}

/// What a command comes to: what is said, and what happened, if anything.
struct Answered {
    reply: Reply,
    happened: Option<What>,
}

fn says(reply: Reply) -> Answered {
    Answered { reply, happened: None }
}

fn happens(reply: Reply, what: What) -> Answered {
    Answered { reply, happened: Some(what) }
}

/// What the model looks at when it answers a command.
struct Question<'a> {
    status: Status,
    /// The last grant, whatever became of it.
    last: Option<Grant>,
    history: &'a [Fact],
    command: &'a Command,
    now: u64,
    next_token: u64,
}

impl Model {
    pub(crate) fn new(epoch: u64) -> Self {
        Self { epoch, facts: BTreeMap::new() }
    }

    /// Answers a command at this place in the log.
    pub(crate) fn apply(&mut self, command: &Command, now: u64, index: u64, position: u64) -> Reply {
        if let Some(LogTime(not_after)) = command.not_after
            && not_after < now
        {
            let text = "the log time is past not_after".to_owned();
            return Reply::Error(Refusal {
                code: ErrorCode::TooLate,
                definite: true,
                text,
                field: None,
                hint: None,
            });
        }
        let history = self.facts.entry(command.address.clone()).or_default();
        let question = Question {
            status: status::status(history, now),
            last: status::last_grant(history).map(|(_, grant)| grant.clone()),
            history,
            command,
            now,
            next_token: self.epoch * (1 << 56) + index * (1 << 12) + position,
        };
        let Answered { reply, happened } = match &command.verb {
            Verb::Claim(claim) => claim::claim(claim, &question),
            Verb::Renew(renew) => own::renew(renew, &question),
            Verb::Complete(complete) => own::complete(complete, &question),
            Verb::Release(release) => own::release(release, &question),
            Verb::Resolve(resolve) => own::resolve(resolve, &question),
            Verb::Forget(forget) => own::forget(forget, &question),
        };
        if let Some(what) = happened {
            history.push(Fact { at: now, what });
        }
        reply
    }

    /// The name of the state of an address, its last token, and the times of that state.
    pub(crate) fn look(
        &self,
        address: &Address,
        now: u64,
    ) -> (&'static str, Token, Option<u64>, Option<u64>) {
        let history = self.facts.get(address).map_or(&[][..], Vec::as_slice);
        let token = status::last_grant(history).map_or(0, |(_, grant)| grant.token);
        let (name, since, until) = match status::status(history, now) {
            Status::Absent => return ("absent", Token::NONE, None, None),
            Status::Running { since, deadline, .. } => ("claimed", since, Some(deadline)),
            Status::Open { since, until, .. } => ("open", since, Some(until)),
            Status::Doubt { since, .. } => ("in_doubt", since, None),
            Status::Done { at, expires, .. } => ("completed", at, Some(expires)),
            Status::Gone { at, until, .. } => ("spent", at, Some(until)),
        };
        (name, Token::from(token), Some(since), until)
    }
}
