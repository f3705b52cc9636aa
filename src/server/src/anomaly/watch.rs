//! The signals that are watched, and when one begins or ends.

use super::detector::{Detector, Settings};

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// A key was used for another request.
    Mismatch,
    /// A claim took over from one that ended without an outcome.
    Takeover,
    /// A dead token tried to act.
    Fenced,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Mismatch, Self::Takeover, Self::Fenced];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mismatch => "mismatch",
            Self::Takeover => "takeover",
            Self::Fenced => "fenced",
        }
    }
}

/// Totals since the process started, as the counters have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations answered.
    pub operations: u64,
    /// For each of [`Signal::ALL`], how often it happened.
    pub events: [u64; 3],
}

/// What a bucket showed of one signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// Which.
    pub signal: Signal,
    /// Standard deviations above its history.
    pub score: f64,
    /// Whether it is an anomaly now.
    pub active: bool,
    /// Whether that began with this bucket: then it is told.
    pub began: bool,
    /// Events and operations of the bucket.
    pub bucket: (u64, u64),
}

/// Watches every signal.
#[derive(Debug)]
pub struct Watch {
    last: Counts,
    detectors: [(Detector, bool); 3],
}

impl Watch {
    /// Starts to watch at these totals.
    #[must_use]
    pub fn new(settings: Settings, totals: Counts) -> Self {
        Self { last: totals, detectors: [(Detector::new(settings), false); 3] }
    }

    /// Ends a bucket at these totals.
    pub fn bucket(&mut self, totals: Counts) -> [Finding; 3] {
        let operations = totals.operations.saturating_sub(self.last.operations);
        let last = std::mem::replace(&mut self.last, totals);
        std::array::from_fn(|i| {
            let (detector, active) = &mut self.detectors[i];
            let events = totals.events[i].saturating_sub(last.events[i]);
            let score = detector.take(events, operations);
            let was_active = std::mem::replace(active, detector.is_anomaly(score));
            Finding {
                signal: Signal::ALL[i],
                score,
                active: *active,
                began: *active && !was_active,
                bucket: (events, operations),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anomaly_of_one_signal_is_told_once_and_alone() {
        let mut watch = Watch::new(Settings { history_buckets: 60, threshold: 4.0 }, Counts::default());
        let mut totals = Counts::default();
        let mut step = |takeovers: u64| {
            totals.operations += 1000;
            totals.events = [totals.events[0] + 5, totals.events[1] + takeovers, totals.events[2]];
            watch.bucket(totals)
        };
        for _ in 0..30 {
            assert!(step(5).iter().all(|finding| !finding.active));
        }
        let found = step(300);
        assert!(found[1].active && found[1].began && found[1].signal == Signal::Takeover, "{found:?}");
        assert_eq!(found[1].bucket, (300, 1000));
        assert!(!found[0].active && !found[2].active, "{found:?}");
        let found = step(300);
        assert!(found[1].active && !found[1].began, "told once: {found:?}");
        assert!(!step(5)[1].active);
        assert!(step(300)[1].began, "and told again after it ended");
    }
}
