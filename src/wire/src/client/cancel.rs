//! A caller is gone.

use crate::message::message;

/// Nobody waits for this call any more: a claim that is held back by `wait` must not be granted to
/// it. The call is still answered, and an unknown id is ignored, since the answer may be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The call's id.
    pub id: u64,
}
message!(Cancel, CANCEL, CLIENT_FRAME_BYTES, id);
