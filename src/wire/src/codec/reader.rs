//! The reading side of the codec.

use super::{BUDGET_BASE_BYTES, BUDGET_BYTES, BUDGET_FACTOR, config};
use bincode::de::read::Reader;
use bincode::de::{Decode, Decoder, DecoderImpl};
use bincode::error::DecodeError;
use bytes::{Buf, Bytes};

/// Reads one message's body; the large parts as shared slices of it.
pub struct BodyReader {
    rest: Bytes,
}

impl BodyReader {
    pub(crate) fn new(body: Bytes) -> Self {
        Self { rest: body }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next `length` bytes, shared with the frame.
    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.rest.len() {
            return Err(DecodeError::UnexpectedEnd { additional: length - self.rest.len() });
        }
        Ok(self.rest.split_to(length))
    }

    /// What remains, shared with the frame.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }

    /// Bytes behind their length.
    pub(crate) fn section(&mut self) -> Result<BodyReader, DecodeError> {
        let length = usize::try_from(self.u32()?).map_err(|_| DecodeError::LimitExceeded)?;
        self.take(length).map(Self::new)
    }

    pub(crate) fn value<T: Decode<()>>(&mut self) -> Result<T, DecodeError> {
        let budget = self.rest.len().saturating_mul(BUDGET_FACTOR).saturating_add(BUDGET_BASE_BYTES);
        let mut decoder = DecoderImpl::new(self, config(), ());
        // The configuration's limit is a constant; claiming the difference makes it follow the body.
        decoder.claim_bytes_read(BUDGET_BYTES.saturating_sub(budget))?;
        T::decode(&mut decoder)
    }

    /// Ends the reading: bytes left over mean that the other side meant something else.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::Other("trailing bytes")) }
    }

    /// One value and nothing behind it.
    pub(crate) fn whole<T: Decode<()>>(mut self) -> Result<T, DecodeError> {
        let value = self.value()?;
        self.finish()?;
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        self.read(&mut array)?;
        Ok(array)
    }
}

impl Reader for BodyReader {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        let Some(head) = self.rest.get(..bytes.len()) else {
            return Err(DecodeError::UnexpectedEnd { additional: bytes.len() - self.rest.len() });
        };
        bytes.copy_from_slice(head);
        self.rest.advance(bytes.len());
        Ok(())
    }

    fn peek_read(&mut self, length: usize) -> Option<&[u8]> {
        self.rest.get(..length)
    }

    fn consume(&mut self, length: usize) {
        self.rest.advance(length.min(self.rest.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of<T: Decode<()> + std::fmt::Debug>(body: Vec<u8>) -> DecodeError {
        BodyReader::new(body.into()).value::<T>().unwrap_err()
    }

    #[test]
    fn what_a_value_may_reserve_follows_from_the_body_not_from_its_claim() {
        // One mebibyte claimed by five bytes: refused by the budget, before the bytes are missed.
        let claim = vec![252, 0, 0, 16, 0];
        assert!(matches!(error_of::<Vec<u8>>(claim.clone()), DecodeError::LimitExceeded));
        assert!(matches!(error_of::<Vec<(u64, u64)>>(claim.clone()), DecodeError::LimitExceeded));
        assert!(matches!(error_of::<String>(claim), DecodeError::LimitExceeded));
        // With a body of a mebibyte the same claim is within it, and only then are bytes missed.
        let long = [&[252, 1, 0, 16, 0][..], &vec![0; 1 << 20]].concat();
        assert!(matches!(error_of::<Vec<u8>>(long), DecodeError::UnexpectedEnd { additional: 1 }));
        // No body, however long, lifts it over the codec's own limit.
        let huge = [&[252, 0, 0, 0, 16][..], &vec![0; 8 << 20]].concat();
        assert!(matches!(error_of::<Vec<u8>>(huge), DecodeError::LimitExceeded));
    }
}
