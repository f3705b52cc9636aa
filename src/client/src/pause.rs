//! Pauses that double, with jitter.

use crate::env::Env;
use std::time::Duration;

/// The next pause before something is tried again.
#[derive(Clone, Debug)]
pub(crate) struct Pause {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pause {
    /// From `first` to `longest`.
    pub(crate) fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, next: first }
    }

    /// The pause now: between half and all of its length, so that callers that failed together
    /// spread out, and none of them comes back at once.
    pub(crate) fn next(&mut self, env: &Env) -> Duration {
        let length = self.next.min(self.longest);
        self.next = length.saturating_mul(2);
        length / 2 + env.part_of(length / 2)
    }

    /// Begins again with the first.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_longest_and_begins_again() {
        let env = Env::real();
        let mut pause = Pause::new((Duration::from_millis(10), Duration::from_millis(35)));
        let within = |pause: &mut Pause, length_ms: u64| {
            let taken = pause.next(&env);
            let length = Duration::from_millis(length_ms);
            assert!(taken >= length / 2 && taken <= length, "{taken:?} for {length:?}");
        };
        for length_ms in [10, 20, 35, 35] {
            within(&mut pause, length_ms);
        }
        pause.reset();
        within(&mut pause, 10);
    }
}
