//! One log entry on its way to a follower.

use crate::codec::{BodyReader, BodyWriter};
use crate::limits::ENTRY_HEAD_BYTES;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use hapax_core::Blob;

/// A log entry. Its bytes: `term: u64, index: u64, length: u32`, little-endian, then the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// What it carries, as the consensus layer encodes it. Once received, a shared slice of the
    /// connection's read buffer: whoever keeps it longer than its batch keeps that buffer alive.
    pub payload: Blob,
}

impl Entry {
    /// What it adds to an append's frame, to be held against
    /// [`crate::limits::APPEND_BYTES`].
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        ENTRY_HEAD_BYTES + self.payload.len()
    }

    pub(super) fn put(&self, body: &mut BodyWriter<'_>) -> Result<(), EncodeError> {
        body.u64(self.term)?;
        body.u64(self.index)?;
        body.section(|section| section.write(self.payload.as_slice()))
    }

    pub(super) fn take(body: &mut BodyReader) -> Result<Self, DecodeError> {
        let term = body.u64()?;
        let index = body.u64()?;
        let payload = body.section()?.take_rest().into();
        Ok(Self { term, index, payload })
    }
}
