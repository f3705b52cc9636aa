//! Operations by verb and reply, and how long they took.
//!
//! The counters of every verb and reply are made once: adding to one is an index and an atomic.

use hapax_core::{ErrorCode, Refusal, Reply};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

/// The verbs, by their stable names.
const VERBS: [&str; 8] = ["claim", "renew", "complete", "release", "resolve", "forget", "get", "list"];

/// The replies that each of [`VERBS`] may get, `error` aside.
const REPLIES: [&[&str]; 8] = [
    &["granted", "in_flight", "mismatch", "ended", "in_doubt", "replayed", "spent", "too_old"],
    &["renewed", "fenced", "ignored"],
    &["completed", "already_completed", "conflict", "fenced", "ignored"],
    &["released", "fenced", "ignored"],
    &["resolved", "not_in_doubt"],
    &["forgotten", "changed"],
    &["state"],
    &["page"],
];

/// Upper bounds of the latency buckets, s: from an answer out of memory to the longest wait.
const LATENCY_BUCKETS: [f64; 18] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5,
    1.0, 5.0, 60.0,
];

/// One verb's metrics.
struct Verb {
    replies: Vec<(&'static str, IntCounter)>,
    errors: IntCounter,
    latency: Histogram,
}

/// Operations by verb and reply.
pub struct Operations {
    verbs: Vec<Verb>,
    errors: Vec<[IntCounter; 2]>,
    other: IntCounterVec,
}

impl Operations {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let operations = IntCounterVec::new(
            Opts::new("hapax_operations_total", "Operations answered to clients, by verb and reply"),
            &["verb", "reply"],
        )?;
        let latency = HistogramVec::new(
            HistogramOpts::new(
                "hapax_operation_duration_seconds",
                "From an operation's arrival at this node to its answer, waits included",
            )
            .buckets(LATENCY_BUCKETS.to_vec()),
            &["verb"],
        )?;
        let errors = IntCounterVec::new(
            Opts::new("hapax_errors_total", "Operations answered with an error, by code"),
            &["code", "definite"],
        )?;
        registry.register(Box::new(operations.clone()))?;
        registry.register(Box::new(latency.clone()))?;
        registry.register(Box::new(errors.clone()))?;
        let verbs = VERBS.iter().zip(REPLIES).map(|(verb, replies)| Verb {
            replies: replies
                .iter()
                .map(|&reply| (reply, operations.with_label_values(&[*verb, reply])))
                .collect(),
            errors: operations.with_label_values(&[*verb, "error"]),
            latency: latency.with_label_values(&[verb]),
        });
        let verbs = verbs.collect();
        let errors = ErrorCode::ALL
            .iter()
            .map(|code| ["false", "true"].map(|definite| errors.with_label_values(&[code.name(), definite])))
            .collect();
        Ok(Self { verbs, errors, other: operations })
    }

    /// An operation was answered after so many microseconds.
    pub fn answered(&self, verb: &'static str, reply: &Reply, latency_us: u64) {
        let Some(at) = VERBS.iter().position(|name| *name == verb) else { return };
        let metrics = &self.verbs[at];
        metrics.latency.observe(std::time::Duration::from_micros(latency_us).as_secs_f64());
        if let Reply::Error(refusal) = reply {
            metrics.errors.inc();
            self.error(refusal);
            return;
        }
        let name = reply.name();
        match metrics.replies.iter().find(|(known, _)| *known == name) {
            Some((_, counter)) => counter.inc(),
            None => self.other.with_label_values(&[verb, name]).inc(),
        }
    }

    /// Operations answered since the process started.
    pub(super) fn total(&self) -> u64 {
        let of_verb = |verb: &Verb| {
            verb.replies.iter().map(|(_, counter)| counter.get()).sum::<u64>() + verb.errors.get()
        };
        self.verbs.iter().map(of_verb).sum()
    }

    /// A call was refused before its verb was looked at.
    pub fn refused(&self, refusal: &Refusal) {
        self.error(refusal);
    }

    fn error(&self, refusal: &Refusal) {
        let code = ErrorCode::ALL.iter().position(|code| *code == refusal.code).unwrap_or(0);
        self.errors[code][usize::from(refusal.definite)].inc();
    }
}
