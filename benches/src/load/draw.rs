//! Seeded draws: which call comes next, and on which key.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};

/// The kinds of calls, in percent; the rest is fresh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// Claims of completed keys.
    pub replays: f64,
    /// New keys that are claimed twice at once.
    pub duplicates: f64,
    /// How uneven replays are: 0 asks for all keys alike, 1 for the `n`th a `1/n` as often as for the first.
    pub skew: f64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A new key.
    Fresh,
    /// A completed one.
    Replay,
    /// A new one, twice at once.
    Duplicate,
}

/// One worker's draws.
#[derive(Debug)]
pub struct Draw {
    mix: Mix,
    rng: SmallRng,
}

impl Draw {
    /// Those of a worker; the same for the same seed.
    #[must_use]
    pub fn new(mix: Mix, seed: u64, worker: u64) -> Self {
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(worker);
        Self { mix, rng: SmallRng::seed_from_u64(seed) }
    }

    /// The next call.
    pub fn call(&mut self) -> Call {
        let at = self.rng.random_range(0.0..100.0);
        if at < self.mix.replays {
            Call::Replay
        } else if at < self.mix.replays + self.mix.duplicates {
            Call::Duplicate
        } else {
            Call::Fresh
        }
    }

    /// One of `0..count`; the first ones more often where the mix says so.
    pub fn index(&mut self, count: u64) -> u64 {
        if count <= 1 {
            return 0;
        }
        if self.mix.skew == 0.0 {
            return self.rng.random_range(0..count);
        }
        #[allow(clippy::cast_precision_loss, reason = "counts of keys are far below 2^52")]
        match Zipf::new(count as f64, self.mix.skew) {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank is a whole number between 1 and the count"
            )]
            Ok(ranks) => (ranks.sample(&mut self.rng) as u64).clamp(1, count) - 1,
            Err(_) => self.rng.random_range(0..count),
        }
    }

    /// A caller's name.
    pub fn caller(&mut self) -> [u8; 16] {
        let mut name: [u8; 16] = self.rng.random();
        name[0] |= 1;
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIX: Mix = Mix { replays: 20.0, duplicates: 5.0, skew: 0.0 };

    #[test]
    fn calls_come_in_their_shares() {
        let mut draw = Draw::new(MIX, 1, 0);
        let calls: Vec<_> = (0..20_000).map(|_| draw.call()).collect();
        let share = |kind| calls.iter().filter(|call| **call == kind).count() / 20;
        assert!((180..=220).contains(&share(Call::Replay)), "{}", share(Call::Replay));
        assert!((40..=60).contains(&share(Call::Duplicate)), "{}", share(Call::Duplicate));
    }

    #[test]
    fn skew_prefers_the_first_and_reaches_the_last() {
        let count = |skew: f64| {
            let mut draw = Draw::new(Mix { skew, ..MIX }, 2, 3);
            let drawn: Vec<_> = (0..20_000).map(|_| draw.index(100)).collect();
            assert!(drawn.iter().all(|index| *index < 100) && drawn.contains(&99));
            drawn.iter().filter(|index| **index == 0).count()
        };
        let (even, skewed) = (count(0.0), count(1.0));
        assert!((100..=300).contains(&even) && skewed > 10 * even, "{even} {skewed}");
        assert_eq!(Draw::new(MIX, 1, 1).index(1), 0);
    }
}
