//! When processes did not run, and when log time may jump for it.
//!
//! A process forgets at its end what it knew of log time. Once a quorum of a shard has, and nobody
//! who ran on can be asked, its next leader takes the wall clocks' median: the protocol's cold start.

use super::Site;
use crate::trace::{self, Jump};
use hapax_checker::history::Window;

/// A process that restarted may hear nothing of log time for so long, ms: its shards rest, or it
/// cannot be reached.
const DEAF_MS: u64 = 20_000;
/// What readings of clocks and ticks may add, ms.
const SLACK_MS: u64 = 200;
/// A longer jump is that of a shard that never had an entry.
const LONGEST_MS: u64 = 7 * 24 * 3_600_000;

/// A process did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) node: usize,
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
}

impl Site<'_> {
    /// The windows in which the log time of a shard may jump, and by how much: only where processes of
    /// two nodes had ended shortly one after the other, and by as much as nodes then logged, or by what log
    /// time falls behind where its leader had restarted and knew only the least that it could be.
    #[must_use]
    pub fn jumps(&self) -> Vec<Window> {
        let drift = self.plan.drifts.iter().map(|drift| drift.unsigned_abs()).max().unwrap_or(0);
        let lag_permille = 2 * drift + 50;
        let by_ms = self.plan.end_ms * lag_permille / 1000 + SLACK_MS;
        let us = |ms: u64| ms * 1000;
        let windows = windows(&self.outages);
        let logged = permitted(&trace::jumps(), &windows);
        let logged = logged.into_iter().map(|jump| Window {
            from_us: us(jump.at_ms.saturating_sub(SLACK_MS)),
            to_us: us(jump.at_ms + SLACK_MS),
            by_ms: jump.by_ms,
            shard: Some(jump.shard),
        });
        let lags = windows.iter().map(|(from, to)| Window {
            from_us: us(*from),
            to_us: us(*to),
            by_ms,
            shard: None,
        });
        lags.chain(logged).collect()
    }
}

/// The logged jumps that were made where one may be.
fn permitted(jumps: &[Jump], windows: &[(u64, u64)]) -> Vec<Jump> {
    let may_be = |jump: &&Jump| {
        let inside = windows.iter().any(|(from, to)| (*from..=*to).contains(&jump.at_ms));
        inside && jump.by_ms <= LONGEST_MS
    };
    jumps.iter().filter(may_be).copied().collect()
}

/// The times in which processes of two nodes or more may know nothing of log time, joined where they meet.
fn windows(outages: &[Outage]) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    for (number, outage) in outages.iter().enumerate() {
        for other in &outages[..number] {
            let from = outage.from_ms.max(other.from_ms);
            let to = outage.until_ms.min(other.until_ms) + DEAF_MS;
            if outage.node != other.node && from <= to {
                found.push((from, to));
            }
        }
    }
    found.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in found {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ends_of_two_processes_close_to_each_other_let_log_time_jump() {
        let outage = |node, from_ms, until_ms| Outage { node, from_ms, until_ms };
        assert_eq!(windows(&[outage(0, 1000, 2000), outage(0, 3000, 4000)]), []);
        let far = [outage(0, 1000, 2000), outage(1, 2001 + DEAF_MS, 30_000)];
        assert_eq!(windows(&far), []);
        let close = [outage(0, 1000, 2000), outage(1, 3000, 4000), outage(2, 5000, 6000)];
        assert_eq!(windows(&close), [(3000, 4000 + DEAF_MS)]);
    }

    #[test]
    fn a_jump_is_taken_as_it_was_logged_and_only_where_one_may_be() {
        let jump = |at_ms, by_ms| Jump { at_ms, shard: 1, by_ms };
        let jumps = [jump(10, 1 << 40), jump(999, 5), jump(1000, 20_000), jump(2001, 1)];
        assert_eq!(permitted(&jumps, &[(0, 10), (1000, 2000)]), [jumps[2]]);
    }
}
