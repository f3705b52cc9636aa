//! S8: a call that is sent again, late or twice, gets no second claim.

use super::facts::{Facts, fresh, grant, nonce};
use crate::history::{Call, Hash16, Operation, Reply};
use crate::report::Report;
use std::collections::HashMap;

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
    scan_tokens(facts, report);
    scan_repeats(facts, report);
}

fn scan_nonce(facts: &Facts<'_, '_>, sends: &[&Operation], report: &mut Report) {
    let mut first: Option<(&Operation, u64)> = None;
    for operation in sends {
        let Some(granted) = grant(operation) else { continue };
        match first {
            None => first = Some((operation, granted.token)),
            Some((earlier, token)) if token == granted.token => {
                if fresh(earlier).is_some() && fresh(operation).is_some() {
                    report.add(facts.violation(RULE, &[earlier, operation], "one grant given twice as new"));
                }
            }
            // After the memory has ended, or a reset, the same call may begin anew.
            Some((earlier, _)) if granted.attempt > 1 && grant(earlier).is_some_and(|g| g.attempt > 1) => {
                report.add(facts.violation(RULE, &[earlier, operation], "one call got two tokens"));
            }
            Some((earlier, _)) if !granted.recovered && granted.attempt > 1 => {
                report.add(facts.violation(
                    RULE,
                    &[earlier, operation],
                    "a call sent again took over itself",
                ));
            }
            Some(_) => (),
        }
        if granted.recovered && sends.len() == 1 {
            report.add(facts.violation(
                RULE,
                &[operation],
                "a grant given again that was never asked before",
            ));
        }
    }
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
    for operation in &facts.all {
        let (Call::Complete(complete), Reply::AlreadyCompleted) = (&operation.call, &operation.reply) else {
            continue;
        };
        let earlier = facts.all.iter().any(|other| {
            let offers = super::facts::offered_outcome(&other.call) == Some(&complete.outcome);
            let kind = other.reply.kind();
            let effective = other.is_indefinite() || matches!(kind, "completed" | "resolved");
            offers && effective && other.id != operation.id
        });
        if !earlier {
            report.add(facts.violation(RULE, &[operation], "already completed, but by nobody"));
        }
    }
}
