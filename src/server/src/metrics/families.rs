//! Levels and foreign counters, turned into metric families when somebody asks.
//!
//! They live elsewhere (in a replica, a log, an engine) and are read as a whole; mirroring them in
//! registered metrics would only make a second copy that can be stale.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// How a figure behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is a level.
    Gauge,
}

/// Metric families in the making.
#[derive(Default)]
pub struct Families(Vec<MetricFamily>);

impl Families {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a figure without labels.
    pub fn single(&mut self, kind: Kind, name: &str, help: &str, value: f64) {
        self.labelled(kind, name, help, std::iter::once((Vec::new(), value)));
    }

    /// Adds a family of samples, each with its labels (name and value). Without samples it is left
    /// out.
    pub fn labelled<'a>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = (Vec<(&'a str, String)>, f64)>,
    ) {
        let metrics: Vec<Metric> = samples.map(|(labels, value)| sample(kind, &labels, value)).collect();
        if metrics.is_empty() {
            return;
        }
        let kind = match kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        };
        self.push(name, help, kind, metrics);
    }

    /// Adds a histogram: upper bounds with the count of each bucket alone (not cumulative), the count
    /// above the last bound, and the sum of all values.
    pub fn histogram(&mut self, name: &str, help: &str, buckets: &[(f64, u64)], above: u64, sum: f64) {
        let mut cumulative = 0;
        let buckets = buckets.iter().map(|&(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let buckets = buckets.collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(cumulative + above);
        histogram.set_sample_sum(sum);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.push(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    pub(super) fn into_families(self) -> Vec<MetricFamily> {
        self.0
    }

    fn push(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn sample(kind: Kind, labels: &[(&str, String)], value: f64) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.clone());
        pair
    });
    let mut metric = Metric::from_label(pairs.collect());
    match kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}
