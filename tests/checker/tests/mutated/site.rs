//! Where a history can be made wrong for certain.

use hapax_checker::generate::Rng;
use hapax_checker::history::*;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is known of a history before a mistake is made in it.
pub(crate) struct Ground {
    /// The history.
    pub(crate) history: History,
    /// Addresses under a policy that is enforced, all of whose calls were answered for certain: there
    /// each answer follows from the ones before it.
    clear: HashSet<Name>,
    /// The places of the operations on each of them, by invocation.
    by_address: Vec<Vec<usize>>,
}

impl Ground {
    pub(crate) fn new(history: History) -> Self {
        let mut clear: HashMap<Name, bool> = HashMap::new();
        let mut places: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
        for (place, operation) in history.operations.iter().enumerate() {
            if let Some(address) = operation.call.address() {
                let enforced = ["|pay|", "|doubt|", "|eager|"].iter().any(|it| address.as_str().contains(it));
                *clear.entry(address.clone()).or_insert(enforced) &= !operation.is_indefinite();
                places.entry(address.clone()).or_default().push(place);
            }
        }
        let clear: HashSet<Name> =
            clear.into_iter().filter(|(_, clear)| *clear).map(|(address, _)| address).collect();
        let of_clear = places.into_iter().filter(|(address, _)| clear.contains(address));
        let by_address = of_clear.map(|(_, places)| places).collect();
        Self { history, clear, by_address }
    }
}

/// A history in which a mistake is made.
pub(crate) struct Site<'a> {
    pub(crate) history: History,
    pub(crate) rng: Rng,
    ground: &'a Ground,
}

impl<'a> Site<'a> {
    pub(crate) fn new(ground: &'a Ground, rng: Rng) -> Self {
        Self { history: ground.history.clone(), rng, ground }
    }

    pub(crate) fn is_clear(&self, operation: &Operation) -> bool {
        operation.call.address().is_some_and(|address| self.ground.clear.contains(address))
    }

    /// One of the operations that fit.
    pub(crate) fn pick(&mut self, fits: impl Fn(&Operation) -> bool) -> Option<usize> {
        let clear = |at: &usize| {
            let operation = &self.history.operations[*at];
            self.is_clear(operation) && fits(operation)
        };
        let all: Vec<usize> = (0..self.history.operations.len()).filter(clear).collect();
        (!all.is_empty()).then(|| all[self.rng.index(all.len())])
    }

    /// Two answers on one address that fit, the first heard before the second was asked for.
    pub(crate) fn pick_two(
        &mut self,
        fits: impl Fn(&Operation, &Operation) -> bool,
    ) -> Option<(usize, usize)> {
        let count = self.ground.by_address.len();
        let start = self.rng.index(count);
        for places in (0..count).map(|at| &self.ground.by_address[(at + start) % count]) {
            for first in places {
                let one = &self.history.operations[*first];
                let follows = |at: &&usize| {
                    let other = &self.history.operations[**at];
                    let heard = one.return_us.is_some_and(|at| at < other.invoke_us);
                    heard && one.witness.is_some() && other.witness.is_some() && fits(one, other)
                };
                if let Some(second) = places.iter().find(follows) {
                    return Some((*first, *second));
                }
            }
        }
        None
    }

    pub(crate) fn at(&mut self, place: usize) -> &mut Operation {
        &mut self.history.operations[place]
    }

    /// Answers an operation by a grant, as if it had been applied where it was answered.
    pub(crate) fn grant(&mut self, place: usize, attempt: u32) {
        let operation = self.at(place);
        let Some(witness) = &mut operation.witness else { return };
        (witness.basis, witness.position) = (Basis::Applied, 4000);
        let token = witness.index << 12 | 4000;
        let Call::Claim(claim) = &operation.call else { return };
        let lease_ms = claim.lease_ms.unwrap_or(150).max(20);
        operation.reply = Reply::Granted(Box::new(Granted {
            token,
            attempt,
            lease_ms,
            lease_left_ms: lease_ms,
            takeover: attempt > 1,
            ..Granted::default()
        }));
    }
}

/// The outcome of a replay.
pub(crate) fn replay(operation: &mut Operation) -> Option<&mut Outcome> {
    match &mut operation.reply {
        Reply::Replayed(replayed) => Some(&mut replayed.outcome),
        _ => None,
    }
}

/// The grant of a claim, if it was made by this very call.
pub(crate) fn fresh(operation: &Operation) -> Option<&Granted> {
    match &operation.reply {
        Reply::Granted(granted) if granted.token != 0 && !granted.recovered => Some(granted),
        _ => None,
    }
}

pub(crate) fn granted(operation: &mut Operation) -> Option<&mut Granted> {
    match &mut operation.reply {
        Reply::Granted(granted) => Some(granted),
        _ => None,
    }
}

pub(crate) fn state(operation: &Operation) -> Option<&View> {
    match &operation.reply {
        Reply::State(view) => Some(view),
        _ => None,
    }
}
