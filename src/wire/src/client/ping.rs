//! Whether a connection is alive.

use crate::message::message;

/// Asks for a [`Pong`] with the same nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Names the question.
    pub nonce: u64,
}
message!(Ping, PING, CLIENT_FRAME_BYTES, nonce);

/// The answer to a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The question's.
    pub nonce: u64,
}
message!(Pong, PONG, CLIENT_FRAME_BYTES, nonce);
