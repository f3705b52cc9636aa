//! Commands of one frame on one address take effect in the order in which they stand in it.

use super::facts::{Facts, place};
use crate::history::{Basis, Operation};
use crate::report::Report;
use std::collections::HashMap;

const RULE: &str = "batch order";

pub(super) fn scan(facts: &Facts<'_, '_>, report: &mut Report) {
    let mut last: HashMap<u64, &Operation> = HashMap::new();
    let mut by_id: Vec<&Operation> =
        facts.ordered.iter().filter(|operation| operation.batch.is_some()).copied().collect();
    by_id.sort_by_key(|operation| operation.id);
    for operation in by_id {
        let Some(batch) = operation.batch else { continue };
        // An answer that was asked for as stale may be from before anything.
        if operation.witness.is_some_and(|it| it.basis == Basis::Stale) {
            continue;
        }
        let Some(earlier) = last.insert(batch, operation) else { continue };
        let applied = |operation: &Operation| operation.witness.is_some_and(|it| it.basis == Basis::Applied);
        // What only looks may be answered from anywhere between its neighbours.
        if applied(earlier) && place(operation) < place(earlier) {
            report.add(facts.violation(RULE, &[earlier, operation], "it took effect before what it follows"));
        }
        if !applied(operation) {
            last.insert(batch, earlier);
        }
    }
}
