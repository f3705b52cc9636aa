//! From the configuration to what the consensus layer is told.

use super::world::Tuning;
use crate::config::{Config, Engine};
use crate::placement::{Site, place};
use hapax_raft::config::{NodeConfig, NodeLimits, PeerConfig, Timing};
use hapax_raft::ids::NodeId;
use hapax_raft::layout::Layout;
use hapax_wire::ClusterId;

/// What the consensus layer is told of this node.
pub(super) fn node_config(config: &Config, tuning: &Tuning, node: NodeId) -> NodeConfig {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let peer = |peer: &crate::config::PeerSection| PeerConfig {
        name: peer.name.clone(),
        peer_addr: peer.peer.clone(),
        client_addr: peer.client.clone(),
        zone: peer.zone.clone(),
    };
    NodeConfig {
        cluster: ClusterId(config.cluster_id()),
        node,
        name: config.node.name.clone(),
        peers: config.cluster.nodes.iter().map(peer).collect(),
        engine: match config.storage.engine {
            Engine::Fjall => "fjall",
            Engine::Sled => "sled",
        },
        policies: config.policies.clone(),
        timing: Timing {
            heartbeat_ms: config.timing.heartbeat_ms,
            election_min_ms: config.timing.election_min_ms,
            election_max_ms: config.timing.election_max_ms,
            ..tuning.timing
        },
        limits: NodeLimits {
            queued_calls_per_shard: count(config.limits.queue_calls_per_shard),
            waiters_per_address: count(config.limits.waiters_per_address),
            waiters_per_node: count(config.limits.waiters_per_node),
            log_kept_entries: config.limits.log_entries_per_shard,
            ..tuning.limits
        },
    }
}

/// The first layout of a cluster of these nodes: the same on every node.
pub(super) fn first_layout(config: &Config, nodes: &[(NodeId, String)]) -> Layout {
    let zone = |name: &str| {
        let peer = config.cluster.nodes.iter().find(|peer| peer.name == name);
        peer.map(|peer| peer.zone.clone()).unwrap_or_default()
    };
    let sites: Vec<Site> =
        nodes.iter().map(|(_, name)| Site { name: name.clone(), zone: zone(name) }).collect();
    let table = place(&sites, config.cluster.shards, config.replication());
    let mut sorted = nodes.to_vec();
    sorted.sort_by(|a, b| a.1.cmp(&b.1));
    Layout {
        version: 1,
        replication: config.replication(),
        nodes: sorted,
        table: table
            .into_iter()
            .map(|row| row.into_iter().map(|site| nodes[site].0.replica(0)).collect())
            .collect(),
    }
}
