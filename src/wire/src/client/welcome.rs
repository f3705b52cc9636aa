//! The node's answer to a client's hello.

use crate::cluster::ClusterId;
use crate::codec::fields;
use crate::limits::{self, NAME_BYTES};
use crate::message::message;

/// The handshake is done; from here on frames up to [`limits::CLIENT_FRAME_BYTES`] may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version spoken on this connection: the highest that both speak.
    pub version: u16,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node's id.
    pub node: u64,
    /// The node's name; at most 64 bytes.
    pub node_name: String,
    /// The version of the shard table that it has; 0 while it has none.
    pub table_version: u64,
    /// What it takes.
    pub limits: Limits,
}
fields!(Welcome { version, cluster, node, node_name: NAME_BYTES, table_version, limits });
message!(Welcome, WELCOME, HANDSHAKE_BYTES);

/// What a node takes on one client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest frame, header included, bytes.
    pub frame_bytes: u32,
    /// Calls in one frame.
    pub calls: u32,
    /// Calls in flight; more are answered `overloaded`.
    pub in_flight: u32,
}
fields!(Limits { frame_bytes, calls, in_flight });

impl Default for Limits {
    fn default() -> Self {
        let number = |bound: usize| u32::try_from(bound).unwrap_or(u32::MAX);
        Self {
            frame_bytes: number(limits::CLIENT_FRAME_BYTES),
            calls: number(limits::CALLS),
            in_flight: number(limits::IN_FLIGHT),
        }
    }
}
