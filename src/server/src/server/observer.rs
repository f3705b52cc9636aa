//! What a node tells its metrics.

use crate::metrics::Metrics;
use hapax_core::{Answer, Event};
use hapax_raft::observe::{Anomaly, Observer};

impl Observer for Metrics {
    fn answered(&self, _shard: u32, verb: &'static str, answer: &Answer, latency_us: u64) {
        self.operations.answered(verb, &answer.reply, latency_us);
    }

    fn proposed(&self, _shard: u32, commands: usize) {
        Metrics::proposed(self, commands);
    }

    fn event(&self, _shard: u32, event: &Event, first: bool) {
        self.events.happened(event, first);
    }

    fn anomaly(&self, shard: u32, what: Anomaly) {
        tracing::warn!(shard, what = what.name(), "something happened that should not");
        Metrics::anomaly(self, what.name());
    }
}
