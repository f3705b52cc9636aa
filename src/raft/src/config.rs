//! What a node is told before it starts.

use crate::ids::NodeId;
use hapax_core::PolicyTable;
use hapax_wire::ClusterId;

/// One node of the fixed cluster, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its name, unique in the cluster and stable; placement hashes it.
    pub name: String,
    /// Where its peers reach it, `host:port`.
    pub peer_addr: String,
    /// Where clients reach it, `host:port`.
    pub client_addr: String,
    /// Its failure domain; may be empty.
    pub zone: String,
}

/// Who this node is and how it behaves.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node's id, from its data directory.
    pub node: NodeId,
    /// This node's name.
    pub name: String,
    /// Every node of the cluster, this one included.
    pub peers: Vec<PeerConfig>,
    /// The name of the engine that keeps the records, for status and metrics.
    pub engine: &'static str,
    /// All policies.
    pub policies: PolicyTable,
    /// Timings of the consensus.
    pub timing: Timing,
    /// Bounds of queues.
    pub limits: NodeLimits,
}

/// Timings of the consensus, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader tells its followers that it lives.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a follower stands for election; see [`crate::group::election`].
    pub election_min_ms: u64,
    /// The longest.
    pub election_max_ms: u64,
    /// The deadline of one call to a peer, snapshots excepted.
    pub rpc_ms: u64,
    /// The deadline of a whole snapshot transfer.
    pub snapshot_ms: u64,
    /// How long a connection attempt to a peer may take.
    pub connect_ms: u64,
    /// How often a node looks after its groups: snapshots, purging, leader balance.
    pub maintain_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 500,
            election_max_ms: 1_000,
            rpc_ms: 2_000,
            snapshot_ms: 600_000,
            connect_ms: 1_000,
            maintain_ms: 1_000,
        }
    }
}

/// Bounds of a node's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Calls that a shard holds before they are proposed or read; over it, `overloaded`.
    pub queued_calls_per_shard: usize,
    /// Entries of a shard that are proposed and not yet applied. While it is reached, calls gather
    /// into the next entry: this is what makes batches under load.
    pub entries_in_flight: usize,
    /// Callers that wait on one address.
    pub waiters_per_address: usize,
    /// Callers that wait on this node.
    pub waiters_per_node: usize,
    /// Bytes queued to one peer; over it, calls to it fail at once.
    pub peer_queue_bytes: usize,
    /// Log entries kept behind the applied index, so that a follower that was away for a while
    /// catches up from the log instead of a snapshot.
    pub log_kept_entries: u64,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            queued_calls_per_shard: 16_384,
            entries_in_flight: 4,
            waiters_per_address: 1_024,
            waiters_per_node: 100_000,
            peer_queue_bytes: 64 << 20,
            log_kept_entries: 20_000,
        }
    }
}
