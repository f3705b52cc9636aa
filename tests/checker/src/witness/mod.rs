//! Replay in the order that the servers say.
//!
//! Every reply says where in which log it was given. Each address is replayed alone: its operations in
//! the order of (index, position), reads after everything that was applied up to their index, each at
//! its log time, through the model. An operation whose effect nobody was told of may have taken effect
//! anywhere after what had been answered before it was sent, or never.
//!
//! One way through all replies is enough, so the search goes for one: as far as it can with as few of
//! those operations as it can, and it lets another one take effect only where the replies leave no
//! other way. What it rejects it has tried in every way; states that it has met before, and operations
//! that nobody can tell apart ([`alike`]), it tries once. A search that grows over its bound is
//! "unknown", which fails the run.
//!
//! That the order itself agrees with real time is checked by the scanner of log order; that replicas
//! agree on their logs, by [`logs`].

mod alike;
pub(crate) mod bounds;
#[cfg(test)]
pub(crate) mod exhaustive;
pub(crate) mod logs;
mod search;

use crate::history::{Basis, Operation};
use crate::index::{Group, Index, Touch};
use crate::model::{Ask, Cell, Event, Instant, LogClock, Model};
use crate::report::Report;
use crate::violation::{Tier, Violation, brief};
use bounds::Bounds;
use search::{End, Search};

/// More states than this of one address are not looked at, besides one for each of its replies.
const STATES_MAX: usize = 400_000;

/// One state that an address may be in: which unanswered operations have taken effect, and when the
/// last thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Possible<'h> {
    cell: Cell<'h>,
    used: u128,
    at: u64,
}

/// An operation without an answer, after which log index it must lie, and what it cannot be told from.
struct Loose<'h> {
    operation: &'h Operation,
    after_index: u64,
    /// The number of the first operation that is [`alike`]; its own where there is none before it.
    kind: usize,
}

/// What lies before a reply: between which log indexes, and until which log time.
#[derive(Clone, Copy)]
struct Gap {
    between: (u64, u64),
    until: u64,
}

/// Replays all addresses.
pub(crate) fn check(index: &Index<'_>, report: &mut Report) {
    let bounds = Bounds::new(index.history);
    for group in &index.groups {
        Replay::new(index, group, &bounds).run(group, STATES_MAX, report);
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
                Loose { operation, after_index, kind: 0 }
            })
        };
        let mut loose: Vec<Loose<'h>> = group.touches.iter().filter_map(loose).collect();
        alike::mark(&mut loose, group);
        let model = Model::new(LogClock, index.policy(group.address));
        Self { index, bounds, shard, model, loose, steps: Vec::new() }
    }

    fn run(mut self, group: &Group<'h>, states_max: usize, report: &mut Report) {
        let known = known(group);
        let mut search = Search::new(states_max + known.len());
        match search.run(&mut self, &known) {
            End::Possible => (),
            End::TooMany => report.unknown(Tier::Witness, group.address.as_str(), states_max),
            End::Impossible { reply, state } => {
                let before = reply.checked_sub(1).map(|last| known[last].0.operation);
                report.add(impossible(group, known[reply].0.operation, before, &state));
            }
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

    /// Every state that may follow on one when an answered operation takes effect.
    fn apply(&mut self, state: &Possible<'h>, touch: &Touch<'h>, next: &mut Vec<Possible<'h>>) {
        let Some(witness) = touch.operation.witness else { return };
        let exact = witness.basis == Basis::Applied;
        let event = self.event(touch, exact, (0, u64::MAX));
        let (now, at) = (Instant::exactly(witness.log_time_ms), witness.log_time_ms);
        self.steps.clear();
        self.model.step(&state.cell, &event, now, &mut self.steps);
        next.extend(self.steps.iter().map(|(cell, _)| Possible { cell: *cell, used: state.used, at }));
    }

    /// Every state in which one more of the operations without an answer has taken effect in a gap; of
    /// those that are alike, the first only, unless `each` is wanted.
    fn let_loose(&mut self, state: &Possible<'h>, gap: Gap, each: bool, next: &mut Vec<Possible<'h>>) {
        for number in 0..self.loose.len() {
            let loose = &self.loose[number];
            let after = loose.after_index.max(gap.between.0);
            let used = state.used & bit(number) != 0;
            if used || loose.after_index > gap.between.1 || !each && self.has_twin(state, number, after, gap)
            {
                continue;
            }
            let lo = state.at.max(self.bounds.time_at(self.shard, after));
            let hi = loose.operation.not_after_ms.unwrap_or(u64::MAX).min(gap.until);
            if lo > hi {
                continue;
            }
            let touch = Touch { operation: loose.operation, row: None };
            let event = self.event(&touch, true, (after, gap.between.1));
            self.steps.clear();
            self.model.step(&state.cell, &event, Instant::between(lo, hi), &mut self.steps);
            let used = state.used | bit(number);
            next.extend(self.steps.iter().map(|(cell, now)| Possible { cell: *cell, used, at: now.lo }));
        }
    }

    /// Whether one that is alike, has not taken effect either and may lie in the same place comes first:
    /// from here on the two could be exchanged in every history.
    fn has_twin(&self, state: &Possible<'h>, number: usize, after: u64, gap: Gap) -> bool {
        let kind = self.loose[number].kind;
        (kind..number).any(|other| {
            let twin = &self.loose[other];
            twin.kind == kind && state.used & bit(other) == 0 && twin.after_index.max(gap.between.0) == after
        })
    }
}

/// What remembers that an operation has taken effect. Beyond 128 nothing is remembered: then one may take
/// effect twice, which only makes the replay more lenient.
fn bit(number: usize) -> u128 {
    1u128.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(0)
}

/// The answered operations of an address in the order of the log, and what lies before each.
fn known<'h>(group: &Group<'h>) -> Vec<(Touch<'h>, Gap)> {
    let answered = |touch: &&Touch<'h>| touch.operation.is_success() && touch.operation.witness.is_some();
    let mut known: Vec<Touch<'h>> = group.touches.iter().filter(answered).copied().collect();
    known.sort_by_key(|touch| place(touch.operation));
    let mut previous = 0;
    let with_gap = |touch: Touch<'h>| {
        let witness = touch.operation.witness?;
        let gap = Gap { between: (previous, witness.index), until: witness.log_time_ms };
        previous = witness.index;
        Some((touch, gap))
    };
    known.into_iter().filter_map(with_gap).collect()
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
    state: &Possible<'_>,
) -> Violation {
    let last = before.map_or_else(|| "nothing".to_owned(), brief);
    let found = state.cell.describe();
    Violation {
        tier: Tier::Witness,
        rule: "replay",
        about: group.address.to_string(),
        operations: before.iter().map(|operation| operation.id).chain([operation.id]).collect(),
        what: format!("after {last}, which left {found}, cannot be: {}", brief(operation)),
    }
}
