//! How durations of log time lie on the clock that a history is looked at by.

use super::Instant;
use crate::history::{ClockBounds, Window};

/// A kind of time.
pub(crate) trait Clock {
    /// When a duration of log time that begins then is over.
    fn after(&self, from: Instant, ms: u64) -> Instant;
    /// A moment, the server having said its log time; none if it cannot be so.
    fn said(&self, moment: Instant, log_ms: u64) -> Option<Instant>;
    /// A deadline, the server having said at `now` that so much of it is left.
    fn left(&self, deadline: Instant, now: Instant, left_ms: u64, exact: bool) -> Option<Instant>;
    /// Whether the log time may, and may not, have reached `log_ms` by then.
    fn reached(&self, now: Instant, log_ms: u64) -> (bool, bool);
    /// When what a row of a listing shows was so: at the log time of its label, which may lag behind.
    fn shown_by_a_row(&self, now: Instant) -> Instant;
}

/// Log time itself, in ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogClock;

impl Clock for LogClock {
    fn after(&self, from: Instant, ms: u64) -> Instant {
        Instant::between(from.lo.saturating_add(ms), from.hi.saturating_add(ms))
    }

    fn said(&self, moment: Instant, log_ms: u64) -> Option<Instant> {
        (moment.lo <= log_ms && log_ms <= moment.hi).then(|| Instant::exactly(log_ms))
    }

    fn left(&self, deadline: Instant, now: Instant, left_ms: u64, exact: bool) -> Option<Instant> {
        let least = now.lo.saturating_add(left_ms);
        if exact {
            return self.said(deadline, least);
        }
        let lo = deadline.lo.max(least);
        (lo <= deadline.hi).then(|| Instant::between(lo, deadline.hi))
    }

    fn reached(&self, now: Instant, log_ms: u64) -> (bool, bool) {
        (now.hi >= log_ms, now.lo < log_ms)
    }

    fn shown_by_a_row(&self, now: Instant) -> Instant {
        now
    }
}

/// The run's real time, in µs; log time runs along it within bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealClock<'h> {
    pub(crate) bounds: &'h ClockBounds,
    pub(crate) shard: Option<u32>,
}

impl RealClock<'_> {
    fn earliest(&self, from_us: u64, ms: u64) -> u64 {
        let full = from_us.saturating_add(scale(ms, 1.0 / self.bounds.rate_max));
        let applies = |window: &&Window| {
            let mine = self.shard.is_none() || window.shard.is_none() || window.shard == self.shard;
            mine && window.from_us <= full && window.to_us >= from_us
        };
        let jumped: u64 = self.bounds.jumps.iter().filter(applies).map(|window| window.by_ms).sum();
        let ms = ms.saturating_sub(jumped).saturating_sub(self.bounds.slack_ms);
        from_us.saturating_add(scale(ms, 1.0 / self.bounds.rate_max))
    }
}

/// A duration in ms, in µs at a rate.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the rates are positive, and a microsecond in three centuries does not matter"
)]
fn scale(ms: u64, rate: f64) -> u64 {
    (ms as f64 * 1000.0 * rate) as u64
}

impl Clock for RealClock<'_> {
    fn after(&self, from: Instant, ms: u64) -> Instant {
        let hi = if self.bounds.may_stall || from.hi == u64::MAX {
            u64::MAX
        } else {
            from.hi.saturating_add(scale(ms + self.bounds.slack_ms, 1.0 / self.bounds.rate_min))
        };
        let said_ms = if from.said_ms == 0 { 0 } else { from.said_ms.saturating_add(ms) };
        Instant { lo: self.earliest(from.lo, ms), hi, said_ms }
    }

    fn said(&self, moment: Instant, log_ms: u64) -> Option<Instant> {
        let agrees = moment.said_ms == 0 || moment.said_ms == log_ms;
        agrees.then_some(Instant { said_ms: log_ms, ..moment })
    }

    fn left(&self, deadline: Instant, _: Instant, _: u64, _: bool) -> Option<Instant> {
        Some(deadline)
    }

    fn reached(&self, _: Instant, _: u64) -> (bool, bool) {
        (true, true)
    }

    fn shown_by_a_row(&self, now: Instant) -> Instant {
        Instant { lo: 0, ..now }
    }
}
