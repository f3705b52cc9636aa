//! The fields, their units and their defaults.

use hapax_core::PolicyTable;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that a node is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This node.
    pub node: NodeSection,
    /// The cluster that it belongs to.
    pub cluster: ClusterSection,
    /// What is kept on disk, and how.
    #[serde(default)]
    pub storage: StorageSection,
    /// Heartbeats and elections.
    #[serde(default)]
    pub timing: TimingSection,
    /// The bounds.
    #[serde(default)]
    pub limits: LimitsSection,
    /// Metrics and health.
    #[serde(default)]
    pub http: HttpSection,
    /// The log of the process.
    #[serde(default)]
    pub log: LogSection,
    /// When a rate is told to be unlike its own history.
    #[serde(default)]
    pub anomaly: AnomalySection,
    /// The policies, by tenant and operation. The same on every node.
    #[serde(default)]
    pub policies: PolicyTable,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// Its name among `cluster.nodes`.
    pub name: String,
    /// Where everything that it must not lose is kept; one directory a node, never shared or copied.
    pub data_dir: PathBuf,
    /// Where clients are accepted, `ip:port`. There is no authentication yet: keep it private.
    #[serde(default = "default_client_listen")]
    pub client_listen: String,
    /// Where the other nodes are accepted, `ip:port`.
    #[serde(default = "default_peer_listen")]
    pub peer_listen: String,
    /// Threads that run the node's tasks, 1–1024; as many as the machine has cores where absent. Nodes that share
    /// a machine do best with a share of its cores each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u16>,
}

fn default_client_listen() -> String {
    "127.0.0.1:7401".to_owned()
}

fn default_peer_listen() -> String {
    "127.0.0.1:7411".to_owned()
}

/// The cluster; the same on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSection {
    /// 32 hex digits, drawn once for the cluster (`openssl rand -hex 16`): nodes and clients of
    /// another cluster are turned away by it.
    pub id: String,
    /// How many shards the keys are spread over, 1–1024; fixed when the cluster is made. As many as nodes where
    /// absent.
    pub shards: u32,
    /// Replicas of each shard: odd and at most the number of nodes. 3 where absent, 1 with one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<u8>,
    /// All nodes, this one included: 1, 3, 5 or 7.
    pub nodes: Vec<PeerSection>,
}

/// One node as the others and the clients reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// Its name, 1–64 of `a-z 0-9 . _ -`. It decides placement: never change it.
    pub name: String,
    /// Where the other nodes reach it, `host:port`.
    pub peer: String,
    /// Where clients reach it, `host:port`.
    pub client: String,
    /// Its failure domain; replicas of a shard are spread over zones. Empty: none.
    #[serde(default)]
    pub zone: String,
}

/// The record store's engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// A log-structured merge tree: faster, and gives deleted space back.
    #[default]
    Fjall,
    /// A copy-on-write tree: kept as an alternative; see the documentation for why not to.
    Sled,
}

/// What is kept on disk, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSection {
    /// The record store's engine; fixed when the data directory is made.
    pub engine: Engine,
    /// The size of a log segment file, bytes.
    pub segment_bytes: u64,
    /// Writes are refused while less than this is free on the file system, bytes.
    pub reserve_bytes: u64,
    /// Log bytes of each shard kept in memory for followers that lag a little.
    pub cache_bytes_per_shard: u64,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self {
            engine: Engine::default(),
            segment_bytes: 64 << 20,
            reserve_bytes: 256 << 20,
            cache_bytes_per_shard: 4 << 20,
        }
    }
}

/// Heartbeats and elections; the same on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimingSection {
    /// Between two heartbeats of a leader, ms.
    pub heartbeat_ms: u64,
    /// A follower that hears nothing from its leader stands for election at the earliest after so long, ms;
    /// not before half of the longest and one heartbeat.
    pub election_min_ms: u64,
    /// And at the latest after so long, ms.
    pub election_max_ms: u64,
    /// How long a stopping node has to hand its leaderships over and drain, ms.
    pub shutdown_ms: u64,
}

impl Default for TimingSection {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_min_ms: 500, election_max_ms: 1000, shutdown_ms: 10_000 }
    }
}

/// The bounds; over one, a caller gets a definite error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// Client connections at once.
    pub connections: u32,
    /// Operations in flight on one client connection.
    pub calls_per_connection: u32,
    /// Reply bytes that may wait for one slow reader before it is cut off.
    pub reply_bytes_per_connection: u64,
    /// Calls queued for one shard.
    pub queue_calls_per_shard: u32,
    /// Log entries of a shard kept behind what is durable elsewhere: a follower that was away for
    /// longer is sent a snapshot.
    pub log_entries_per_shard: u64,
    /// Callers waiting for one address.
    pub waiters_per_address: u32,
    /// Callers waiting on this node.
    pub waiters_per_node: u32,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            connections: 10_000,
            calls_per_connection: 4096,
            reply_bytes_per_connection: 16 << 20,
            queue_calls_per_shard: 16_384,
            log_entries_per_shard: 20_000,
            waiters_per_address: 1024,
            waiters_per_node: 100_000,
        }
    }
}

/// Metrics and health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSection {
    /// Where `/metrics`, `/healthz` and `/readyz` are served, `ip:port`.
    pub listen: String,
    /// Connections at once.
    pub connections: u32,
    /// How long one connection may last, ms.
    pub connection_ms: u64,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7421".to_owned(), connections: 64, connection_ms: 5_000 }
    }
}

/// How the log of the process is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One line of text an event.
    #[default]
    Human,
    /// One JSON object an event.
    Json,
}

/// The log of the process; it goes to stderr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// How it is written.
    pub format: LogFormat,
    /// What is written: `error`, `warn`, `info`, `debug`, `trace`, or directives such as
    /// `info,hapax_raft=debug`.
    pub level: String,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned() }
    }
}

/// When the rate of mismatches, takeovers or fenced verbs is told to be unlike its own history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnomalySection {
    /// How long one count lasts, ms.
    pub bucket_ms: u64,
    /// Over about so many counts the history reaches back.
    pub history_buckets: u32,
    /// So many standard deviations above its history is an anomaly.
    pub threshold: f64,
}

impl Default for AnomalySection {
    fn default() -> Self {
        Self { bucket_ms: 10_000, history_buckets: 360, threshold: 4.0 }
    }
}
