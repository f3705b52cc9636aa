//! How a node and its replicas are, for clients, peers and metrics.

use crate::group::Group;
use crate::ids::ReplicaId;
use crate::layout::Layout;
use crate::node::{Node, index_of};
use hapax_store::records::ShardStats;
use hapax_wire::client::{NodeEntry, ReplicaRef, ShardEntry, ShardTable};
use hapax_wire::status::{EngineStatus, Figure, Match, NodeStatus, ShardRole, ShardStatus};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;

/// The figures of one running replica, for metrics.
#[derive(Clone, Debug)]
pub struct GroupStats {
    /// What a status shows of it.
    pub status: ShardStatus,
    /// How far the log time is behind the clock that stamps, ms; absent until the clock is set.
    pub behind_ms: Option<u64>,
    /// Calls that wait to be read or proposed.
    pub queued: usize,
    /// Callers held.
    pub waiters: usize,
    /// The age of the oldest claim in doubt, ms.
    pub oldest_doubt_ms: u64,
    /// The record store's figures.
    pub records: ShardStats,
}

/// Where the shards are and who leads them.
#[must_use]
pub fn table(node: &Node, layout: &Layout) -> ShardTable {
    let shards = (0u32..).zip(&layout.table).map(|(shard, replicas)| ShardEntry {
        shard,
        leader: node.leader_node(shard).map(|leader| leader.as_u64()),
        replicas: replicas
            .iter()
            .map(|replica| ReplicaRef { node: replica.node().as_u64(), replica: replica.as_u64() })
            .collect(),
    });
    let nodes = layout.nodes.iter().map(|(id, name)| {
        let config = node.context().links.config_of(*id);
        NodeEntry {
            id: id.as_u64(),
            name: name.clone(),
            client_addr: config.map(|config| config.client_addr.clone()).unwrap_or_default(),
            zone: config.map(|config| config.zone.clone()).unwrap_or_default(),
        }
    });
    ShardTable { version: layout.version, shards: shards.collect(), nodes: nodes.collect() }
}

/// How a node is.
#[must_use]
pub fn node(node: &Node, uptime_ms: u64) -> NodeStatus {
    let context = node.context();
    let mut shards: Vec<ShardStatus> = node.groups().iter().map(|group| group_stats(group).status).collect();
    shards.extend(
        node.troubles().into_iter().map(|(placement, _)| stopped(placement.shard, placement.replica)),
    );
    shards.sort_by_key(|shard| shard.shard);
    shards.dedup_by_key(|shard| shard.shard);
    let log = context.log.stats();
    let figure = |name: &str, value: u64| Figure { name: name.to_owned(), value };
    NodeStatus {
        node: context.config.node.as_u64(),
        name: context.config.name.clone(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms,
        shards,
        engine: EngineStatus {
            name: context.engine.to_owned(),
            figures: vec![figure("size_bytes", context.records.size_bytes())],
        },
        log: vec![
            figure("segments_live", log.segments_live),
            figure("live_bytes", log.live_bytes),
            figure("quarantined_groups", log.quarantined_groups),
        ],
    }
}

/// The figures of one running replica.
#[must_use]
pub fn group_stats(group: &Group) -> GroupStats {
    let metrics = group.raft().metrics().borrow_watched().clone();
    let shard = group.shard();
    let stats = shard.records.stats();
    let (state, waiters) = {
        let applied = shard.applied.lock();
        (applied.state, applied.waiters.len())
    };
    let boot_ms = shard.env.clock.boot_ms();
    let clock = shard.clock.lock().at_rate_one(boot_ms);
    let (in_doubt, oldest) = shard.records.in_doubt(clock.unwrap_or(state.time));
    let now = clock.unwrap_or(state.time);
    let matches = metrics.replication.as_ref().map(|replication| {
        let matched = |(id, at): (&u64, &Option<crate::types::RaftLogId>)| Match {
            replica: *id,
            index: index_of(at.as_ref()),
        };
        replication.iter().map(matched).collect()
    });
    let status = ShardStatus {
        shard: group.placement().shard,
        replica: group.placement().replica.as_u64(),
        role: role(metrics.state),
        leader: metrics.current_leader.map(|leader| ReplicaId::from_u64(leader).node().as_u64()),
        term: metrics.current_term,
        last_index: metrics.last_log_index.unwrap_or(0),
        committed_index: index_of(metrics.local_committed.as_ref()),
        applied_index: state.index,
        purged_index: index_of(metrics.purged.as_ref()),
        time: state.time,
        records: stats.counts.total(),
        in_doubt: u64::try_from(in_doubt).unwrap_or(u64::MAX),
        digest: state.digest.to_le_bytes(),
        matches: matches.unwrap_or_default(),
    };
    GroupStats {
        status,
        behind_ms: clock.map(|clock| clock.0.saturating_sub(state.time.0)),
        queued: group.driver().queued(),
        waiters,
        oldest_doubt_ms: oldest.map_or(0, |since| now.0.saturating_sub(since.0)),
        records: stats,
    }
}

fn stopped(shard: u32, replica: ReplicaId) -> ShardStatus {
    ShardStatus {
        shard,
        replica: replica.as_u64(),
        role: ShardRole::Stopped,
        leader: None,
        term: 0,
        last_index: 0,
        committed_index: 0,
        applied_index: 0,
        purged_index: 0,
        time: hapax_core::LogTime::ZERO,
        records: 0,
        in_doubt: 0,
        digest: [0; 16],
        matches: Vec::new(),
    }
}

fn role(state: ServerState) -> ShardRole {
    match state {
        ServerState::Leader => ShardRole::Leader,
        ServerState::Follower => ShardRole::Follower,
        ServerState::Learner => ShardRole::Learner,
        ServerState::Candidate => ShardRole::Candidate,
        ServerState::Shutdown => ShardRole::Stopped,
    }
}
