//! The schedule: which fault when, from the seed alone.

use super::kind::{Kind, Mix};
use crate::rng::Rng;
use std::time::Duration;

/// A fault to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its place in the plan.
    pub id: u32,
    /// From the beginning of the faults.
    pub at: Duration,
    /// What.
    pub kind: Kind,
    /// Its own choices.
    pub seed: u64,
}

/// Draws `count` faults over a span: each kind of the mixes once, the others by weight, in any order.
#[must_use]
pub fn draw(seed: u64, mixes: &[Mix], count: usize, span: Duration) -> Vec<Planned> {
    let mut rng = Rng::new(seed);
    let kinds: Vec<Kind> =
        Kind::ALL.iter().copied().filter(|kind| kind.weight() > 0 && mixes.contains(&kind.mix())).collect();
    let mut drawn: Vec<Kind> = kinds.iter().copied().take(count).collect();
    let total: u64 = kinds.iter().map(|kind| kind.weight()).sum();
    while drawn.len() < count && total > 0 {
        let mut left = rng.below(total);
        let kind = kinds.iter().find(|kind| {
            let found = left < kind.weight();
            left = left.saturating_sub(kind.weight());
            found
        });
        drawn.extend(kind);
    }
    shuffle(&mut drawn, &mut rng);
    // What takes longest comes first, so that it ends within the span.
    drawn.sort_by_key(|kind| *kind != Kind::LongPause);
    let step = span / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let at = |place: usize, rng: &mut Rng| {
        let jitter = step.mul_f64(rng.below(1000) as f64 / 1000.0);
        step * u32::try_from(place).unwrap_or(u32::MAX) + jitter
    };
    let planned = (0..).zip(drawn).enumerate();
    let plan =
        planned.map(|(place, (id, kind))| Planned { id, at: at(place, &mut rng), kind, seed: rng.draw() });
    plan.collect()
}

/// What follows the schedule: at the end each node loses a replica for good.
#[must_use]
pub fn last(plan: &[Planned], mixes: &[Mix]) -> Option<Planned> {
    let id = u32::try_from(plan.len()).ok()?;
    let last = Planned { id, at: Duration::ZERO, kind: Kind::DamagedLog, seed: 0 };
    mixes.contains(&Mix::Damage).then_some(last)
}

fn shuffle(kinds: &mut [Kind], rng: &mut Rng) {
    for last in (1..kinds.len()).rev() {
        kinds.swap(last, rng.index(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Mix; 7] =
        [Mix::Process, Mix::Network, Mix::Packets, Mix::Clock, Mix::Disk, Mix::Damage, Mix::Clients];

    #[test]
    fn a_seed_draws_one_schedule_and_every_kind_is_in_it() {
        let span = Duration::from_secs(200);
        let plan = draw(7, &ALL, 150, span);
        assert_eq!(plan, draw(7, &ALL, 150, span));
        assert_ne!(plan, draw(8, &ALL, 150, span));
        assert_eq!(plan.len(), 150);
        for kind in Kind::ALL.iter().filter(|kind| kind.weight() > 0) {
            assert!(plan.iter().any(|planned| planned.kind == *kind), "{}", kind.name());
        }
        assert!(plan.is_sorted_by_key(|planned| planned.at));
        assert!(plan.iter().all(|planned| planned.at < span));
        let network = draw(7, &[Mix::Network], 30, span);
        assert!(network.iter().all(|planned| planned.kind.mix() == Mix::Network));
    }
}
