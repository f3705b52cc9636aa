//! S8: a call that is sent again, late or twice, gets no second claim.

use super::facts::{Facts, fresh, grant, log_time, nonce, offered_outcome};
use crate::history::{Call, Hash16, Operation, Outcome, Reply};
use crate::report::Report;
use std::collections::{HashMap, HashSet};

const RULE: &str = "S8 retries";

pub(super) fn scan(facts: &Facts<'_, '_>, report: &mut Report) {
    let mut by_nonce: HashMap<Hash16, Vec<&Operation>> = HashMap::new();
    for operation in &facts.all {
        if let Some(nonce) = nonce(operation) {
            by_nonce.entry(nonce).or_default().push(operation);
        }
    }
    for sends in by_nonce.values() {
        scan_nonce(facts, sends, report);
    }
    scan_successors(facts, report);
    scan_tokens(facts, report);
    scan_repeats(facts, report);
}

fn scan_nonce(facts: &Facts<'_, '_>, sends: &[&Operation], report: &mut Report) {
    let mut new: HashMap<u64, &Operation> = HashMap::new();
    for operation in sends {
        if let Some(granted) = fresh(operation)
            && let Some(earlier) = new.insert(granted.token, operation)
        {
            report.add(facts.violation(RULE, &[earlier, operation], "one grant given twice as new"));
        }
        if sends.len() == 1 && grant(operation).is_some_and(|granted| granted.recovered) {
            let what = "a grant given again that was never asked before";
            report.add(facts.violation(RULE, &[operation], what));
        }
    }
}

/// No call takes over itself. A record keeps its last nonce only, so a late copy of a call may take over
/// from another one that came between: two attempts of one call are wrong if one follows the other.
fn scan_successors(facts: &Facts<'_, '_>, report: &mut Report) {
    let granted = facts.all.iter().filter_map(|operation| Some((grant(operation)?, *operation)));
    let mut attempts: Vec<(u64, u32, &Operation)> =
        granted.map(|(granted, operation)| (granted.token, granted.attempt, operation)).collect();
    attempts.sort_by_key(|(token, ..)| *token);
    attempts.dedup_by_key(|(token, ..)| *token);
    for pair in attempts.windows(2) {
        let [(_, before, earlier), (_, attempt, operation)] = pair else { continue };
        let follows = before.checked_add(1) == Some(*attempt);
        if follows && nonce(earlier) == nonce(operation) && !may_begin_between(facts, earlier, operation) {
            let what = "a call sent again took over itself";
            report.add(facts.violation(RULE, &[earlier, operation], what));
        }
    }
}

/// Whether the later attempt may be of another incarnation, begun by a claim of which nobody knows.
fn may_begin_between(facts: &Facts<'_, '_>, earlier: &Operation, later: &Operation) -> bool {
    let passed_ms = log_time(later).saturating_sub(log_time(earlier));
    let may_end = facts.maybe_reset || passed_ms >= facts.policy.abandoned_ms.min(facts.policy.memory_ms);
    may_end && facts.loose_claims > 0
}

/// One token, one call.
fn scan_tokens(facts: &Facts<'_, '_>, report: &mut Report) {
    let mut owners: HashMap<u64, &Operation> = HashMap::new();
    for operation in &facts.all {
        let Some(granted) = grant(operation) else { continue };
        let owner = *owners.entry(granted.token).or_insert(operation);
        if nonce(owner) != nonce(operation) {
            report.add(facts.violation(RULE, &[owner, operation], "two calls got one token"));
        }
    }
}

/// A complete and a resolve that are told "already so" had been sent before, or somebody else's was the same.
fn scan_repeats(facts: &Facts<'_, '_>, report: &mut Report) {
    let effective = |operation: &&&Operation| {
        operation.is_indefinite() || matches!(operation.reply.kind(), "completed" | "resolved")
    };
    let given: HashSet<&Outcome> =
        facts.all.iter().filter(effective).filter_map(|other| offered_outcome(&other.call)).collect();
    for operation in &facts.all {
        if let (Call::Complete(complete), Reply::AlreadyCompleted) = (&operation.call, &operation.reply)
            && !given.contains(&complete.outcome)
        {
            report.add(facts.violation(RULE, &[operation], "already completed, but by nobody"));
        }
    }
}
