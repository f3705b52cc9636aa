//! What a node counts, in the text format that Prometheus reads.
//!
//! Contract: counters are added to on the hot path without a lock or an allocation; levels are read
//! when somebody asks. Labels have few values: verbs, replies, error codes, events, shards,
//! currencies (at most 32, the rest is `other`), never a tenant, an operation or a key. Every value
//! called prevented is an estimate.

mod events;
mod families;
mod node;
mod operations;
#[cfg(test)]
mod tests;

pub use events::Events;
pub use families::{Families, Kind};
pub use node::{of_disk, of_node};
pub use operations::Operations;

use crate::anomaly::{Counts, Finding, Signal};
use hapax_core::ErrorCode;
use hapax_raft::observe::Anomaly;
use prometheus::{Encoder as _, Gauge, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

/// All metrics of a node.
pub struct Metrics {
    registry: Registry,
    /// Operations by verb and reply.
    pub operations: Operations,
    /// What the protocol prevented or met.
    pub events: Events,
    anomalies: IntCounterVec,
    proposed_entries: prometheus::IntCounter,
    proposed_commands: prometheus::IntCounter,
    connections: IntGaugeVec,
    closed: IntCounterVec,
    score: GaugeVec,
    unusual: GaugeVec,
}

impl Metrics {
    /// Metrics of a node of this version, all at zero.
    ///
    /// # Errors
    /// If two metrics had one name: never, since the names are fixed; the tests see to it.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = GaugeVec::new(Opts::new("hapax_build_info", "1, with the version"), &["version"])?;
        build.with_label_values(&[version]).set(1.0);
        registry.register(Box::new(build))?;
        let start = Gauge::new("hapax_up", "1 while the process runs")?;
        start.set(1.0);
        registry.register(Box::new(start))?;
        let counter_vec = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let counter = |name: &str, help: &str| {
            let metric = prometheus::IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge_vec = |name: &str, help: &str, labels: &[&str]| {
            let metric = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let connections = IntGaugeVec::new(
            Opts::new("hapax_connections", "Open connections by who is on the other end"),
            &["kind"],
        )?;
        registry.register(Box::new(connections.clone()))?;
        let anomalies =
            counter_vec("hapax_node_anomalies_total", "Things that should not happen", &["what"])?;
        let closed = counter_vec(
            "hapax_connections_closed_total",
            "Client connections that the node closed, by error code",
            &["code"],
        )?;
        // From the start at zero: an increase from nothing is none, and no alert would see the first.
        for what in Anomaly::ALL {
            anomalies.with_label_values(&[what.name()]);
        }
        for code in ErrorCode::ALL {
            closed.with_label_values(&[code.name()]);
        }
        let score = gauge_vec(
            "hapax_anomaly_score",
            "Standard deviations of the last bucket's share above its own history",
            &["signal"],
        )?;
        let unusual =
            gauge_vec("hapax_anomaly_active", "1 while the score is above the threshold", &["signal"])?;
        for signal in Signal::ALL {
            score.with_label_values(&[signal.name()]);
            unusual.with_label_values(&[signal.name()]);
        }
        Ok(Self {
            operations: Operations::new(&registry)?,
            events: Events::new(&registry)?,
            anomalies,
            proposed_entries: counter("hapax_proposed_entries_total", "Log entries proposed")?,
            proposed_commands: counter("hapax_proposed_commands_total", "Commands proposed in log entries")?,
            connections,
            closed,
            score,
            unusual,
            registry,
        })
    }

    /// A log entry with so many commands was proposed.
    pub fn proposed(&self, commands: usize) {
        self.proposed_entries.inc();
        self.proposed_commands.inc_by(commands as u64);
    }

    /// Something that should not happen did, by its stable name.
    pub fn anomaly(&self, what: &'static str) {
        self.anomalies.with_label_values(&[what]).inc();
    }

    /// The gauge of open connections of a kind: `client`, `http`.
    #[must_use]
    pub fn connections(&self, kind: &'static str) -> prometheus::IntGauge {
        self.connections.with_label_values(&[kind])
    }

    /// The node closed a client connection with this error code.
    pub fn closed(&self, code: &'static str) {
        self.closed.with_label_values(&[code]).inc();
    }

    /// The totals that the anomaly watch compares.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.events.counts(self.operations.total())
    }

    /// Shows what the anomaly watch found.
    pub fn found(&self, findings: &[Finding]) {
        for finding in findings {
            let label = [finding.signal.name()];
            self.score.with_label_values(&label).set(finding.score);
            self.unusual.with_label_values(&label).set(f64::from(u8::from(finding.active)));
        }
    }

    /// Everything as text; `levels` are the figures read just now.
    ///
    /// # Errors
    /// If a family is empty or inconsistent: never with what [`Families`] makes.
    pub fn render(&self, levels: Families) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        families.extend(levels.into_families());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}
