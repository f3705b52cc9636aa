//! The bounds of the wire. Sizes in bytes, a frame's with its header.

use hapax_core::limits::SHARDS;

/// A frame's header.
pub const HEADER_BYTES: usize = 12;
/// Any frame before the handshake is done.
pub const HANDSHAKE_BYTES: usize = 4 * 1024;
/// A frame between a client and a node.
pub const CLIENT_FRAME_BYTES: usize = 1024 * 1024;
/// A frame between nodes.
pub const PEER_FRAME_BYTES: usize = 8 * 1024 * 1024;
/// How long a handshake may take, ms.
pub const HANDSHAKE_MS: u64 = 2_000;
/// Operations in flight on one client connection.
pub const IN_FLIGHT: usize = 4096;

/// Calls in one frame.
pub const CALLS: usize = 1024;
/// What a call costs in its frame beside the request itself.
pub const CALL_HEAD_BYTES: usize = 16;

/// The name of a client or a node.
pub const NAME_BYTES: usize = 64;
/// A client's credentials.
pub const CREDENTIALS_BYTES: usize = 2 * 1024;
/// An address to connect to, `host:port`.
pub const ADDR_BYTES: usize = 260;
/// A failure domain's label.
pub const ZONE_BYTES: usize = 64;
/// A software version.
pub const SOFTWARE_BYTES: usize = 64;

/// Nodes of a cluster.
pub const NODES: usize = 256;
/// Replicas of one shard, learners included.
pub const REPLICAS: usize = 16;
/// Raft groups: every data shard and the meta group.
pub const GROUPS: usize = SHARDS as usize + 1;

/// Entries in one append.
pub const ENTRIES: usize = 4096;
/// What an entry costs in its append beside the payload.
pub const ENTRY_HEAD_BYTES: usize = 20;
/// The entries of one append with their heads; what is left of the frame is the append's own head.
pub const APPEND_BYTES: usize = PEER_FRAME_BYTES - 1024;
/// One chunk of a snapshot.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// A group's membership as the consensus layer encodes it.
pub const MEMBERSHIP_BYTES: usize = 16 * 1024;
/// The name of a snapshot.
pub const SNAPSHOT_ID_BYTES: usize = 128;
/// Places of one shard whose digests are compared at one time.
pub const DIGESTS: usize = 16;
/// Why a peer refused something.
pub const REFUSAL_BYTES: usize = 512;

/// Named figures in one part of a status.
pub const FIGURES: usize = 64;
/// The name of such a figure.
pub const FIGURE_NAME_BYTES: usize = 64;
