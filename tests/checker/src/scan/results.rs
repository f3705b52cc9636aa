//! S3, S4: an acknowledged result is returned, byte for byte, until it expires; all answers agree; and
//! no answer shows what nobody gave.

use super::facts::{Facts, log_time, offered_outcome, replayed, shown_checkpoint, shown_outcome};
use crate::history::{Basis, Call, Hash16, Operation, Outcome, Reply, StateKind};
use crate::report::Report;
use std::collections::{HashMap, HashSet};

const LOST: &str = "S3 acked results";

pub(super) fn scan(facts: &Facts<'_, '_>, report: &mut Report) {
    scan_acknowledged(facts, report);
    scan_agreement(facts, report);
    scan_phantoms(facts, report);
}

struct Acknowledged<'h> {
    by: &'h Operation,
    token: u64,
    outcome: &'h Outcome,
    until: u64,
}

fn scan_acknowledged(facts: &Facts<'_, '_>, report: &mut Report) {
    let mut kept: Option<Acknowledged<'_>> = None;
    for operation in &facts.ordered {
        if let (Call::Complete(complete), Reply::Completed { expires_at_ms, .. }) =
            (&operation.call, &operation.reply)
        {
            let (token, outcome, until) = (complete.token, &complete.outcome, *expires_at_ms);
            let ours = !facts.maybe_forgotten.contains(&token);
            kept = ours.then_some(Acknowledged { by: operation, token, outcome, until });
            continue;
        }
        if let (Call::Forget(forget), Reply::Forgotten) = (&operation.call, &operation.reply)
            && kept.as_ref().is_some_and(|kept| kept.token == forget.token)
        {
            kept = None;
        }
        let Some(kept) = &kept else { continue };
        if log_time(operation) >= kept.until {
            continue;
        }
        if let Some(what) = contradicts(facts, kept, operation) {
            report.add(facts.violation(LOST, &[kept.by, operation], what));
        }
    }
}

fn contradicts(
    facts: &Facts<'_, '_>,
    kept: &Acknowledged<'_>,
    operation: &Operation,
) -> Option<&'static str> {
    let stale = operation.witness.is_some_and(|witness| witness.basis == Basis::Stale);
    match (&operation.call, &operation.reply) {
        (Call::Claim(_), Reply::TooOld) => None,
        (Call::Claim(claim), Reply::Mismatch { .. }) => {
            let same = facts.granted_for.get(&kept.token) == Some(&claim.fingerprint);
            same.then_some("a mismatch for the very request that completed")
        }
        (Call::Claim(_), _) if super::facts::grant(operation).is_none() && is_shadow(operation) => None,
        (Call::Claim(_), Reply::Replayed(replayed)) => {
            (replayed.outcome != *kept.outcome).then_some("an acknowledged result has changed")
        }
        (Call::Claim(_), _) => Some("an acknowledged result is not replayed"),
        (Call::Get(_), Reply::State(view)) if view.state == StateKind::Completed => {
            let other = view.detail.as_ref().and_then(|detail| detail.outcome.as_ref());
            let changed = other.is_some_and(|outcome| outcome != kept.outcome) || view.token != kept.token;
            changed.then_some("an acknowledged result has changed")
        }
        (Call::Get(_), Reply::State(_)) if !stale => Some("an acknowledged result is not there"),
        _ => None,
    }
}

fn is_shadow(operation: &Operation) -> bool {
    matches!(&operation.reply, Reply::Granted(granted) if granted.token == 0)
}

/// All replays of one completion carry the same.
fn scan_agreement(facts: &Facts<'_, '_>, report: &mut Report) {
    if facts.maybe_reset {
        return;
    }
    let mut answers: HashMap<(u64, u32), &Operation> = HashMap::new();
    for operation in &facts.all {
        let Some(answer) = replayed(operation) else { continue };
        let first = *answers.entry((answer.completed_at_ms, answer.attempt)).or_insert(operation);
        let same = replayed(first).is_some_and(|first| {
            first.outcome == answer.outcome && first.expires_at_ms == answer.expires_at_ms
        });
        if !same {
            report.add(facts.violation("S4 agreement", &[first, operation], "two replays differ"));
        }
    }
}

/// What is shown was once given to this address.
fn scan_phantoms(facts: &Facts<'_, '_>, report: &mut Report) {
    let outcomes: HashSet<&Outcome> = facts.all.iter().filter_map(|o| offered_outcome(&o.call)).collect();
    let checkpoint = |operation: &&Operation| match &operation.call {
        Call::Renew(renew) => renew.checkpoint.as_ref().map(|payload| payload.digest),
        _ => None,
    };
    let checkpoints: HashSet<Hash16> = facts.all.iter().filter_map(checkpoint).collect();
    for operation in &facts.all {
        if shown_outcome(operation).is_some_and(|outcome| !outcomes.contains(outcome)) {
            report.add(facts.violation("phantom", &[operation], "a result that nobody gave"));
        }
        if shown_checkpoint(operation).is_some_and(|payload| !checkpoints.contains(&payload.digest)) {
            report.add(facts.violation("phantom", &[operation], "a checkpoint that nobody gave"));
        }
    }
}
