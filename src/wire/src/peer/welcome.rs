//! A node's answer to another node's hello.

use crate::cluster::ClusterId;
use crate::codec::fields;
use crate::limits::NAME_BYTES;
use crate::message::message;

/// The handshake is done; from here on frames up to [`crate::limits::PEER_FRAME_BYTES`] may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerWelcome {
    /// The version spoken on this connection: the highest that both speak.
    pub version: u16,
    /// The answering node's cluster; absent before it has one.
    pub cluster: Option<ClusterId>,
    /// Its id.
    pub node: u64,
    /// Its name; at most 64 bytes.
    pub name: String,
}
fields!(PeerWelcome { version, cluster, node, name: NAME_BYTES });
message!(PeerWelcome, PEER_WELCOME, HANDSHAKE_BYTES);
