//! Replay in the order that the servers say.
//!
//! Every reply says where in which log it was given. Each address is replayed alone: its operations in
//! the order of (index, position), reads after everything that was applied up to their index, each at
//! its log time, through the model. An operation whose effect nobody was told of may have taken effect
//! anywhere after what had been answered before it was sent, or never: all states that this allows are
//! kept, and thinned out by the replies that follow.
//!
//! That the order itself agrees with real time is checked by the scanner of log order; that replicas
//! agree on their logs, by [`logs`].

pub(crate) mod bounds;
pub(crate) mod logs;

use crate::history::{Basis, Operation};
use crate::index::{Group, Index, Touch};
use crate::model::{Ask, Cell, Event, Instant, LogClock, Model};
use crate::report::Report;
use crate::violation::{Tier, Violation, brief};
use bounds::Bounds;
use std::collections::HashSet;

/// More states than this of one address at one moment are not looked at.
const STATES_MAX: usize = 100_000;

/// One state that an address may be in: which unanswered operations have taken effect, and when the
/// last thing happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Possible<'h> {
    cell: Cell<'h>,
    used: u128,
    at: u64,
}

/// An operation without an answer, and after which log index it must lie.
struct Loose<'h> {
    operation: &'h Operation,
    after_index: u64,
}

/// Replays all addresses.
pub(crate) fn check(index: &Index<'_>, report: &mut Report) {
    let bounds = Bounds::new(index.history);
    for group in &index.groups {
        Replay::new(index, group, &bounds).run(group, report);
    }
}

struct Replay<'a, 'h> {
    index: &'a Index<'h>,
    bounds: &'a Bounds,
    shard: u32,
    model: Model<'h, LogClock>,
    loose: Vec<Loose<'h>>,
    steps: Vec<(Cell<'h>, Instant)>,
}

impl<'a, 'h> Replay<'a, 'h> {
    fn new(index: &'a Index<'h>, group: &Group<'h>, bounds: &'a Bounds) -> Self {
        let shard = group.shard.unwrap_or_default();
        let loose = |touch: &Touch<'h>| {
            let operation = touch.operation;
            let mutates = !matches!(operation.call.verb(), "get" | "list");
            (operation.is_indefinite() && mutates).then(|| {
                let after_index = bounds.index_before(shard, operation.invoke_us);
                Loose { operation, after_index }
            })
        };
        let loose = group.touches.iter().filter_map(loose).collect();
        let model = Model::new(LogClock, index.policy(group.address));
        Self { index, bounds, shard, model, loose, steps: Vec::new() }
    }

    fn run(mut self, group: &Group<'h>, report: &mut Report) {
        let answered = |touch: &&Touch<'h>| touch.operation.is_success() && touch.operation.witness.is_some();
        let mut known: Vec<Touch<'h>> = group.touches.iter().filter(answered).copied().collect();
        known.sort_by_key(|touch| place(touch.operation));
        let mut states = vec![Possible { cell: Cell::ABSENT, used: 0, at: 0 }];
        let mut before: Option<&Operation> = None;
        for touch in &known {
            let Some(witness) = touch.operation.witness else { continue };
            if !self.loose.is_empty() {
                let previous = before.and_then(|operation| operation.witness).map_or(0, |last| last.index);
                if !self.let_loose(&mut states, (previous, witness.index), witness.log_time_ms) {
                    return report.unknown(Tier::Witness, group.address.as_str(), STATES_MAX);
                }
            }
            let next = self.apply(&states, touch);
            if next.is_empty() {
                return report.add(impossible(group, touch.operation, before, &states));
            }
            states = next;
            before = Some(touch.operation);
        }
    }

    fn event(&self, touch: &Touch<'h>, exact: bool, indexes: (u64, u64)) -> Event<'h> {
        let operation = touch.operation;
        Event {
            ask: touch.row.map_or(Ask::Call(&operation.call), Ask::Row),
            principal: &operation.principal,
            reply: (!operation.is_indefinite()).then_some(&operation.reply),
            exact,
            everyone_reads: self.index.history.header.everyone_reads,
            indexes,
        }
    }

    fn apply(&mut self, states: &[Possible<'h>], touch: &Touch<'h>) -> Vec<Possible<'h>> {
        let Some(witness) = touch.operation.witness else { return Vec::new() };
        let exact = witness.basis == Basis::Applied;
        let event = self.event(touch, exact, (0, u64::MAX));
        let (now, at) = (Instant::exactly(witness.log_time_ms), witness.log_time_ms);
        let mut next = Vec::with_capacity(states.len());
        for state in states {
            self.steps.clear();
            self.model.step(&state.cell, &event, now, &mut self.steps);
            next.extend(self.steps.iter().map(|(cell, _)| Possible { cell: *cell, used: state.used, at }));
        }
        if next.len() > 1 {
            let mut seen = HashSet::with_capacity(next.len());
            next.retain(|state| seen.insert(*state));
        }
        next
    }

    /// Adds every state in which some of the operations without an answer have taken effect between
    /// two log indexes, up to the log time of the second. False if there are too many.
    fn let_loose(&mut self, states: &mut Vec<Possible<'h>>, between: (u64, u64), until: u64) -> bool {
        let mut seen: HashSet<Possible<'h>> = states.iter().copied().collect();
        let mut done = 0;
        while done < states.len() {
            let state = states[done];
            done += 1;
            for (number, loose) in self.loose.iter().enumerate() {
                // Beyond 128 nothing is remembered: then one may take effect twice, which only
                // makes the replay more lenient.
                let bit = 1u128.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(0);
                let after = loose.after_index.max(between.0);
                if state.used & bit != 0 || loose.after_index > between.1 {
                    continue;
                }
                let lo = state.at.max(self.bounds.time_at(self.shard, after));
                let hi = loose.operation.not_after_ms.unwrap_or(u64::MAX).min(until);
                if lo > hi {
                    continue;
                }
                let touch = Touch { operation: loose.operation, row: None };
                let event = self.event(&touch, true, (after, between.1));
                self.steps.clear();
                self.model.step(&state.cell, &event, Instant::between(lo, hi), &mut self.steps);
                for (cell, now) in &self.steps {
                    let next = Possible { cell: *cell, used: state.used | bit, at: now.lo };
                    if seen.insert(next) {
                        states.push(next);
                    }
                }
            }
            if states.len() > STATES_MAX {
                return false;
            }
        }
        true
    }
}

/// Where an answer stands in its shard's log.
fn place(operation: &Operation) -> (u64, u32, u64, u64) {
    operation.witness.map_or((0, 0, 0, 0), |witness| {
        let position = if witness.basis == Basis::Applied { witness.position } else { u32::MAX };
        (witness.index, position, witness.log_time_ms, operation.id)
    })
}

fn impossible(
    group: &Group<'_>,
    operation: &Operation,
    before: Option<&Operation>,
    states: &[Possible<'_>],
) -> Violation {
    let last = before.map_or_else(|| "nothing".to_owned(), brief);
    let found = states.first().map_or_else(String::new, |state| state.cell.describe());
    Violation {
        tier: Tier::Witness,
        rule: "replay",
        about: group.address.to_string(),
        operations: before.iter().map(|operation| operation.id).chain([operation.id]).collect(),
        what: format!("after {last}, which left {found}, cannot be: {}", brief(operation)),
    }
}
