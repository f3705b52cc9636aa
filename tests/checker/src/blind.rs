//! Linearizability of each address, trusting nothing that the servers say about order or time.
//!
//! Wing and Gong's search in the just-in-time form of Lowe: the history is gone through in real time,
//! and when an operation returns, every state that may hold must have it take effect by then. States
//! are the model's, at real time: a lease, a retention or a memory may end only where its duration
//! allows under the clock bounds of the run, in one state or in both. An operation without an answer
//! stays possible to the end. States that are the same are looked at once; operations that leave a
//! state as it is take effect as soon as they can without holding up another one, which loses nothing
//! and keeps the search small.
//! A search that grows over its bound is "unknown", which fails the run.

use crate::history::Call;
use crate::history::{Get, Operation, Reply, StateKind};
use crate::index::{Group, Index, Touch};
use crate::model::{Ask, Cell, Event, Instant, Model, RealClock};
use crate::report::Report;
use crate::violation::{Tier, Violation, brief};
use std::collections::HashSet;

/// More states than this at one return, or more pending operations than there are slots, are too many.
const STATES_MAX: usize = 200_000;
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

/// One state that may hold: what is there, which pending operations have taken effect, and the earliest
/// moment of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Possible<'h> {
    cell: Cell<'h>,
    done: Slots,
    at_us: u64,
}

/// Checks all addresses.
pub(crate) fn check(index: &Index<'_>, report: &mut Report) {
    for group in &index.groups {
        let bounds = &index.history.header.clock;
        let clock = RealClock { bounds, shard: group.shard };
        let mut search = Search {
            model: Model::new(clock, index.policy(group.address)),
            everyone_reads: index.history.header.everyone_reads,
            strict: !bounds.may_stall,
            pending: (0..SLOTS).map(|_| None).collect(),
            used: 0,
            steps: Vec::new(),
            order: Vec::new(),
        };
        search.run(group, report);
    }
}

#[derive(Clone, Copy)]
struct Pending<'h> {
    event: Event<'h>,
    operation: &'h Operation,
}

struct Search<'h> {
    model: Model<'h, RealClock<'h>>,
    everyone_reads: bool,
    /// Whether something may be said to be late: then the earliest moment must not be moved lightly.
    strict: bool,
    pending: Vec<Option<Pending<'h>>>,
    /// No slot from here on was ever used.
    used: usize,
    steps: Vec<(Cell<'h>, Instant)>,
    /// From when on each pending operation may take effect.
    order: Vec<(u64, usize)>,
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
        let mut states: HashSet<Possible<'h>> = HashSet::new();
        states.insert(Possible { cell: Cell::ABSENT, done: Slots::default(), at_us: 0 });
        let mut last: Option<&Operation> = None;
        for (moment, returns, number) in moments {
            let touch = &touches[number];
            if !returns {
                let Some(slot) = self.admit(touch) else {
                    return report.unknown(Tier::Blind, group.address.as_str(), SLOTS);
                };
                slots[number] = slot;
                continue;
            }
            let Some(next) = self.settle_return(&states, slots[number], moment) else {
                return report.unknown(Tier::Blind, group.address.as_str(), STATES_MAX);
            };
            if next.is_empty() {
                return report.add(impossible(group, touch.operation, last, &states));
            }
            self.pending[slots[number]] = None;
            states = next;
            last = Some(touch.operation);
        }
    }

    fn admit(&mut self, touch: &Touch<'h>) -> Option<usize> {
        let slot = self.pending.iter().position(Option::is_none)?;
        self.used = self.used.max(slot + 1);
        let operation = touch.operation;
        let event = Event {
            ask: touch.row.map_or(Ask::Call(&operation.call), Ask::Row),
            principal: &operation.principal,
            reply: (!operation.is_indefinite()).then_some(&operation.reply),
            exact: true,
            everyone_reads: self.everyone_reads,
            indexes: (0, u64::MAX),
        };
        self.pending[slot] = Some(Pending { event, operation });
        Some(slot)
    }

    /// Every state in which the operation of `returning` has taken effect by `moment`; none if there
    /// are too many.
    fn settle_return(
        &mut self,
        states: &HashSet<Possible<'h>>,
        returning: usize,
        moment: u64,
    ) -> Option<HashSet<Possible<'h>>> {
        let mut next = HashSet::with_capacity(states.len());
        let mut seen: HashSet<Possible<'h>> = HashSet::new();
        let mut open: Vec<Possible<'h>> = states.iter().copied().collect();
        while let Some(state) = open.pop() {
            let state = self.take_what_changes_nothing(state, moment);
            if state.done.has(returning) {
                next.insert(Possible { done: state.done.without(returning), ..state });
            } else if seen.insert(state) {
                self.branch(&state, moment, &mut open);
            }
            if seen.len() + next.len() > STATES_MAX {
                return None;
            }
        }
        Some(next)
    }

    /// Lets answered operations take effect that leave the state as it is, the earliest first: up to
    /// one whose turn would push another one, which could take effect here, to a later moment.
    fn take_what_changes_nothing(&mut self, mut state: Possible<'h>, moment: u64) -> Possible<'h> {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        for slot in 0..self.used {
            let Some(pending) = self.pending[slot] else { continue };
            if !state.done.has(slot) && !self.waits_for_batch(&state, slot) {
                order.push((state.at_us.max(pending.operation.invoke_us), slot));
            }
        }
        order.sort_unstable();
        let mut held_up = u64::MAX;
        for (from, slot) in &order {
            let Some(pending) = self.pending[*slot] else { continue };
            if *from > held_up {
                break;
            }
            self.steps.clear();
            self.model.step(&state.cell, &pending.event, Instant::between(*from, moment), &mut self.steps);
            let moved = self.strict && *from != state.at_us;
            let same = |(cell, now): &(Cell<'h>, Instant)| *cell == state.cell && now.lo == *from;
            if pending.event.reply.is_some() && !moved && self.steps.iter().any(same) {
                state = Possible { done: state.done.with(*slot), at_us: *from, ..state };
            } else if !self.steps.is_empty() {
                held_up = held_up.min(*from);
            }
        }
        self.order = order;
        state
    }

    fn branch(&mut self, state: &Possible<'h>, moment: u64, open: &mut Vec<Possible<'h>>) {
        for slot in 0..self.used {
            let Some(pending) = self.pending[slot] else { continue };
            if state.done.has(slot) || self.waits_for_batch(state, slot) {
                continue;
            }
            let from = state.at_us.max(pending.operation.invoke_us);
            if from > moment {
                continue;
            }
            self.steps.clear();
            self.model.step(&state.cell, &pending.event, Instant::between(from, moment), &mut self.steps);
            let done = state.done.with(slot);
            open.extend(self.steps.iter().map(|(cell, now)| Possible { cell: *cell, done, at_us: now.lo }));
        }
    }

    /// Whether an earlier answered operation of the same batch on this address has yet to take effect. One that
    /// waits holds up nobody: it is answered when what it waits for has come.
    fn waits_for_batch(&self, state: &Possible<'h>, slot: usize) -> bool {
        let Some(pending) = self.pending[slot] else { return false };
        let Some(batch) = pending.operation.batch else { return false };
        let comes_first = |(other, earlier): (usize, &Option<Pending<'h>>)| {
            earlier.is_some_and(|earlier| {
                let same = earlier.operation.batch == Some(batch);
                let before = earlier.operation.id < pending.operation.id;
                same && before
                    && !waits(earlier.operation)
                    && earlier.event.reply.is_some()
                    && !state.done.has(other)
            })
        };
        self.pending[..self.used].iter().enumerate().any(comes_first)
    }
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
    states: &HashSet<Possible<'_>>,
) -> Violation {
    let before = last.map_or_else(|| "nothing".to_owned(), brief);
    let found = states.iter().next().map_or_else(String::new, |state| state.cell.describe());
    Violation {
        tier: Tier::Blind,
        rule: "S9 linearizable",
        about: group.address.to_string(),
        operations: last.iter().map(|operation| operation.id).chain([operation.id]).collect(),
        what: format!("after {before}, which left {found}, there is no place for {}", brief(operation)),
    }
}
