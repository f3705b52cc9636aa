//! One rate against its own history: exponentially weighted mean and variance.

/// How a detector judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Over about so many buckets the history reaches back; at least 1.
    pub history_buckets: u32,
    /// A score of at least this is an anomaly.
    pub threshold: f64,
}

/// Buckets with traffic that are seen before anything is judged: a history needs a past.
const WARM_UP_BUCKETS: u32 = 10;

/// The history of one share of operations.
#[derive(Clone, Copy, Debug)]
pub struct Detector {
    settings: Settings,
    buckets: u32,
    mean: f64,
    variance: f64,
}

impl Detector {
    /// A detector without a history.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, buckets: 0, mean: 0.0, variance: 0.0 }
    }

    /// Takes the counts of one bucket and says how many standard deviations above the history its
    /// share is: 0 while there is no history, without traffic, and at or below the mean.
    ///
    /// What goes into the history is capped at the threshold, so that one burst does not raise the
    /// bar for the next; a lasting change becomes the new normal.
    pub fn take(&mut self, events: u64, operations: u64) -> f64 {
        if operations == 0 {
            return 0.0;
        }
        let operations = as_f64(operations);
        let share = (as_f64(events) / operations).min(1.0);
        // What chance alone does to a share of so few operations: binomial, with a floor of one
        // event so that a history of none does not make the first one infinitely surprising.
        let noise = self.mean.max(1.0 / operations) / operations;
        let deviation = (self.variance + noise).sqrt();
        let judged = self.buckets >= WARM_UP_BUCKETS;
        let score = if judged { ((share - self.mean) / deviation).max(0.0) } else { 0.0 };

        let cap = self.mean + self.settings.threshold * deviation;
        self.learn(if judged { share.min(cap) } else { share });
        score
    }

    /// Whether a score is an anomaly.
    #[must_use]
    pub fn is_anomaly(&self, score: f64) -> bool {
        score >= self.settings.threshold
    }

    fn learn(&mut self, share: f64) {
        self.buckets = self.buckets.saturating_add(1);
        // A plain average at first, then one that forgets.
        let weight =
            (1.0 / f64::from(self.buckets)).max(2.0 / (f64::from(self.settings.history_buckets) + 1.0));
        let difference = share - self.mean;
        self.mean += weight * difference;
        self.variance = (1.0 - weight) * (self.variance + weight * difference * difference);
    }
}

/// Counts far below 2^53, where a float counts exactly.
fn as_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector() -> Detector {
        Detector::new(Settings { history_buckets: 60, threshold: 4.0 })
    }

    fn fed(buckets: usize, events: u64, operations: u64) -> Detector {
        let mut detector = detector();
        for _ in 0..buckets {
            detector.take(events, operations);
        }
        detector
    }

    #[test]
    fn a_steady_share_is_never_an_anomaly_whatever_the_traffic() {
        let mut detector = detector();
        for bucket in 0..500u64 {
            let operations = 100 * (1 + bucket % 50);
            let score = detector.take(operations / 50, operations);
            assert!(!detector.is_anomaly(score), "bucket {bucket}: {score}");
        }
    }

    #[test]
    fn a_tenfold_share_is_an_anomaly() {
        let mut detector = fed(60, 10, 1000);
        let score = detector.take(100, 1000);
        assert!(score > 20.0, "{score}");
        assert!(detector.is_anomaly(score));
    }

    #[test]
    fn chance_on_little_traffic_is_none() {
        let mut detector = fed(100, 0, 20);
        let one = detector.take(1, 20);
        assert!(one > 0.0 && !detector.is_anomaly(one), "{one}");
        let mut detector = fed(100, 0, 20);
        let many = detector.take(8, 20);
        assert!(detector.is_anomaly(many), "{many}");
    }

    #[test]
    fn nothing_is_judged_without_a_history() {
        let mut detector = detector();
        for _ in 0..WARM_UP_BUCKETS {
            assert!(detector.take(1000, 1000).abs() < f64::EPSILON);
        }
        assert!(detector.take(0, 0).abs() < f64::EPSILON, "no traffic");
        assert!(detector.take(0, 1000).abs() < f64::EPSILON, "below the mean");
    }

    #[test]
    fn a_burst_does_not_hide_the_next_one() {
        let mut detector = fed(60, 10, 1000);
        assert!(detector.take(900, 1000) > 4.0);
        for _ in 0..3 {
            detector.take(10, 1000);
        }
        let score = detector.take(100, 1000);
        assert!(detector.is_anomaly(score), "{score}");
    }

    #[test]
    fn a_lasting_change_becomes_normal() {
        let mut detector = fed(60, 10, 1000);
        let scores: Vec<f64> = (0..200).map(|_| detector.take(50, 1000)).collect();
        assert!(detector.is_anomaly(scores[0]), "{}", scores[0]);
        assert!(!detector.is_anomaly(scores[199]), "{}", scores[199]);
    }

    #[test]
    fn mean_and_variance_are_those_of_the_data() {
        // Within the first buckets the weights are those of a plain average.
        let mut detector = Detector::new(Settings { history_buckets: 1_000_000, threshold: 1e9 });
        let shares = [1u64, 3, 5, 7, 9, 2, 4, 6, 8, 5];
        for share in shares {
            detector.take(share, 10);
        }
        let mean = shares.iter().sum::<u64>() as f64 / 100.0;
        let variance = shares.iter().map(|&s| (s as f64 / 10.0 - mean).powi(2)).sum::<f64>() / 10.0;
        assert!((detector.mean - mean).abs() < 1e-12, "{}", detector.mean);
        assert!((detector.variance - variance).abs() < 1e-12, "{}", detector.variance);
    }
}
