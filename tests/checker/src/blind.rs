//! Linearizability of each address, trusting nothing that the servers say about order or time.
//!
//! Wing and Gong's search in the just-in-time form of Lowe: the history is gone through in real time,
//! and when an operation returns, it must have taken effect by then. States are the model's, at real
//! time: a lease, a retention or a memory may end only where its duration allows under the clock bounds
//! of the run, in one state or in both. An operation without an answer stays possible to the end.
//!
//! One way through all returns is enough, so that the search goes as far as it can: an operation is given
//! its place when it returns, one that was not answered only where the answers leave no other way. A
//! history is rejected when every way has been tried. States that are the same at a return are looked at
//! once; operations that leave a state as it is take effect as soon as they can without holding up another
//! one, which loses nothing and keeps the search small.
//! A search that grows over its bound is "unknown", which fails the run.

use crate::history::Call;
use crate::history::{Get, Operation, Reply, StateKind};
use crate::index::{Group, Index, Touch};
use crate::model::{Ask, Cell, Event, Instant, Model, RealClock};
use crate::report::Report;
use crate::violation::{Tier, Violation, brief};
use std::collections::HashSet;

/// More states than this besides one a return, or more pending operations than there are slots, are too many.
const STATES_MAX: usize = 500_000;
const SLOTS: usize = 256;

/// A set of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Slots([u64; SLOTS / 64]);

impl Slots {
    fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] >> (slot % 64) & 1 == 1
    }

    fn with(mut self, slot: usize) -> Self {
        self.0[slot / 64] |= 1 << (slot % 64);
        self
    }

    fn without(mut self, slot: usize) -> Self {
        self.0[slot / 64] &= !(1 << (slot % 64));
        self
    }
}

/// One state that may hold: what is there, which pending operations have taken effect, and the earliest moment
/// of the last one that wrote something. What is written carries the time at which it was asked for, and may
/// stand still on its way to a quorum while reads find what was there before: reads move no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Possible<'h> {
    cell: Cell<'h>,
    done: Slots,
    at_us: u64,
}

impl Possible<'_> {
    /// When an operation that takes effect next does so, before that return.
    fn moment(&self, pending: &Pending<'_>, next: &Return<'_>) -> Instant {
        Instant::between(self.at_us.max(pending.operation.invoke_us), next.moment)
    }
}

/// Whether a record is other than before because of an operation, and not of time alone.
fn writes(event: &Event<'_>) -> bool {
    use Reply::{Completed, Forgotten, Granted, Released, Renewed, Resolved};
    let Some(reply) = event.reply else { return true };
    matches!(reply, Granted(_) | Renewed { .. } | Completed { .. } | Released | Resolved | Forgotten)
}

/// Checks all addresses.
pub(crate) fn check(index: &Index<'_>, report: &mut Report) {
    for group in &index.groups {
        let bounds = &index.history.header.clock;
        let clock = RealClock { bounds, shard: group.shard };
        let mut search = Search {
            model: Model::new(clock, index.policy(group.address)),
            everyone_reads: index.history.header.everyone_reads,
            steps: Vec::new(),
        };
        search.run(group, report);
    }
}

#[derive(Clone, Copy)]
struct Pending<'h> {
    event: Event<'h>,
    operation: &'h Operation,
}

/// An answered operation, and what was under way when it returned, itself included.
struct Return<'h> {
    moment: u64,
    slot: usize,
    operation: &'h Operation,
    pending: Vec<(usize, Pending<'h>)>,
}

struct Search<'h> {
    model: Model<'h, RealClock<'h>>,
    everyone_reads: bool,
    steps: Vec<(Cell<'h>, Instant)>,
}

/// How a search ended.
enum Found<'h> {
    /// A way through all returns.
    Way,
    /// None: there was no place for this return, after this state.
    Stuck(usize, Box<Possible<'h>>),
    TooMany,
}

/// Whether a touch takes part: a definite error had no effect, a read without an answer says nothing,
/// and a stale answer may be from any time before (the other tiers look at those).
fn takes_part(touch: &&Touch<'_>) -> bool {
    let operation = touch.operation;
    let stale = match (&operation.call, &operation.reply) {
        (Call::Get(Get { stale: true, .. }), Reply::State(view)) => view.state == StateKind::Completed,
        _ => false,
    };
    let reads = matches!(operation.call, Call::Get(_) | Call::List(_));
    let refused = matches!(operation.reply, Reply::Error { definite: true, .. });
    !(refused || stale || reads && operation.is_indefinite())
}

impl<'h> Search<'h> {
    fn run(&mut self, group: &Group<'h>, report: &mut Report) {
        let Some(returns) = self.returns(group) else {
            return report.unknown(Tier::Blind, group.address.as_str(), SLOTS);
        };
        match self.search(&returns) {
            Found::Way => (),
            Found::TooMany => report.unknown(Tier::Blind, group.address.as_str(), STATES_MAX),
            Found::Stuck(number, state) => {
                let last = number.checked_sub(1).map(|last| returns[last].operation);
                report.add(impossible(group, returns[number].operation, last, &state));
            }
        }
    }

    /// The returns in their order; `None` if too much was under way at once.
    fn returns(&self, group: &Group<'h>) -> Option<Vec<Return<'h>>> {
        let touches: Vec<Touch<'h>> = group.touches.iter().filter(takes_part).copied().collect();
        // By time, and at one time the beginnings first: operations that touch in time overlap.
        let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(touches.len() * 2);
        for (number, touch) in touches.iter().enumerate() {
            moments.push((touch.operation.invoke_us, false, number));
            if let (Some(returned), false) = (touch.operation.return_us, touch.operation.is_indefinite()) {
                moments.push((returned, true, number));
            }
        }
        moments.sort_unstable();
        let mut slots = vec![0; touches.len()];
        let mut pending: [Option<Pending<'h>>; SLOTS] = [None; SLOTS];
        let mut returns = Vec::new();
        for (moment, is_return, number) in moments {
            let operation = touches[number].operation;
            if is_return {
                let slot = slots[number];
                let under_way = (0..).zip(&pending).filter_map(|(slot, pending)| Some((slot, (*pending)?)));
                returns.push(Return { moment, slot, operation, pending: under_way.collect() });
                pending[slot] = None;
            } else {
                slots[number] = pending.iter().position(Option::is_none)?;
                pending[slots[number]] = Some(self.pending(&touches[number]));
            }
        }
        Some(returns)
    }

    fn pending(&self, touch: &Touch<'h>) -> Pending<'h> {
        let operation = touch.operation;
        let event = Event {
            ask: touch.row.map_or(Ask::Call(&operation.call), Ask::Row),
            principal: &operation.principal,
            reply: (!operation.is_indefinite()).then_some(&operation.reply),
            exact: true,
            everyone_reads: self.everyone_reads,
            indexes: (0, u64::MAX),
        };
        Pending { event, operation }
    }

    fn search(&mut self, returns: &[Return<'h>]) -> Found<'h> {
        let start = Possible { cell: Cell::ABSENT, done: Slots::default(), at_us: 0 };
        let mut furthest = (0, start);
        let mut seen: HashSet<(usize, Possible<'h>)> = HashSet::new();
        let mut open = vec![(0, start)];
        while let Some((number, state)) = open.pop() {
            let Some(next) = returns.get(number) else { return Found::Way };
            if number > furthest.0 {
                furthest = (number, state);
            }
            let state = self.take_what_changes_nothing(state, next);
            if state.done.has(next.slot) {
                open.push((number + 1, Possible { done: state.done.without(next.slot), ..state }));
            } else if seen.insert((number, state)) {
                self.branch(&state, next, number, &mut open);
            }
            if seen.len() > STATES_MAX + returns.len() {
                return Found::TooMany;
            }
        }
        Found::Stuck(furthest.0, Box::new(furthest.1))
    }

    /// Lets answered operations take effect that leave the state as it is.
    fn take_what_changes_nothing(&mut self, mut state: Possible<'h>, next: &Return<'h>) -> Possible<'h> {
        for (slot, pending) in &next.pending {
            if pending.event.reply.is_none()
                || state.done.has(*slot)
                || waits_for_batch(&state, pending, next)
            {
                continue;
            }
            self.steps.clear();
            let now = state.moment(pending, next);
            self.model.step(&state.cell, &pending.event, now, &mut self.steps);
            if self.steps.iter().any(|(cell, _)| *cell == state.cell) {
                state.done = state.done.with(*slot);
            }
        }
        state
    }

    /// Adds every state that an operation under way may make of this one, the likeliest last: first those of
    /// operations without an answer, then those of answered ones, then that of the one that returns.
    fn branch(
        &mut self,
        state: &Possible<'h>,
        next: &Return<'h>,
        number: usize,
        open: &mut Vec<(usize, Possible<'h>)>,
    ) {
        let is_last = |slot: usize, pending: &Pending<'h>| (pending.event.reply.is_some(), slot == next.slot);
        for turn in [(false, false), (true, false), (true, true)] {
            for (slot, pending) in next.pending.iter().filter(|(slot, it)| is_last(*slot, it) == turn) {
                let now = state.moment(pending, next);
                if state.done.has(*slot) || waits_for_batch(state, pending, next) || now.lo > now.hi {
                    continue;
                }
                self.steps.clear();
                self.model.step(&state.cell, &pending.event, now, &mut self.steps);
                let (done, writes) = (state.done.with(*slot), writes(&pending.event));
                let after = |(cell, now): &(Cell<'h>, Instant)| {
                    let at_us = if writes { now.lo } else { state.at_us };
                    Possible { cell: *cell, done, at_us }
                };
                open.extend(self.steps.iter().rev().map(|step| (number, after(step))));
            }
        }
    }
}

/// Whether an earlier answered operation of the same batch on this address has yet to take effect. One that
/// waits holds up nobody: it is answered when what it waits for has come.
fn waits_for_batch(state: &Possible<'_>, pending: &Pending<'_>, next: &Return<'_>) -> bool {
    let Some(batch) = pending.operation.batch else { return false };
    next.pending.iter().any(|(slot, earlier)| {
        let same = earlier.operation.batch == Some(batch);
        let before = earlier.operation.id < pending.operation.id;
        same && before && !waits(earlier.operation) && earlier.event.reply.is_some() && !state.done.has(*slot)
    })
}

fn waits(operation: &Operation) -> bool {
    match &operation.call {
        Call::Claim(claim) => claim.wait_ms > 0,
        Call::Get(get) => get.wait_ms > 0,
        _ => false,
    }
}

fn impossible(
    group: &Group<'_>,
    operation: &Operation,
    last: Option<&Operation>,
    state: &Possible<'_>,
) -> Violation {
    let before = last.map_or_else(|| "nothing".to_owned(), brief);
    let found = state.cell.describe();
    Violation {
        tier: Tier::Blind,
        rule: "S9 linearizable",
        about: group.address.to_string(),
        operations: last.iter().map(|operation| operation.id).chain([operation.id]).collect(),
        what: format!("after {before}, which left {found}, there is no place for {}", brief(operation)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Policy;
    use crate::witness::exhaustive::with_lost_claims;

    /// What the search says of an address with so many claims that nobody knows of, then a get that finds
    /// what `attempt` says.
    fn found(lost: u64, attempt: u32) -> &'static str {
        let history = with_lost_claims(lost, attempt, |id| 1000 + id);
        let defaults = Policy::default();
        let mut report = Report::default();
        check(&Index::new(&history, &defaults), &mut report);
        match (report.violations.len(), report.unknown.len()) {
            (0, 0) => "possible",
            (_, 0) => "impossible",
            _ => "undecided",
        }
    }

    #[test]
    fn lost_claims_cost_the_blind_search_nothing() {
        assert_eq!(found(100, 0), "possible");
        assert_eq!(found(12, 99), "impossible", "there are not so many");
    }
}
