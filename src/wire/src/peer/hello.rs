//! The first frame of a dialling node.

use crate::cluster::ClusterId;
use crate::codec::fields;
use crate::limits::NAME_BYTES;
use crate::message::message;
use crate::version::Versions;
use hapax_core::tagged;

/// What a connection between nodes is for. The tags are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Everything but snapshots.
    Control,
    /// Snapshots, so that their bulk never delays a heartbeat.
    Snapshot,
}
tagged!(Channel { 1 => Control, 2 => Snapshot });

/// Who is there. Has the same bytes in every version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHello {
    /// The versions that the node speaks.
    pub versions: Versions,
    /// Its cluster; absent before it has one.
    pub cluster: Option<ClusterId>,
    /// Its id.
    pub node: u64,
    /// Its name; at most 64 bytes.
    pub name: String,
    /// What the connection is for.
    pub channel: Channel,
}
fields!(PeerHello { versions, cluster, node, name: NAME_BYTES, channel });
message!(PeerHello, PEER_HELLO, HANDSHAKE_BYTES);
