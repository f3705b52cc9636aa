//! When a follower that hears nothing stands for election.
//!
//! Configured is the silence itself: at least `election_min_ms`, at most `election_max_ms`. In openraft
//! a follower first sits out the lease of its leader, which is the longest timeout, and then a timeout
//! drawn at random; so both are made here such that their sum is what was configured. During the lease
//! nobody votes for anybody else, so a short one costs a leader that stalls its lead, and nothing more:
//! no read relies on it.

use crate::config::Timing;
use openraft::Config;

/// The part of openraft's settings that decides when elections are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Election {
    /// The shortest timeout behind the lease, ms.
    pub timeout_min: u64,
    /// The longest, and the lease, ms.
    pub timeout_max: u64,
    /// How long a leader without a quorum says nothing, so that another can be elected, ms.
    pub quiet: u64,
}

impl Election {
    /// What follows from the silence that is configured.
    #[must_use]
    pub fn of(timing: &Timing) -> Self {
        let lease = (timing.election_max_ms / 2).max(2);
        let least = timing.election_min_ms.saturating_sub(lease);
        // A leader's next heartbeat must have a chance, also behind a lease that is over.
        let timeout_min = least.max(timing.heartbeat_ms + 1).min(lease - 1);
        Self { timeout_min, timeout_max: lease, quiet: 2 * lease }
    }

    /// Puts it into openraft's settings.
    #[must_use]
    pub fn set(self, config: Config) -> Config {
        Config {
            election_timeout_min: self.timeout_min,
            election_timeout_max: self.timeout_max,
            quorum_loss_probe_interval: Some(self.quiet),
            ..config
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_stands_within_the_silence_that_is_configured() {
        let of = |heartbeat_ms, election_min_ms, election_max_ms| {
            Election::of(&Timing { heartbeat_ms, election_min_ms, election_max_ms, ..Timing::default() })
        };
        assert_eq!(of(100, 500, 1000), Election { timeout_min: 101, timeout_max: 500, quiet: 1000 });
        assert_eq!(of(50, 900, 1000), Election { timeout_min: 400, timeout_max: 500, quiet: 1000 });
        for heartbeat in (10..400).step_by(13) {
            for min in (3 * heartbeat..4000).step_by(97) {
                for max in [min + 1, min + 100, 3 * min] {
                    let election = of(heartbeat, min, max);
                    let set = election.set(Config { heartbeat_interval: heartbeat, ..Config::default() });
                    assert!(set.validate().is_ok(), "{heartbeat} {min} {max}: {election:?}");
                    assert!(election.timeout_max * 2 <= max);
                    let shortest = election.timeout_max + election.timeout_min;
                    assert!(shortest + 1 >= min.min(max - 1), "{heartbeat} {min} {max}: {election:?}");
                }
            }
        }
    }
}
