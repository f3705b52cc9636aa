//! The frame form.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of the body, u32 little-endian |
//! | 4 | the message's [`crate::kind`] |
//! | 5 | the frame form, [`FORM`] |
//! | 6..8 | check of bytes 0..6: the low half of their crc32c, little-endian |
//! | 8..12 | crc32c of bytes 0..8 and the body, little-endian |
//! | 12.. | the body |
//!
//! The header has a check of its own, so that a stream which is not ours (or has slipped) is told
//! at once and its bytes are never taken for a length to wait for.

mod decoder;
mod header;

pub use decoder::Decoder;
pub use header::FORM;
pub(crate) use header::{finish, start};

use bytes::Bytes;

/// One frame, its checks passed.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which message the body is; see [`crate::kind`].
    pub kind: u8,
    /// The body: a shared slice of the buffer that it was read into.
    pub body: Bytes,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "frame of kind {} with {} bytes", self.kind, self.body.len())
    }
}
