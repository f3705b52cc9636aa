//! A shard's log time as its leader makes it. Pure: the clocks are arguments.
//!
//! Whoever did not receive the last entry goes on from an older one, since which the leaders may have
//! slewed: it counts on at the slowest rate only, or log time would jump when it, or who asked it, leads.
//!
//! The stamp is the last entry's time plus the boot time that passed here since that entry was
//! received or stamped, at a rate between 0.95 and 1.05 towards the median wall clock of a quorum;
//! with no such median, at rate 1. It never goes back. It jumps only at a cold start, when no
//! replica that answers has been running since the last entry, by at most seven days; a longer
//! jump is held at rate 1 and alarmed, since early expiry is the one thing that runs an operation
//! twice.

use hapax_core::LogTime;

/// The longest jump that a cold start may make by itself, ms.
pub const JUMP_MAX_MS: u64 = 7 * 24 * 3600 * 1000;

/// A known point: this log time was current at this boot time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The log time.
    pub time: LogTime,
    /// The boot clock of this machine then, ms.
    pub boot_ms: u64,
}

/// The log time of one shard as this replica knows it.
#[derive(Clone, Debug, Default)]
pub struct ShardClock {
    anchor: Option<Anchor>,
    /// Whether the anchor is a stamp of this replica, not something heard.
    is_own: bool,
    slew_carry: u64,
}

/// What a cold start did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColdStart {
    /// Log time goes on from the wall clocks.
    Jumped {
        /// By how much, ms.
        by_ms: u64,
    },
    /// The wall clocks ask for more than seven days: log time goes on from the last entry.
    Held {
        /// What they ask for, ms.
        asked_ms: u64,
    },
}

impl ShardClock {
    /// The anchor, if any entry was received or stamped in this process's life.
    #[must_use]
    pub fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// The time of an entry that was just received from a leader, or a leader's stamp that was just heard. What
    /// this replica stamped itself when it led says nothing about the times of another leader.
    pub fn heard(&mut self, time: LogTime, boot_ms: u64) {
        let least = if self.is_own { None } else { self.at_least(boot_ms) };
        let time = least.map_or(time, |least| least.max(time));
        (self.anchor, self.is_own) = (Some(Anchor { time, boot_ms }), false);
    }

    /// What another replica knows is as good as what is known here: the later counts.
    pub fn known_elsewhere(&mut self, time: LogTime, boot_ms: u64) {
        let shown = self.at_rate_one(boot_ms);
        let time = shown.map_or(time, |shown| shown.max(time));
        (self.anchor, self.is_own) = (Some(Anchor { time, boot_ms }), false);
    }

    /// Before this replica leads: all entries are applied, the last one with the time `last`. If that is later
    /// than what is known here, it was not received when it was made.
    pub fn settle(&mut self, last: LogTime, boot_ms: u64) {
        let behind = self.anchor.is_some_and(|anchor| anchor.time < last);
        if let (true, Some(least)) = (behind, self.at_least(boot_ms)) {
            (self.anchor, self.is_own) = (Some(Anchor { time: least.max(last), boot_ms }), false);
        }
    }

    /// The least that it can be now, whatever leaders have slewed since the anchor.
    #[must_use]
    pub fn at_least(&self, boot_ms: u64) -> Option<LogTime> {
        let elapsed = |anchor: Anchor| boot_ms.saturating_sub(anchor.boot_ms);
        self.anchor.map(|anchor| anchor.time.after(elapsed(anchor) - elapsed(anchor).div_ceil(20)))
    }

    /// The time now at rate 1, without stamping anything.
    #[must_use]
    pub fn at_rate_one(&self, boot_ms: u64) -> Option<LogTime> {
        self.anchor.map(|anchor| anchor.time.after(boot_ms.saturating_sub(anchor.boot_ms)))
    }

    /// What a stamp would be now: what a leader tells others, who must not get ahead of it while it slews
    /// back and makes no entries.
    #[must_use]
    pub fn shown(&self, boot_ms: u64, median_wall_ms: Option<u64>) -> Option<LogTime> {
        self.clone().stamp(boot_ms, median_wall_ms)
    }

    /// Stamps an entry: moves on by the boot time passed, slewed towards `median_wall_ms`.
    /// Returns `None` while there is no anchor; see [`ShardClock::cold_start`].
    pub fn stamp(&mut self, boot_ms: u64, median_wall_ms: Option<u64>) -> Option<LogTime> {
        let anchor = self.anchor?;
        let elapsed = boot_ms.saturating_sub(anchor.boot_ms);
        let even = anchor.time.after(elapsed);
        // A twentieth of what passed may be slewed; the remainder below 20 ms is carried so that
        // many short steps slew as much as one long one.
        let budget = elapsed + self.slew_carry;
        let allowed = budget / 20;
        let time = match median_wall_ms {
            None => even,
            Some(wall) if wall > even.0 => even.after(allowed.min(wall - even.0)),
            Some(wall) => LogTime(even.0 - allowed.min(even.0 - wall).min(elapsed)),
        };
        self.slew_carry = budget % 20;
        (self.anchor, self.is_own) = (Some(Anchor { time, boot_ms }), true);
        Some(time)
    }

    /// Sets the first anchor of a shard whose replicas have all been down since `last`, its last
    /// entry's time.
    pub fn cold_start(&mut self, last: LogTime, median_wall_ms: u64, boot_ms: u64) -> ColdStart {
        let asked = median_wall_ms.saturating_sub(last.0);
        // A shard that never had an entry has no past to expire.
        if last == LogTime::ZERO || asked <= JUMP_MAX_MS {
            self.anchor = Some(Anchor { time: last.max(LogTime(median_wall_ms)), boot_ms });
            return ColdStart::Jumped { by_ms: asked };
        }
        self.anchor = Some(Anchor { time: last, boot_ms });
        ColdStart::Held { asked_ms: asked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchored(time: u64, boot_ms: u64) -> ShardClock {
        let mut clock = ShardClock::default();
        clock.heard(LogTime(time), boot_ms);
        clock
    }

    #[test]
    fn without_a_median_it_runs_at_rate_one() {
        let mut clock = anchored(1_000, 50);
        assert_eq!(clock.stamp(1_050, None), Some(LogTime(2_000)));
    }

    #[test]
    fn it_slews_at_most_a_twentieth_either_way() {
        let mut ahead = anchored(0, 0);
        assert_eq!(ahead.stamp(10_000, Some(3_600_000)), Some(LogTime(10_500)));
        let mut behind = anchored(3_600_000, 0);
        assert_eq!(behind.stamp(10_000, Some(0)), Some(LogTime(3_609_500)));
    }

    #[test]
    fn many_short_steps_slew_as_much_as_a_long_one_and_never_go_back() {
        let mut clock = anchored(1_000_000, 0);
        let mut last = LogTime::ZERO;
        for boot_ms in 1..=10_000 {
            let time = clock.stamp(boot_ms, Some(0)).unwrap();
            assert!(time >= last);
            last = time;
        }
        assert_eq!(last, LogTime(1_009_500));
    }

    #[test]
    fn it_stops_slewing_at_the_median() {
        let mut clock = anchored(1_000, 0);
        assert_eq!(clock.stamp(1_000, Some(2_010)), Some(LogTime(2_010)));
        assert_eq!(clock.stamp(2_000, Some(2_990)), Some(LogTime(2_990)));
    }

    #[test]
    fn a_boot_clock_that_stands_still_gives_the_same_stamp_again() {
        let mut clock = anchored(1_000, 7);
        assert_eq!(clock.stamp(7, Some(9_999)), Some(LogTime(1_000)));
        assert_eq!(clock.stamp(3, Some(9_999)), Some(LogTime(1_000)));
    }

    #[test]
    fn hearing_an_older_time_moves_it_back_by_no_more_than_a_leader_may_have_slewed() {
        let mut clock = anchored(5_000, 0);
        clock.heard(LogTime(1_000), 100);
        assert_eq!(clock.at_rate_one(100), Some(LogTime(5_095)));
    }

    #[test]
    fn what_a_leader_shows_is_what_it_would_stamp() {
        let mut clock = anchored(3_600_000, 0);
        assert_eq!(clock.shown(10_000, Some(0)), Some(LogTime(3_609_500)));
        assert_eq!(clock.stamp(10_000, Some(0)), Some(LogTime(3_609_500)));
    }

    #[test]
    fn a_follower_keeps_no_lead_over_a_leader_that_slews_back() {
        let hour = 3_600_000;
        let (mut leader, mut follower) = (anchored(hour, 0), anchored(hour, 0));
        for boot_ms in (100..=100_000).step_by(100) {
            let stamp = leader.stamp(boot_ms, Some(boot_ms)).unwrap();
            follower.heard(stamp, boot_ms + 1);
        }
        let stamp = leader.stamp(100_100, Some(100_100)).unwrap();
        assert_eq!(stamp, LogTime(hour + 95_095));
        assert!(follower.stamp(100_101, Some(100_101)).unwrap() <= stamp.after(5));
    }

    #[test]
    fn who_missed_the_last_entries_does_not_lead_ahead_of_them() {
        // A leader went at 0.95 for 20 s; who was away for that time hears its last entry afterwards.
        let mut away = anchored(100_000, 0);
        away.heard(LogTime(119_000), 20_000);
        assert_eq!(away.at_rate_one(20_000), Some(LogTime(119_000)));
        // The same where that entry was only applied, as one of a snapshot is.
        let mut applied = anchored(100_000, 0);
        applied.settle(LogTime(118_900), 20_000);
        assert_eq!(applied.stamp(20_000, Some(0)), Some(LogTime(119_000)));
        // Who has received it goes on from it at the full rate.
        let mut present = anchored(119_000, 20_000);
        present.settle(LogTime(119_000), 20_500);
        assert_eq!(present.at_rate_one(20_500), Some(LogTime(119_500)));
    }

    #[test]
    fn what_a_deposed_leader_stamped_gives_way_to_the_time_of_its_successor() {
        let mut clock = anchored(100_000, 0);
        assert_eq!(clock.stamp(10_000, Some(200_000)), Some(LogTime(110_500)));
        clock.heard(LogTime(109_500), 10_000);
        assert_eq!(clock.at_rate_one(10_000), Some(LogTime(109_500)));
    }

    #[test]
    fn a_cold_start_jumps_a_week_at_most() {
        let day = 24 * 3600 * 1000;
        let mut clock = ShardClock::default();
        assert_eq!(clock.stamp(5, Some(5)), None);
        assert_eq!(clock.cold_start(LogTime(day), 8 * day, 5), ColdStart::Jumped { by_ms: 7 * day });
        assert_eq!(clock.stamp(5, None), Some(LogTime(8 * day)));
        let mut clock = ShardClock::default();
        assert_eq!(clock.cold_start(LogTime(day), 8 * day + 1, 5), ColdStart::Held { asked_ms: 7 * day + 1 });
        assert_eq!(clock.stamp(5, None), Some(LogTime(day)));
    }

    #[test]
    fn a_cold_start_never_goes_back_and_a_new_shard_takes_the_wall_clock() {
        let mut clock = ShardClock::default();
        clock.cold_start(LogTime(9_000), 4_000, 0);
        assert_eq!(clock.stamp(0, None), Some(LogTime(9_000)));
        let mut clock = ShardClock::default();
        clock.cold_start(LogTime::ZERO, 1_800_000_000_000, 0);
        assert_eq!(clock.stamp(0, None), Some(LogTime(1_800_000_000_000)));
    }
}
