//! S10: a definite error had no effect and will have none.

use super::facts::{Facts, fresh, grant, nonce, offered_outcome, shown_checkpoint, shown_outcome};
use super::fencing::checkpoint_of;
use crate::history::{Call, Operation, Outcome, Reply};
use crate::report::Report;
use std::collections::HashSet;

const RULE: &str = "S10 definite";

pub(super) fn scan(facts: &Facts<'_, '_>, report: &mut Report) {
    let is_definite =
        |operation: &&&Operation| matches!(operation.reply, Reply::Error { definite: true, .. });
    let refused: Vec<&Operation> = facts.all.iter().filter(is_definite).copied().collect();
    scan_attempts(facts, report);
    if refused.is_empty() {
        return;
    }
    let others = || facts.all.iter().filter(|operation| !is_definite(operation));
    let good: HashSet<&Outcome> = others().filter_map(|o| offered_outcome(&o.call)).collect();
    let good_points: HashSet<_> = others().filter_map(|o| checkpoint_of(&o.call)).collect();
    let bad: HashSet<&Outcome> = refused.iter().filter_map(|o| offered_outcome(&o.call)).collect();
    let bad_points: HashSet<_> = refused.iter().filter_map(|o| checkpoint_of(&o.call)).collect();
    for operation in others() {
        if shown_outcome(operation).is_some_and(|outcome| bad.contains(outcome) && !good.contains(outcome)) {
            report.add(facts.violation(RULE, &[operation], "the result of a call that had no effect shows"));
        }
        let point = shown_checkpoint(operation).map(|payload| payload.digest);
        if point.is_some_and(|digest| bad_points.contains(&digest) && !good_points.contains(&digest)) {
            report.add(facts.violation(
                RULE,
                &[operation],
                "the checkpoint of a call that had no effect shows",
            ));
        }
    }
    scan_recovered(facts, &refused, report);
    scan_released(facts, &refused, report);
}

/// A grant given again stems from a sending that was granted, or of which nobody knows.
fn scan_recovered(facts: &Facts<'_, '_>, refused: &[&Operation], report: &mut Report) {
    let possible: HashSet<_> = facts
        .all
        .iter()
        .filter(|operation| operation.is_indefinite() || fresh(operation).is_some())
        .filter_map(|operation| nonce(operation))
        .collect();
    for operation in &facts.all {
        let (Some(granted), Some(nonce)) = (grant(operation), nonce(operation)) else { continue };
        let by = refused.iter().find(|other| self::nonce(other) == Some(nonce));
        if let (true, false, Some(by)) = (granted.recovered, possible.contains(&nonce), by) {
            report.add(facts.violation(RULE, &[by, operation], "a claim that had no effect was granted"));
        }
    }
}

/// Nobody's claim is over by a release that had no effect.
fn scan_released(facts: &Facts<'_, '_>, refused: &[&Operation], report: &mut Report) {
    let released = |operation: &&&Operation| matches!(operation.call, Call::Release(_) | Call::Resolve(_));
    let Some(by) = refused.iter().find(released) else { return };
    let possible = facts.all.iter().any(|operation| {
        let effect =
            operation.is_indefinite() || matches!(operation.reply, Reply::Released | Reply::Resolved);
        released(&operation) && effect
    });
    for operation in &facts.all {
        if operation.reply == Reply::Ended(crate::history::Ended::Released) && !possible {
            report.add(facts.violation(RULE, &[by, operation], "a release that had no effect ended a claim"));
        }
    }
}

/// No answer counts more attempts than there were claims that may have been granted.
fn scan_attempts(facts: &Facts<'_, '_>, report: &mut Report) {
    for operation in &facts.all {
        let attempt = match &operation.reply {
            Reply::Granted(granted) => granted.attempt,
            Reply::InFlight { attempt, .. } | Reply::InDoubt { attempt, .. } => *attempt,
            Reply::Replayed(replayed) => replayed.attempt,
            Reply::State(view) => view.attempt,
            _ => 0,
        };
        if usize::try_from(attempt).is_ok_and(|attempt| attempt > facts.maybe_grants) {
            report.add(facts.violation(
                RULE,
                &[operation],
                "more attempts than claims that may have been granted",
            ));
        }
    }
}
