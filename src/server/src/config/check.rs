//! The rules of the fields, and what follows from others.

use super::error::FieldError;
use super::schema::Config;
use hapax_core::PolicyTable;
use hapax_core::limits;
use hapax_core::policy::{Policies, Policy, PolicyError, PolicyRule};
use std::collections::HashSet;
use std::net::SocketAddr;

/// The numbers of nodes that a fixed cluster may have.
const NODE_COUNTS: [usize; 4] = [1, 3, 5, 7];

impl Config {
    /// Fills in what was left out and follows from other fields.
    pub(super) fn fill(&mut self) {
        let replication = if self.cluster.nodes.len() < 3 { 1 } else { 3 };
        self.cluster.replication.get_or_insert(replication);
    }

    /// Replicas of each shard.
    #[must_use]
    pub fn replication(&self) -> u8 {
        self.cluster.replication.unwrap_or(1)
    }

    /// The cluster's id.
    ///
    /// A checked configuration has one; all-zero stands for one that was never checked.
    #[must_use]
    pub fn cluster_id(&self) -> [u8; 16] {
        parse_id(&self.cluster.id).unwrap_or_default()
    }

    /// Every broken rule.
    pub(super) fn check(&self) -> Vec<FieldError> {
        let mut errors = Errors::default();
        self.check_node(&mut errors);
        self.check_cluster(&mut errors);
        self.check_peers(&mut errors);
        self.check_timing(&mut errors);
        self.check_bounds(&mut errors);
        self.check_policies(&mut errors);
        errors.0
    }

    fn check_node(&self, errors: &mut Errors) {
        errors.that(is_name(&self.node.name), "node.name", NAME_RULE);
        errors.that(
            self.cluster.nodes.iter().any(|peer| peer.name == self.node.name),
            "node.name",
            "is not among cluster.nodes",
        );
        errors.that(!self.node.data_dir.as_os_str().is_empty(), "node.data_dir", "is empty");
        let threads = self.node.threads.unwrap_or(1);
        errors.that((1..=1024).contains(&threads), "node.threads", "is not between 1 and 1024");
        let listens = [
            ("node.client_listen", &self.node.client_listen),
            ("node.peer_listen", &self.node.peer_listen),
            ("http.listen", &self.http.listen),
        ];
        let mut seen: Vec<SocketAddr> = Vec::new();
        for (field, text) in listens {
            match text.parse::<SocketAddr>() {
                Err(_) => errors.add(field, "is not ip:port (0.0.0.0:7401, [::]:7401)"),
                Ok(address) if address.port() != 0 && seen.contains(&address) => {
                    errors.add(field, "is used by another listener of this node");
                }
                Ok(address) => seen.push(address),
            }
        }
        let level = self.log.level.parse::<tracing_subscriber::filter::Targets>();
        errors.that(level.is_ok(), "log.level", "is not a level or a list of directives");
    }

    fn check_cluster(&self, errors: &mut Errors) {
        let id = parse_id(&self.cluster.id);
        errors.that(id.is_some_and(|id| id != [0; 16]), "cluster.id", "is not 32 hex digits, or all zero");
        errors.that(
            (1..=limits::SHARDS).contains(&self.cluster.shards),
            "cluster.shards",
            "is not between 1 and 1024",
        );
        let nodes = self.cluster.nodes.len();
        errors.that(NODE_COUNTS.contains(&nodes), "cluster.nodes", "must be 1, 3, 5 or 7 nodes");
        let replication = self.replication();
        errors.that(
            replication % 2 == 1 && usize::from(replication) <= nodes.max(1),
            "cluster.replication",
            "must be odd, and at most the number of nodes",
        );
    }

    fn check_peers(&self, errors: &mut Errors) {
        let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
        for (i, peer) in self.cluster.nodes.iter().enumerate() {
            let field = |name: &str| format!("cluster.nodes[{i}].{name}");
            errors.that(is_name(&peer.name), field("name"), NAME_RULE);
            errors.that(names.insert(&peer.name), field("name"), "is given twice");
            for (name, address) in [("peer", &peer.peer), ("client", &peer.client)] {
                errors.that(is_host_port(address), field(name), "is not host:port");
                errors.that(addresses.insert(address), field(name), "is given twice");
            }
            errors.that(peer.zone.is_empty() || is_name(&peer.zone), field("zone"), NAME_RULE);
        }
    }

    fn check_timing(&self, errors: &mut Errors) {
        let timing = &self.timing;
        errors.that(
            (10..=60_000).contains(&timing.heartbeat_ms),
            "timing.heartbeat_ms",
            "is not between 10 and 60000",
        );
        errors.that(
            timing.election_min_ms >= timing.heartbeat_ms.saturating_mul(3),
            "timing.election_min_ms",
            "is less than three heartbeats",
        );
        errors.that(
            timing.election_max_ms > timing.election_min_ms && timing.election_max_ms <= 600_000,
            "timing.election_max_ms",
            "is not above election_min_ms, or above 600000",
        );
        errors.that(timing.shutdown_ms <= 600_000, "timing.shutdown_ms", "is above 600000");
    }

    fn check_bounds(&self, errors: &mut Errors) {
        let limits = &self.limits;
        let bounded: [(&str, u64, u64, u64); 13] = [
            ("storage.segment_bytes", self.storage.segment_bytes, 48 << 20, 1 << 30),
            ("storage.reserve_bytes", self.storage.reserve_bytes, 0, 1 << 50),
            ("storage.cache_bytes_per_shard", self.storage.cache_bytes_per_shard, 64 << 10, 1 << 30),
            ("limits.connections", limits.connections.into(), 1, 1_000_000),
            ("limits.calls_per_connection", limits.calls_per_connection.into(), 1, 65_536),
            ("limits.reply_bytes_per_connection", limits.reply_bytes_per_connection, 2 << 20, 1 << 30),
            ("limits.queue_calls_per_shard", limits.queue_calls_per_shard.into(), 1, 1 << 20),
            ("limits.log_entries_per_shard", limits.log_entries_per_shard, 16, 10_000_000),
            ("limits.waiters_per_address", limits.waiters_per_address.into(), 1, 65_536),
            ("limits.waiters_per_node", limits.waiters_per_node.into(), 1, 10_000_000),
            ("http.connections", self.http.connections.into(), 1, 65_536),
            ("http.connection_ms", self.http.connection_ms, 100, 600_000),
            ("anomaly.bucket_ms", self.anomaly.bucket_ms, 100, 3_600_000),
        ];
        for (field, value, min, max) in bounded {
            errors.that((min..=max).contains(&value), field, format!("is not between {min} and {max}"));
        }
        errors.that(
            self.storage.segment_bytes.is_multiple_of(65_536),
            "storage.segment_bytes",
            "is not a multiple of 65536",
        );
        errors.that(
            (10..=100_000).contains(&self.anomaly.history_buckets),
            "anomaly.history_buckets",
            "is not between 10 and 100000",
        );
        errors.that(
            self.anomaly.threshold.is_finite() && self.anomaly.threshold >= 1.0,
            "anomaly.threshold",
            "is not a number of at least 1",
        );
    }

    /// The protocol's own rules of policies, each policy by itself so that all are told.
    fn check_policies(&self, errors: &mut Errors) {
        if let Err(invalid) = self.policies.default.check() {
            errors.add(format!("policies.default.{}", invalid.field), invalid.why);
        }
        let alone = |rule: &PolicyRule| PolicyTable { rules: vec![rule.clone()], ..PolicyTable::default() };
        let mut any = false;
        for (i, rule) in self.policies.rules.iter().enumerate() {
            if let Err(error) = Policies::new(&alone(rule)) {
                any = true;
                errors.add(format!("policies.rules[{i}].{}", error.invalid.field), error.invalid.why);
            }
        }
        // What is wrong only between rules, such as one that comes twice.
        let between = Policies::new(&PolicyTable { default: Policy::default(), ..self.policies.clone() });
        if let (false, Err(PolicyError { rule: Some(i), invalid })) = (any, between) {
            errors.add(format!("policies.rules[{i}].{}", invalid.field), invalid.why);
        }
    }
}

const NAME_RULE: &str = "is not 1 to 64 of a-z 0-9 . _ -";

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// `host:port`, with a port that can be dialled.
fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && host.len() <= 255
            && (bracketed || !host.contains(':'))
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// Reads 32 hex digits.
fn parse_id(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Collects broken rules.
#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn that(&mut self, holds: bool, field: impl Into<String>, why: impl Into<String>) {
        if !holds {
            self.add(field, why);
        }
    }

    fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push(FieldError::new(field, why));
    }
}
