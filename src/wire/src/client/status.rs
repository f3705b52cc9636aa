//! How a node is, for a client.

use crate::message::message;
use crate::status::NodeStatus;

/// Asks for a [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusAsk {
    /// Names the question, among this connection's calls and questions in flight.
    pub id: u64,
}
message!(StatusAsk, STATUS_ASK, CLIENT_FRAME_BYTES, id);

/// The answer to a [`StatusAsk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The question's.
    pub id: u64,
    /// How the node is.
    pub status: NodeStatus,
}
message!(Status, STATUS, CLIENT_FRAME_BYTES, id, status);
