//! Why a connection is closed.

use crate::codec::fields;
use crate::message::message;
use hapax_core::Refusal;

/// The last frame before a side closes, on client and peer connections. Has the same bytes in
/// every version. It says nothing about calls in flight: those have an unknown outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub refusal: Refusal,
}
fields!(Error { refusal });
message!(Error, ERROR, HANDSHAKE_BYTES);

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self { refusal }
    }
}
