//! S2: nothing runs a second time while it is remembered that it ran, or may have; and nobody is let
//! in while somebody holds it.

use super::facts::{Facts, fresh, log_time, retention};
use crate::history::{Call, ForgetMode, OnLapse, Operation, Reply};
use crate::report::Report;

const RULE: &str = "S2 no second run";

/// What is known at one place of the log.
#[derive(Default)]
struct Known<'h> {
    /// It completed, and no grant may follow before then.
    completed: Option<(&'h Operation, u64)>,
    /// This token is in doubt, or would be once its lease lapses.
    doubtful: Option<(&'h Operation, u64)>,
    /// This token runs until then.
    running: Option<(&'h Operation, u64, u64)>,
}

pub(super) fn scan(facts: &Facts<'_, '_>, report: &mut Report) {
    let mut known = Known::default();
    for operation in &facts.ordered {
        if let Some(granted) = fresh(operation) {
            judge(facts, &known, operation, report);
            let until = log_time(operation).saturating_add(granted.lease_left_ms);
            known = Known { running: Some((operation, granted.token, until)), ..Known::default() };
            if facts.policy.on_lapse == OnLapse::AlwaysInDoubt {
                known.doubtful = Some((operation, granted.token));
            }
            continue;
        }
        known.learn(facts, operation);
    }
}

fn judge(facts: &Facts<'_, '_>, known: &Known<'_>, operation: &Operation, report: &mut Report) {
    let now = log_time(operation);
    if let Some((completed, until)) = known.completed
        && now < until
    {
        report.add(facts.violation(RULE, &[completed, operation], "granted again while it is remembered"));
    }
    if let Some((doubtful, token)) = known.doubtful
        && !facts.maybe_ended.contains(&token)
    {
        report.add(facts.violation(RULE, &[doubtful, operation], "granted again although it may have run"));
    }
    if let Some((running, token, until)) = known.running
        && now < until
        && !facts.maybe_ended.contains(&token)
    {
        report.add(facts.violation("S1 one owner", &[running, operation], "granted while somebody holds it"));
    }
}

impl<'h> Known<'h> {
    fn learn(&mut self, facts: &Facts<'_, '_>, operation: &'h Operation) {
        match (&operation.call, &operation.reply) {
            (Call::Complete(complete), Reply::Completed { .. }) => {
                self.complete(facts, operation, complete.token);
            }
            (Call::Resolve(resolve), Reply::Resolved) => {
                self.doubtful = None;
                if resolve.outcome.is_some() && self.completed.is_none() {
                    self.complete(facts, operation, resolve.token);
                }
            }
            (Call::Renew(renew), Reply::Renewed { deadline_ms, marked, .. }) => {
                if self.running.is_none_or(|(_, token, _)| token <= renew.token) {
                    self.running = Some((operation, renew.token, *deadline_ms));
                }
                if *marked && facts.policy.on_lapse != OnLapse::AlwaysTakeover {
                    self.doubtful = Some((operation, renew.token));
                }
            }
            (_, Reply::InDoubt { token, .. }) => self.doubtful = Some((operation, *token)),
            (Call::Forget(forget), Reply::Forgotten) if forget.mode == ForgetMode::Reset => {
                *self = Self::default();
            }
            _ => (),
        }
    }

    fn complete(&mut self, facts: &Facts<'_, '_>, operation: &'h Operation, token: u64) {
        self.doubtful = None;
        self.running = None;
        let memory = retention(facts.policy, &operation.call).saturating_add(facts.policy.memory_ms);
        let until = log_time(operation).saturating_add(memory);
        // A resolve may repeat one that nobody heard of, and that completed it some time before.
        let repeats = matches!(operation.call, Call::Resolve(_)) && facts.loose_verdicts.contains(&token);
        let certain = !repeats && !facts.maybe_forgotten.contains(&token);
        self.completed = certain.then_some((operation, until));
    }
}
