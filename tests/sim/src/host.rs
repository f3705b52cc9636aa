//! The process on a machine: a node from its configuration to its end.

use crate::machine::{End, Machine};
use crate::plan::Plan;
use crate::site::RESERVE_BYTES;
use hapax_core::PolicyTable;
use hapax_server::config::{
    AnomalySection, ClusterSection, Config, Engine, HttpSection, LimitsSection, LogSection, NodeSection,
    PeerSection, StorageSection, TimingSection,
};
use hapax_server::server::{Ports, Running, Tuning};
use hapax_store::log::LogConfig;
use hapax_store::records::RecordConfig;
use hapax_tests::workload::policy;
use std::sync::Arc;

/// The length of a log segment: short, so that they are rolled, given up and used again.
const SEGMENT_BYTES: u64 = 2 << 20;

/// What all nodes of a cluster are told alike.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// How many nodes.
    pub nodes: usize,
    /// How many shards.
    pub shards: u32,
    /// Heartbeats and elections.
    pub timing: TimingSection,
    /// The length of a log segment.
    pub segment_bytes: u64,
    /// Log entries kept for followers.
    pub log_kept: u64,
    /// All policies.
    pub policies: PolicyTable,
}

/// The name of a node and its host.
#[must_use]
pub fn node_name(i: usize) -> String {
    format!("node-{}", i + 1)
}

/// Where clients reach a node.
#[must_use]
pub fn client_addr(i: usize) -> String {
    format!("{}:7401", node_name(i))
}

impl Cluster {
    /// The cluster of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            nodes: plan.nodes,
            shards: plan.shards,
            timing: TimingSection { shutdown_ms: 3_000, ..TimingSection::default() },
            segment_bytes: SEGMENT_BYTES,
            log_kept: plan.log_kept,
            policies: policy::table(plan.scale),
        }
    }

    /// Bounds that suit a small and short life: little segments, and looking after them often.
    #[must_use]
    pub fn tuning(&self) -> Tuning {
        Tuning {
            log: LogConfig {
                block_bytes: 512,
                entry_bytes_max: 512 << 10,
                write_bytes_max: 256 << 10,
                rewrite_bytes_max: 64 << 10,
                recycled_segments_max: 2,
                live_segments_max: 3,
                ..LogConfig::default()
            },
            records: RecordConfig {
                batch_ms: 200,
                idle_ms: 1_000,
                sync_ms: 400,
                cache_bytes_max: 64 << 10,
                ..RecordConfig::default()
            },
            ..Tuning::default()
        }
    }

    /// The configuration of one node.
    #[must_use]
    pub fn config(&self, i: usize) -> Config {
        let peer = |i: usize| PeerSection {
            name: node_name(i),
            peer: format!("{}:7411", node_name(i)),
            client: client_addr(i),
            zone: String::new(),
        };
        Config {
            node: NodeSection {
                name: node_name(i),
                data_dir: "/node".into(),
                client_listen: "0.0.0.0:7401".to_owned(),
                peer_listen: "0.0.0.0:7411".to_owned(),
                threads: None,
            },
            cluster: ClusterSection {
                id: "00112233445566778899aabbccddeeff".to_owned(),
                shards: self.shards,
                replication: Some(3),
                nodes: (0..self.nodes).map(peer).collect(),
            },
            storage: StorageSection {
                engine: Engine::Fjall,
                segment_bytes: self.segment_bytes,
                reserve_bytes: RESERVE_BYTES,
                cache_bytes_per_shard: 16 << 10,
            },
            timing: self.timing.clone(),
            limits: LimitsSection { log_entries_per_shard: self.log_kept, ..LimitsSection::default() },
            http: HttpSection { listen: "0.0.0.0:7421".to_owned(), ..HttpSection::default() },
            log: LogSection::default(),
            anomaly: AnomalySection::default(),
            policies: self.policies.clone(),
        }
    }
}

/// Runs the node until it is told to stop, or ends for another reason.
pub async fn run(machine: Arc<Machine>, config: Config) -> turmoil::Result {
    let (world, stop) = machine.begin();
    let ports = match Ports::bind(&config).await {
        Ok(ports) => ports,
        Err(error) => {
            machine.ended(End::Refused(format!("{error:#}")));
            return Ok(());
        }
    };
    let started = Box::pin(Running::start(config, world, ports, stop.clone())).await;
    let end = match started {
        Ok(Some(running)) => {
            machine.serves(running.node());
            stop.requested().await;
            match Box::pin(running.stop()).await {
                Ok(()) => End::Stopped,
                Err(error) => End::StoppedBadly(format!("{error:#}")),
            }
        }
        Ok(None) => End::Stopped,
        Err(error) => End::Refused(format!("{error:#}")),
    };
    machine.ended(end);
    Ok(())
}
