//! The answer to one call.

use crate::message::message;

/// What a call is answered: exactly one for each, in any order. A writer puts many into one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The call's id.
    pub id: u64,
    /// The reply and its witness.
    pub answer: hapax_core::Answer,
}
message!(Answer, ANSWER, CLIENT_FRAME_BYTES, id, answer);
