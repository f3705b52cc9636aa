//! The writing side of the codec.

use super::config;
use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};
use bincode::error::EncodeError;
use bytes::{BufMut, BytesMut};

/// Appends one message's body to a buffer, up to a bound.
pub struct BodyWriter<'a> {
    out: &'a mut BytesMut,
    /// The length that `out` may reach.
    end: usize,
}

impl<'a> BodyWriter<'a> {
    /// Appends to `out` until it has `end` bytes.
    pub(crate) fn new(out: &'a mut BytesMut, end: usize) -> Self {
        Self { out, end }
    }

    pub(crate) fn u32(&mut self, value: u32) -> Result<(), EncodeError> {
        self.write(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> Result<(), EncodeError> {
        self.write(&value.to_le_bytes())
    }

    pub(crate) fn value<T: Encode>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.encode(&mut EncoderImpl::new(self, config()))
    }

    /// Bytes behind their length, as [`BodyReader::section`] reads them.
    pub(crate) fn section(
        &mut self,
        fill: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let head = self.out.len();
        self.u32(0)?;
        let start = self.out.len();
        fill(self)?;
        let length = u32::try_from(self.out.len() - start).map_err(|_| EncodeError::UnexpectedEnd)?;
        self.out[head..start].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

impl Writer for BodyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if bytes.len() > self.end.saturating_sub(self.out.len()) {
            return Err(EncodeError::UnexpectedEnd);
        }
        self.out.put_slice(bytes);
        Ok(())
    }
}
