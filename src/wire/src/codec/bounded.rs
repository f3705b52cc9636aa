//! Values with a bound of their own.

use bincode::de::read::Reader;
use bincode::de::{Decode, Decoder};
use bincode::enc::Encode;
use bincode::error::DecodeError;
use hapax_core::Blob;

/// A value whose size is set by the other side and therefore has a bound, in elements or bytes.
pub(crate) trait Bounded<C>: Encode + Sized {
    /// Whether it keeps the bound.
    fn fits(&self, max: usize) -> bool;

    /// Reads it; over the bound, `field` is at fault.
    fn decode_bounded<D: Decoder<Context = C>>(
        decoder: &mut D,
        max: usize,
        field: &'static str,
    ) -> Result<Self, DecodeError>;
}

/// Reads a length that must not be over `max`.
fn bounded_len<D: Decoder>(decoder: &mut D, max: usize, field: &'static str) -> Result<usize, DecodeError> {
    let length = u64::decode(decoder)?;
    match usize::try_from(length) {
        Ok(length) if length <= max => Ok(length),
        _ => Err(DecodeError::Other(field)),
    }
}

/// Reads a byte string whose length must not be over `max`.
fn bounded_bytes<D: Decoder>(
    decoder: &mut D,
    max: usize,
    field: &'static str,
) -> Result<Vec<u8>, DecodeError> {
    let length = bounded_len(decoder, max, field)?;
    decoder.claim_container_read::<u8>(length)?;
    let mut bytes = vec![0; length];
    decoder.reader().read(&mut bytes)?;
    Ok(bytes)
}

impl<C, T: Encode + Decode<C>> Bounded<C> for Vec<T> {
    fn fits(&self, max: usize) -> bool {
        self.len() <= max
    }

    fn decode_bounded<D: Decoder<Context = C>>(
        decoder: &mut D,
        max: usize,
        field: &'static str,
    ) -> Result<Self, DecodeError> {
        let length = bounded_len(decoder, max, field)?;
        decoder.claim_container_read::<T>(length)?;
        let mut list = Self::with_capacity(length);
        for _ in 0..length {
            decoder.unclaim_bytes_read(size_of::<T>());
            list.push(T::decode(decoder)?);
        }
        Ok(list)
    }
}

impl<C> Bounded<C> for String {
    fn fits(&self, max: usize) -> bool {
        self.len() <= max
    }

    fn decode_bounded<D: Decoder<Context = C>>(
        decoder: &mut D,
        max: usize,
        field: &'static str,
    ) -> Result<Self, DecodeError> {
        Self::from_utf8(bounded_bytes(decoder, max, field)?).map_err(|_| DecodeError::Other(field))
    }
}

impl<C> Bounded<C> for Blob {
    fn fits(&self, max: usize) -> bool {
        self.len() <= max
    }

    fn decode_bounded<D: Decoder<Context = C>>(
        decoder: &mut D,
        max: usize,
        field: &'static str,
    ) -> Result<Self, DecodeError> {
        bounded_bytes(decoder, max, field).map(Self::from)
    }
}

impl<C, T: Bounded<C>> Bounded<C> for Option<T> {
    fn fits(&self, max: usize) -> bool {
        self.as_ref().is_none_or(|value| value.fits(max))
    }

    fn decode_bounded<D: Decoder<Context = C>>(
        decoder: &mut D,
        max: usize,
        field: &'static str,
    ) -> Result<Self, DecodeError> {
        match u8::decode(decoder)? {
            0 => Ok(None),
            1 => T::decode_bounded(decoder, max, field).map(Some),
            _ => Err(DecodeError::Other(field)),
        }
    }
}
