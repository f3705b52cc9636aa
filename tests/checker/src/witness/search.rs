//! The search for one way through all replies of an address.

use super::{Gap, Possible, Replay};
use crate::index::Touch;
use crate::model::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

/// What is tried first: the furthest in the replies, there what let the fewest operations without an
/// answer take effect, and of those the reply before another such operation.
type Order = (Reverse<usize>, u32, bool);

/// What a search came to.
#[derive(Debug)]
pub(super) enum End<'h> {
    /// There is a way.
    Possible,
    /// There is none: no state allows the reply of this number; one that came so far.
    Impossible { reply: usize, state: Box<Possible<'h>> },
    /// More states than the bound.
    TooMany,
}

/// The states that were met and those that are still to be tried.
#[derive(Debug)]
pub(super) struct Search<'h> {
    seen: HashSet<(usize, Possible<'h>)>,
    open: BTreeMap<Order, Vec<Possible<'h>>>,
    states_max: usize,
}

impl<'h> Search<'h> {
    /// One that looks at no more states than this.
    pub(super) fn new(states_max: usize) -> Self {
        Self { seen: HashSet::new(), open: BTreeMap::new(), states_max }
    }

    /// How many states were met.
    #[cfg(test)]
    pub(super) fn states(&self) -> usize {
        self.seen.len()
    }

    /// Goes through the replies, each with the gap before it.
    pub(super) fn run(&mut self, replay: &mut Replay<'_, 'h>, known: &[(Touch<'h>, Gap)]) -> End<'h> {
        let start = Possible { cell: Cell::ABSENT, used: 0, at: 0 };
        let mut furthest = (0, start);
        let mut next = Vec::new();
        self.meet(0, 0, &mut vec![start]);
        while let Some(((Reverse(reply), loosened, loosens), state)) = self.pop() {
            let Some((touch, gap)) = known.get(reply) else { return End::Possible };
            if loosens {
                replay.let_loose(&state, *gap, false, &mut next);
                self.meet(reply, loosened + 1, &mut next);
            } else {
                if reply > furthest.0 {
                    furthest = (reply, state);
                }
                replay.apply(&state, touch, &mut next);
                self.meet(reply + 1, loosened, &mut next);
                if !replay.loose.is_empty() {
                    self.open.entry((Reverse(reply), loosened, true)).or_default().push(state);
                }
            }
            if self.seen.len() > self.states_max {
                return End::TooMany;
            }
        }
        End::Impossible { reply: furthest.0, state: Box::new(furthest.1) }
    }

    fn pop(&mut self) -> Option<(Order, Possible<'h>)> {
        let mut first = self.open.first_entry()?;
        let order = *first.key();
        let state = first.get_mut().pop();
        if first.get().is_empty() {
            first.remove();
        }
        Some((order, state?))
    }

    /// Keeps what was not met at this reply before.
    fn meet(&mut self, reply: usize, loosened: u32, states: &mut Vec<Possible<'h>>) {
        for state in states.drain(..) {
            if self.seen.insert((reply, state)) {
                self.open.entry((Reverse(reply), loosened, false)).or_default().push(state);
            }
        }
    }
}
