//! The number of every message, the fifth byte of its frame. Frozen once released, and never used
//! again for something else. Clients and peers have ranges of their own, so that a connection to
//! the wrong port is refused by the first frame.

/// Client to node: who is there, and which versions it speaks.
pub const HELLO: u8 = 1;
/// Node to client: the handshake is done.
pub const WELCOME: u8 = 2;
/// Either way, on client and peer connections: why the connection is closed.
pub const ERROR: u8 = 3;
/// Client to node: operations.
pub const CALLS: u8 = 4;
/// Node to client: the answer to one operation.
pub const ANSWER: u8 = 5;
/// Client to node: a caller is gone.
pub const CANCEL: u8 = 6;
/// Client to node: asks for the shard table.
pub const TABLE_ASK: u8 = 7;
/// Node to client: the shard table.
pub const TABLE: u8 = 8;
/// Client to node: asks how the node is.
pub const STATUS_ASK: u8 = 9;
/// Node to client: how the node is.
pub const STATUS: u8 = 10;
/// Client to node: is the connection alive.
pub const PING: u8 = 11;
/// Node to client: it is.
pub const PONG: u8 = 12;

/// Peers: who is there, and which versions it speaks.
pub const PEER_HELLO: u8 = 64;
/// Peers: the handshake is done.
pub const PEER_WELCOME: u8 = 65;
/// Peers: log entries.
pub const APPEND: u8 = 66;
/// Peers: how far they were taken.
pub const APPEND_REPLY: u8 = 67;
/// Peers: asks for a vote.
pub const VOTE: u8 = 68;
/// Peers: the vote.
pub const VOTE_REPLY: u8 = 69;
/// Peers: the heartbeats of all groups.
pub const BEATS: u8 = 70;
/// Peers: what the groups say to them.
pub const BEAT_REPLIES: u8 = 71;
/// Peers: asks for the wall clock.
pub const CLOCK: u8 = 72;
/// Peers: the wall clock.
pub const CLOCK_REPLY: u8 = 73;
/// Peers: a snapshot begins.
pub const SNAPSHOT_OPEN: u8 = 74;
/// Peers: a part of a snapshot.
pub const SNAPSHOT_CHUNK: u8 = 75;
/// Peers: a snapshot is complete.
pub const SNAPSHOT_END: u8 = 76;
/// Peers: whether the snapshot was taken.
pub const SNAPSHOT_REPLY: u8 = 77;
/// Peers: asks a replica to take over as leader.
pub const TRANSFER: u8 = 78;
/// Peers: whether it will try.
pub const TRANSFER_REPLY: u8 = 79;
/// Peers: operations of clients for the leader.
pub const FORWARD: u8 = 80;
/// Peers: the answers to them.
pub const FORWARD_REPLIES: u8 = 81;
/// Peers: asks for the roster of the cluster.
pub const ROSTER_ASK: u8 = 82;
/// Peers: the roster, where there is one.
pub const ROSTER_REPLY: u8 = 83;
/// Peers: asks how the node is.
pub const PEER_STATUS_ASK: u8 = 84;
/// Peers: how the node is.
pub const PEER_STATUS: u8 = 85;
/// Peers: the answer to a request that cannot be served or is not known.
pub const REFUSED: u8 = 86;
/// Peers: asks for a snapshot of a shard.
pub const SNAPSHOT_ASK: u8 = 87;
/// Peers: asks for digests of applied state.
pub const DIGESTS_ASK: u8 = 88;
/// Peers: the digests.
pub const DIGESTS: u8 = 89;
/// Peers: callers of forwarded operations are gone.
pub const FORWARD_CANCEL: u8 = 90;
