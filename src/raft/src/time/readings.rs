//! What the nodes' wall clocks say, as seen from here.
//!
//! A reading is kept as the difference between the peer's wall clock and this machine's boot
//! clock, so that it stays usable while it is fresh, without reading the peer again. The **lower
//! median** of the fresh readings of a shard's voters is what its log time is slewed towards: with
//! a majority of right clocks it lies between two right ones or below, and a clock that runs ahead
//! never pulls it forward, which would expire records early.

use crate::ids::NodeId;
use std::collections::HashMap;

/// How long a reading counts, ms of boot time.
pub const FRESH_MS: u64 = 5_000;

#[derive(Clone, Copy, Debug)]
struct Reading {
    wall_minus_boot_ms: i64,
    taken_boot_ms: u64,
}

/// The newest reading of each peer.
#[derive(Debug, Default)]
pub struct Readings {
    peers: HashMap<NodeId, Reading>,
}

impl Readings {
    /// Notes that a peer's wall clock showed `wall_ms` somewhere between `sent_boot_ms` and
    /// `now_boot_ms`; the middle is taken. Slow answers say little and are dropped.
    pub fn note(&mut self, peer: NodeId, wall_ms: u64, sent_boot_ms: u64, now_boot_ms: u64) {
        let round_trip_ms = now_boot_ms.saturating_sub(sent_boot_ms);
        if round_trip_ms > 1_000 {
            return;
        }
        let middle = sent_boot_ms.saturating_add(round_trip_ms / 2);
        let reading = Reading { wall_minus_boot_ms: difference(wall_ms, middle), taken_boot_ms: now_boot_ms };
        self.peers.insert(peer, reading);
    }

    /// The lower median of the wall clocks of `voters` at `now_boot_ms`, or `None` when fewer than
    /// a quorum of them have a fresh reading. This node's own clock is always fresh.
    #[must_use]
    pub fn lower_median(
        &self,
        me: NodeId,
        my_wall_ms: u64,
        voters: &[NodeId],
        now_boot_ms: u64,
    ) -> Option<u64> {
        let mut walls: Vec<u64> = voters
            .iter()
            .filter_map(|voter| {
                if *voter == me {
                    return Some(my_wall_ms);
                }
                let reading = self.peers.get(voter)?;
                let fresh = now_boot_ms.saturating_sub(reading.taken_boot_ms) <= FRESH_MS;
                fresh.then(|| now_boot_ms.saturating_add_signed(reading.wall_minus_boot_ms))
            })
            .collect();
        let quorum = voters.len() / 2 + 1;
        if walls.len() < quorum {
            return None;
        }
        walls.sort_unstable();
        walls.get((walls.len() - 1) / 2).copied()
    }
}

fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(if a > b { i64::MAX } else { i64::MIN })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u64) -> NodeId {
        NodeId::from_u64(n << 16)
    }

    fn three(own: u64, b: u64, c: u64) -> Option<u64> {
        let mut readings = Readings::default();
        readings.note(node(2), b, 100, 100);
        readings.note(node(3), c, 100, 100);
        readings.lower_median(node(1), own, &[node(1), node(2), node(3)], 100)
    }

    #[test]
    fn one_wrong_clock_of_three_never_decides() {
        assert_eq!(three(5_000, 5_010, 9_000_000), Some(5_010));
        assert_eq!(three(9_000_000, 5_000, 5_010), Some(5_010));
        assert_eq!(three(0, 5_000, 5_010), Some(5_000));
    }

    #[test]
    fn of_two_the_lower_is_taken() {
        let mut readings = Readings::default();
        readings.note(node(2), 7_000, 0, 0);
        assert_eq!(readings.lower_median(node(1), 9_000, &[node(1), node(2), node(3)], 0), Some(7_000));
    }

    #[test]
    fn fewer_than_a_quorum_say_nothing() {
        let readings = Readings::default();
        assert_eq!(readings.lower_median(node(1), 9_000, &[node(1), node(2), node(3)], 0), None);
        assert_eq!(readings.lower_median(node(1), 9_000, &[node(1)], 0), Some(9_000));
    }

    #[test]
    fn a_reading_runs_on_and_goes_stale() {
        let mut readings = Readings::default();
        readings.note(node(2), 1_000, 0, 0);
        let voters = [node(2), node(1)];
        assert_eq!(readings.lower_median(node(1), 99_000, &voters, FRESH_MS), Some(1_000 + FRESH_MS));
        assert_eq!(readings.lower_median(node(1), 99_000, &voters, FRESH_MS + 1), None);
    }

    #[test]
    fn a_slow_answer_is_dropped_and_the_middle_of_a_round_trip_counts() {
        let mut readings = Readings::default();
        readings.note(node(2), 1_000, 0, 1_001);
        assert_eq!(readings.lower_median(node(1), 9_000, &[node(2)], 1_001), None);
        readings.note(node(2), 1_000, 0, 100);
        assert_eq!(readings.lower_median(node(1), 9_000, &[node(2)], 100), Some(1_050));
    }
}
