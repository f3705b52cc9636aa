//! Log time: milliseconds since 1970 as a shard's log tells them.

use bincode::{Decode, Encode};

/// A point in a shard's log time τ, ms since 1970. It never goes back within a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LogTime(pub u64);

impl LogTime {
    /// The start of time: before every entry.
    pub const ZERO: Self = Self(0);

    /// `self + duration_ms`, or the end of time.
    #[must_use]
    pub fn after(self, duration_ms: u64) -> Self {
        Self(self.0.saturating_add(duration_ms))
    }

    /// Milliseconds from `now` until `self`; 0 when it has passed.
    #[must_use]
    pub fn left_at(self, now: Self) -> u64 {
        self.0.saturating_sub(now.0)
    }

    /// Whether this deadline has passed at `now`: at the deadline itself it has.
    #[must_use]
    pub fn has_passed_at(self, now: Self) -> bool {
        now >= self
    }
}

impl std::fmt::Display for LogTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
