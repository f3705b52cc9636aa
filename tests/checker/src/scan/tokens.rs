//! S1: tokens increase for ever, are given once, and say where they were granted.

use super::facts::{Facts, fresh};
use crate::history::Operation;
use crate::report::Report;

const RULE: &str = "S1 tokens";

pub(super) fn scan(facts: &Facts<'_, '_>, report: &mut Report) {
    let mut highest: Option<(&Operation, u64)> = None;
    for operation in &facts.ordered {
        let Some(granted) = fresh(operation) else { continue };
        if let Some((earlier, token)) = highest
            && granted.token <= token
        {
            report.add(facts.violation(RULE, &[earlier, operation], "a token that does not rise in the log"));
        }
        if !says_its_place(operation, granted.token) {
            report.add(facts.violation(RULE, &[operation], "a token that names another place in the log"));
        }
        if highest.is_none_or(|(_, token)| granted.token > token) {
            highest = Some((operation, granted.token));
        }
    }
    scan_real_time(facts, report);
}

fn says_its_place(operation: &Operation, token: u64) -> bool {
    let place = |witness: &crate::history::Witness| witness.index << 12 | u64::from(witness.position);
    operation.witness.as_ref().is_none_or(|witness| token & ((1 << 56) - 1) == place(witness))
}

/// Of two grants that do not overlap in real time, the later one has the higher token.
fn scan_real_time(facts: &Facts<'_, '_>, report: &mut Report) {
    let grants = facts.all.iter().filter_map(|operation| {
        fresh(operation).and_then(|granted| Some((*operation, granted.token, operation.return_us?)))
    });
    let by_invocation: Vec<_> = grants.collect();
    let mut by_return = by_invocation.clone();
    by_return.sort_by_key(|(_, _, returned)| *returned);
    let mut returned = by_return.into_iter().peekable();
    let mut highest: Option<(&Operation, u64)> = None;
    for (operation, token, _) in by_invocation {
        while let Some((earlier, token, _)) = returned.next_if(|(_, _, at)| *at < operation.invoke_us) {
            if highest.is_none_or(|(_, high)| token > high) {
                highest = Some((earlier, token));
            }
        }
        if let Some((earlier, high)) = highest
            && token <= high
        {
            report.add(facts.violation(
                RULE,
                &[earlier, operation],
                "a token that does not rise in real time",
            ));
        }
    }
}
