//! A shard's log time as its leader makes it. Pure: the clocks are arguments.
//!
//! Whoever did not receive the last entry goes on from an older one, since which the leaders may have
//! slewed: it counts on at the slowest rate only, or log time would jump when it, or who asked it, leads.
//! A leader that knew less than others, whom it could not ask, may have begun late. From its first entry on
//! its time is the shard's: what was known from leaders before it is given up wherever it is heard, or the
//! leases that it granted would be cut short by as much, once somebody leads who remembers.
//!
//! The stamp is the last entry's time plus the boot time that passed here since that entry was
//! received or stamped, at a rate between 0.95 and 1.05 towards the median wall clock of a quorum;
//! with no such median, at rate 1. It never goes back. It jumps only at a cold start, when so many
//! replicas were started after the last entry that no quorum has been running since, by at most
//! seven days; any other jump is held at rate 1 and alarmed, since early expiry is the one thing
//! that runs an operation twice.

use hapax_core::LogTime;
use hapax_store::log::LogPosition;
use hapax_wire::peer::Begun;

/// The longest jump that a cold start may make by itself, ms.
pub const JUMP_MAX_MS: u64 = 7 * 24 * 3600 * 1000;

/// What a log without a stamped entry ends with.
const NONE: LogPosition = LogPosition { term: 0, index: 0 };

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
    /// The term of the leader whose time the anchor is.
    term: u64,
    slew_carry: u64,
    /// The last stamped entry that the log held when this process first opened it.
    begun: Option<LogPosition>,
}

/// What a cold start did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColdStart {
    /// Log time goes on from the wall clocks.
    Jumped {
        /// By how much, ms.
        by_ms: u64,
    },
    /// A quorum may have run since the last entry: log time goes on from there.
    Held,
    /// The wall clocks ask for more than seven days: log time goes on from the last entry.
    TooLong {
        /// What they ask for, ms.
        asked_ms: u64,
    },
}

impl ShardClock {
    /// What an earlier process of this machine knew: since then leaders may have slewed.
    pub fn restore(&mut self, term: u64, then: Anchor, boot_ms: u64) {
        (self.anchor, self.term) = (Some(then), term);
        self.anchor = self.at_least(boot_ms).map(|time| Anchor { time, boot_ms });
    }

    /// The replica was opened, and its log holds `newest` as its last stamped entry. What was known from leaders
    /// before that one is given up.
    pub fn open(&mut self, newest: Option<LogPosition>) {
        let newest = newest.unwrap_or(NONE);
        self.begun.get_or_insert(newest);
        if newest.term > self.term {
            self.anchor = None;
        }
    }

    /// When this process began, which has been running for `up_ms`.
    #[must_use]
    pub fn begun(&self, up_ms: u64) -> Begun {
        let held = self.begun.unwrap_or(NONE);
        Begun { term: held.term, index: held.index, up_ms }
    }

    /// The term of the leader whose time the anchor is.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The anchor, if any entry was received or stamped since the machine was started, as far as it is known.
    #[must_use]
    pub fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// The time of an entry that was just received, made in `term`. It may have been made long ago: within a
    /// term what was heard before still holds, and a later term's time takes the place of an earlier one's.
    pub fn heard(&mut self, term: u64, time: LogTime, boot_ms: u64) {
        if term < self.term {
            return;
        }
        let least = if term == self.term { self.at_least(boot_ms) } else { None };
        let time = least.map_or(time, |least| least.max(time));
        (self.anchor, self.term) = (Some(Anchor { time, boot_ms }), term);
    }

    /// What the leader of `term` said of its time between `sent_boot_ms` and now. Unlike an entry it is not
    /// old, so that a clock which runs faster than the leader's gains nothing on it for longer than that.
    /// Until its first entry a leader may still have to ask what is known here.
    pub fn told_by_leader(&mut self, term: u64, time: LogTime, sent_boot_ms: u64, boot_ms: u64) {
        match self.anchor {
            Some(_) if term != self.term => {}
            Some(anchor) if anchor.boot_ms < sent_boot_ms => self.anchor = Some(Anchor { time, boot_ms }),
            _ => self.heard(term, time, boot_ms),
        }
    }

    /// From now on this replica stamps, as the leader of `term`.
    pub fn lead(&mut self, term: u64) {
        self.term = term;
    }

    /// What another replica knows is as good as what is known here: the later counts.
    pub fn known_elsewhere(&mut self, time: LogTime, boot_ms: u64) {
        let shown = self.at_rate_one(boot_ms);
        let time = shown.map_or(time, |shown| shown.max(time));
        self.anchor = Some(Anchor { time, boot_ms });
    }

    /// Before this replica leads: all entries are applied, the last one with the time `last`. If that is later
    /// than what is known here, it was not received when it was made.
    pub fn settle(&mut self, last: LogTime, boot_ms: u64) {
        let behind = self.anchor.is_some_and(|anchor| anchor.time < last);
        if let (true, Some(least)) = (behind, self.at_least(boot_ms)) {
            self.anchor = Some(Anchor { time: least.max(last), boot_ms });
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

    /// What a leader tells others, who must not get ahead of it while it slews back and makes no entries. It is
    /// a stamp like any other: were it only what a stamp would be, the next one, made without the median that
    /// this one was slewed towards, could be behind what the others were told.
    pub fn shown(&mut self, boot_ms: u64, median_wall_ms: Option<u64>) -> Option<LogTime> {
        self.stamp(boot_ms, median_wall_ms)
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
        self.anchor = Some(Anchor { time, boot_ms });
        Some(time)
    }

    /// Log time goes on from the last entry: a quorum may have run since, and cannot say for how long.
    pub fn hold(&mut self, last: LogTime, boot_ms: u64) -> ColdStart {
        self.anchor = Some(Anchor { time: last, boot_ms });
        ColdStart::Held
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
        ColdStart::TooLong { asked_ms: asked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchored(time: u64, boot_ms: u64) -> ShardClock {
        let mut clock = ShardClock::default();
        clock.heard(1, LogTime(time), boot_ms);
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
        clock.heard(1, LogTime(1_000), 100);
        assert_eq!(clock.at_rate_one(100), Some(LogTime(5_095)));
    }

    #[test]
    fn what_a_leader_shows_is_what_it_would_stamp() {
        let mut clock = anchored(3_600_000, 0);
        assert_eq!(clock.shown(10_000, Some(0)), Some(LogTime(3_609_500)));
        assert_eq!(clock.stamp(10_000, Some(0)), Some(LogTime(3_609_500)));
        // It stands, also where the walls cannot be read any more.
        let mut clock = anchored(0, 0);
        assert_eq!(clock.shown(10_000, Some(3_600_000)), Some(LogTime(10_500)));
        assert_eq!(clock.stamp(10_000, None), Some(LogTime(10_500)));
    }

    #[test]
    fn a_follower_keeps_no_lead_over_a_leader_that_slews_back() {
        let hour = 3_600_000;
        let (mut leader, mut follower) = (anchored(hour, 0), anchored(hour, 0));
        for boot_ms in (100..=100_000).step_by(100) {
            let stamp = leader.stamp(boot_ms, Some(boot_ms)).unwrap();
            follower.heard(1, stamp, boot_ms + 1);
        }
        let stamp = leader.stamp(100_100, Some(100_100)).unwrap();
        assert_eq!(stamp, LogTime(hour + 95_095));
        assert!(follower.stamp(100_101, Some(100_101)).unwrap() <= stamp.after(5));
    }

    #[test]
    fn who_missed_the_last_entries_does_not_lead_ahead_of_them() {
        // A leader went at 0.95 for 20 s; who was away for that time hears its last entry afterwards.
        let mut away = anchored(100_000, 0);
        away.heard(1, LogTime(119_000), 20_000);
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
        clock.lead(2);
        assert_eq!(clock.stamp(10_000, Some(200_000)), Some(LogTime(110_500)));
        clock.heard(3, LogTime(109_500), 10_000);
        assert_eq!(clock.at_rate_one(10_000), Some(LogTime(109_500)));
    }

    #[test]
    fn who_remembers_more_than_a_leader_that_began_late_goes_on_from_that_one() {
        let mut remembers = anchored(100_000, 0);
        remembers.heard(2, LogTime(107_600), 10_000);
        assert_eq!(remembers.stamp(10_500, None), Some(LogTime(108_100)));
        // What is still on its way from before says nothing any more.
        remembers.heard(1, LogTime(110_400), 10_600);
        assert_eq!(remembers.stamp(10_600, None), Some(LogTime(108_200)));
    }

    #[test]
    fn a_clock_that_runs_fast_gains_nothing_on_what_the_leader_tells() {
        let mut fast = anchored(0, 0);
        for second in 1..=100 {
            // The leader slews back, this clock is 5 % fast, and entries come between what it is told.
            fast.heard(1, LogTime(950 * second - 475), 1_050 * second - 525);
            fast.told_by_leader(1, LogTime(950 * second), 1_050 * second - 10, 1_050 * second);
        }
        assert_eq!(fast.at_rate_one(105_000), Some(LogTime(95_000)));
        // An entry that came while the answer was under way is not undone by it.
        fast.heard(1, LogTime(95_500), 105_400);
        fast.told_by_leader(1, LogTime(95_300), 105_300, 105_500);
        assert_eq!(fast.at_rate_one(105_500), Some(LogTime(95_595)));
    }

    #[test]
    fn a_restored_anchor_is_the_least_that_it_can_be_and_of_its_term() {
        let mut clock = ShardClock::default();
        clock.restore(3, Anchor { time: LogTime(1_000), boot_ms: 500 }, 20_500);
        assert_eq!(clock.at_rate_one(20_500), Some(LogTime(20_000)));
        clock.open(Some(LogPosition { term: 3, index: 8 }));
        assert_eq!(clock.stamp(20_600, None), Some(LogTime(20_100)));
        // A leader after the one that it heard may have begun late.
        clock.open(Some(LogPosition { term: 4, index: 9 }));
        assert_eq!(clock.stamp(20_700, None), None);
        assert_eq!(clock.begun(5), Begun { term: 3, index: 8, up_ms: 5 }, "when the process began");
    }

    #[test]
    fn a_held_jump_goes_on_from_the_last_entry() {
        let mut clock = ShardClock::default();
        assert_eq!(clock.hold(LogTime(5_000), 100), ColdStart::Held);
        assert_eq!(clock.stamp(1_100, Some(3_600_000)), Some(LogTime(6_050)));
    }

    #[test]
    fn a_cold_start_jumps_a_week_at_most() {
        let day = 24 * 3600 * 1000;
        let mut clock = ShardClock::default();
        assert_eq!(clock.stamp(5, Some(5)), None);
        assert_eq!(clock.cold_start(LogTime(day), 8 * day, 5), ColdStart::Jumped { by_ms: 7 * day });
        assert_eq!(clock.stamp(5, None), Some(LogTime(8 * day)));
        let mut clock = ShardClock::default();
        assert_eq!(
            clock.cold_start(LogTime(day), 8 * day + 1, 5),
            ColdStart::TooLong { asked_ms: 7 * day + 1 }
        );
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
