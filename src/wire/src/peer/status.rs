//! How a node is, for its peers.

use super::body::body;
use crate::codec::fields;
use crate::status::NodeStatus;
use bincode::{Decode, Encode};

/// Asks for a [`PeerStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PeerStatusAsk;
body!(PeerStatusAsk, PEER_STATUS_ASK);

/// The reply to a [`PeerStatusAsk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// How the node is.
    pub status: NodeStatus,
}
fields!(PeerStatus { status });
body!(PeerStatus, PEER_STATUS);
