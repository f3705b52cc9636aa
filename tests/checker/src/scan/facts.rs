//! What the scanners of one address look at.

use crate::history::{Basis, Call, Fingerprint, Granted, Hash16, Operation, Outcome, Payload, Policy, Reply};
use crate::history::{ForgetMode, Replayed};
use crate::index::{Group, Index};
use crate::violation::{Tier, Violation, brief};
use std::collections::{HashMap, HashSet};

/// The operations of one address in several orders, and what follows from each alone.
pub(super) struct Facts<'a, 'h> {
    pub(super) index: &'a Index<'h>,
    pub(super) group: &'a Group<'h>,
    pub(super) policy: &'h Policy,
    /// Every operation that names the address, by invocation.
    pub(super) all: Vec<&'h Operation>,
    /// Those answered with a witness, in log order.
    pub(super) ordered: Vec<&'h Operation>,
    /// The fingerprint that a token was granted for.
    pub(super) granted_for: HashMap<u64, Option<Fingerprint>>,
    /// Tokens that some verb may have ended: it was not refused.
    pub(super) maybe_ended: HashSet<u64>,
    /// Tokens that an unanswered forget names.
    pub(super) maybe_forgotten: HashSet<u64>,
    /// Tokens that an unanswered resolve names.
    pub(super) loose_verdicts: HashSet<u64>,
    /// Whether a reset may have happened.
    pub(super) maybe_reset: bool,
    /// Claims that were granted, or may have been.
    pub(super) maybe_grants: usize,
    /// Claims of which nobody knows.
    pub(super) loose_claims: usize,
}

impl<'a, 'h> Facts<'a, 'h> {
    pub(super) fn new(index: &'a Index<'h>, group: &'a Group<'h>) -> Self {
        let own = |touch: &&crate::index::Touch<'h>| touch.row.is_none();
        let all: Vec<&Operation> = group.touches.iter().filter(own).map(|touch| touch.operation).collect();
        let answered = |operation: &&&Operation| operation.is_success() && operation.witness.is_some();
        let mut ordered: Vec<&Operation> = all.iter().filter(answered).copied().collect();
        ordered.sort_by_key(|operation| place(operation));
        let policy = index.policy(group.address);
        let mut facts = Self {
            index,
            group,
            policy,
            all,
            ordered,
            granted_for: HashMap::new(),
            maybe_ended: HashSet::new(),
            maybe_forgotten: HashSet::new(),
            loose_verdicts: HashSet::new(),
            maybe_reset: false,
            maybe_grants: 0,
            loose_claims: 0,
        };
        for operation in facts.all.clone() {
            facts.note(operation);
        }
        facts
    }

    fn note(&mut self, operation: &'h Operation) {
        let loose = operation.is_indefinite();
        let did = |replies: &[&str]| loose || replies.contains(&operation.reply.kind());
        match &operation.call {
            Call::Claim(claim) => {
                if let Some(granted) = grant(operation) {
                    self.granted_for.insert(granted.token, claim.fingerprint);
                }
                self.loose_claims += usize::from(loose);
                self.maybe_grants += usize::from(loose || fresh(operation).is_some());
            }
            Call::Complete(complete) if did(&["completed", "already_completed", "conflict"]) => {
                self.maybe_ended.insert(complete.token);
            }
            Call::Release(release) if did(&["released"]) => {
                self.maybe_ended.insert(release.token);
            }
            Call::Resolve(resolve) if did(&["resolved"]) => {
                self.maybe_ended.insert(resolve.token);
                if loose {
                    self.loose_verdicts.insert(resolve.token);
                }
            }
            Call::Forget(forget) if did(&["forgotten"]) => {
                self.maybe_ended.insert(forget.token);
                self.maybe_reset |= forget.mode == ForgetMode::Reset;
                if loose {
                    self.maybe_forgotten.insert(forget.token);
                }
            }
            _ => (),
        }
    }

    pub(super) fn violation(&self, rule: &'static str, involved: &[&Operation], what: &str) -> Violation {
        let last = involved.last().map_or_else(String::new, |operation| brief(operation));
        Violation {
            tier: Tier::Scan,
            rule,
            about: self.group.address.to_string(),
            operations: involved.iter().map(|operation| operation.id).collect(),
            what: format!("{what}: {last}"),
        }
    }
}

/// Where an answer stands in its shard's log; reads stand behind what was applied up to their index.
pub(super) fn place(operation: &Operation) -> (u64, u32, u64, u64) {
    operation.witness.map_or((0, 0, 0, 0), |witness| {
        let position = if witness.basis == Basis::Applied { witness.position } else { u32::MAX };
        (witness.index, position, witness.log_time_ms, operation.id)
    })
}

pub(super) fn log_time(operation: &Operation) -> u64 {
    operation.witness.map_or(0, |witness| witness.log_time_ms)
}

/// The grant that an operation was answered with, if it was a real one.
pub(super) fn grant(operation: &Operation) -> Option<&Granted> {
    match &operation.reply {
        Reply::Granted(granted) if granted.token != 0 => Some(granted),
        _ => None,
    }
}

/// The same, if it is not one given again.
pub(super) fn fresh(operation: &Operation) -> Option<&Granted> {
    grant(operation).filter(|granted| !granted.recovered)
}

pub(super) fn nonce(operation: &Operation) -> Option<Hash16> {
    match &operation.call {
        Call::Claim(claim) => Some(claim.nonce),
        _ => None,
    }
}

/// A replay, also one that stands beside a shadow.
pub(super) fn replayed(operation: &Operation) -> Option<&Replayed> {
    match &operation.reply {
        Reply::Replayed(replayed) => Some(replayed),
        Reply::Granted(granted) => match granted.shadow_of.as_deref() {
            Some(Reply::Replayed(replayed)) => Some(replayed),
            _ => None,
        },
        _ => None,
    }
}

/// The outcome that an answer shows.
pub(super) fn shown_outcome(operation: &Operation) -> Option<&Outcome> {
    match &operation.reply {
        Reply::State(view) => view.detail.as_ref().and_then(|detail| detail.outcome.as_ref()),
        _ => replayed(operation).map(|replayed| &replayed.outcome),
    }
}

/// The checkpoint that an answer shows.
pub(super) fn shown_checkpoint(operation: &Operation) -> Option<&Payload> {
    let shown = match &operation.reply {
        Reply::Granted(granted) => granted.checkpoint.as_ref(),
        Reply::InDoubt { checkpoint, .. } => checkpoint.as_ref(),
        Reply::State(view) => view.detail.as_ref().and_then(|detail| detail.checkpoint.as_ref()),
        _ => None,
    };
    shown.filter(|payload| payload.len > 0)
}

/// The outcome that a call offers.
pub(super) fn offered_outcome(call: &Call) -> Option<&Outcome> {
    match call {
        Call::Complete(complete) => Some(&complete.outcome),
        Call::Resolve(resolve) => resolve.outcome.as_ref(),
        _ => None,
    }
}

/// The token that a call names, and that its answer says was taken as the record's own.
pub(super) fn accepted_token(operation: &Operation) -> Option<u64> {
    match (&operation.call, &operation.reply) {
        (Call::Renew(renew), Reply::Renewed { .. }) => Some(renew.token),
        (Call::Complete(complete), Reply::Completed { .. }) => Some(complete.token),
        (Call::Release(release), Reply::Released) => Some(release.token),
        (Call::Resolve(resolve), Reply::Resolved) => Some(resolve.token),
        _ => None,
    }
}

/// The retention that an outcome gets.
pub(super) fn retention(policy: &Policy, call: &Call) -> u64 {
    use crate::history::Class;
    let (class, asked) = match call {
        Call::Complete(complete) => (complete.outcome.class, complete.retention_ms),
        Call::Resolve(resolve) => match &resolve.outcome {
            Some(outcome) => (outcome.class, resolve.retention_ms),
            None => return 0,
        },
        _ => return 0,
    };
    let usual = match class {
        Class::Success => policy.retention_success_ms,
        Class::Rejected => policy.retention_rejected_ms,
        Class::Error => policy.retention_error_ms,
    };
    asked.unwrap_or(usual).max(policy.retention_min_ms).min(policy.retention_max_ms)
}
