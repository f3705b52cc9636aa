//! What all groups of a node share.

use crate::config::NodeConfig;
use crate::env::Env;
use crate::ids::ReplicaId;
use crate::observe::Observer;
use crate::peer::links::Links;
use crate::serve::driver::LeaderHints;
use crate::time::keep::Keeper;
use crate::time::readings::Readings;
use hapax_core::policy::Policies;
use hapax_store::log::{GroupId, Log};
use hapax_store::records::RecordStore;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::sync::Semaphore;

/// What all groups of a node share.
pub struct Context {
    /// The configuration.
    pub config: NodeConfig,
    /// The policies, checked and indexed.
    pub policies: Policies,
    /// Whether any policy has a quota.
    pub has_quotas: bool,
    /// Clocks and randomness.
    pub env: Env,
    /// The log of all groups.
    pub log: Log,
    /// The records of all groups.
    pub records: RecordStore,
    /// The name of the engine that keeps them.
    pub engine: &'static str,
    /// The ways to the peers.
    pub links: Arc<Links>,
    /// The peers' wall clocks.
    pub readings: Arc<Mutex<Readings>>,
    /// The shards' log times, which outlive replicas and the process.
    pub clocks: Arc<Keeper>,
    /// Callers held on this node.
    pub waiters: Arc<AtomicUsize>,
    /// Places for looks of this node into its engine.
    pub looks: Arc<Semaphore>,
    /// Who leads which shard, as far as this node knows.
    pub hints: LeaderHints,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// How many data shards the cluster has.
    pub shards: u32,
}

/// One replica that this node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The shard.
    pub shard: u32,
    /// This node's member.
    pub replica: ReplicaId,
    /// All members, the preferred leader first.
    pub members: Vec<ReplicaId>,
}

impl Placement {
    /// Its part of the node's log and records.
    #[must_use]
    pub fn log_group(&self) -> GroupId {
        GroupId { shard: self.shard, replica: self.replica.as_u64() }
    }
}
