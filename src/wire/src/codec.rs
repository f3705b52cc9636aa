//! The one place where values meet bytes.
//!
//! bincode, little-endian, variable-length integers; every list, text and byte string that comes
//! from outside has a bound of its own beside the decoder's budget, which follows from the size of
//! the body: a short frame cannot make a reader reserve much.

use bincode::config::{Config, standard};
use bincode::de::read::Reader;
use bincode::de::{Decode, Decoder, DecoderImpl};
use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};
use bincode::error::{DecodeError, EncodeError};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hapax_core::Blob;

/// The most that decoding one value may hold in memory at once.
const BUDGET_BYTES: usize = 16 * 1024 * 1024;
/// A value in memory against its bytes: the worst legal one is below 40 (a listing's empty row).
const BUDGET_FACTOR: usize = 64;
const BUDGET_BASE_BYTES: usize = 1024;

/// The configuration. Frozen: it decides every byte.
fn config() -> impl Config {
    standard().with_little_endian().with_variable_int_encoding().with_limit::<BUDGET_BYTES>()
}

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

/// Implements the byte form of a structure: its fields in the order given, which is frozen. A
/// field with a bound (`name: 64`) keeps it both ways, and is named when it does not.
macro_rules! fields {
    ($name:ident { $($field:ident $(: $max:expr)?),* $(,)? }) => {
        impl ::bincode::enc::Encode for $name {
            fn encode<E: ::bincode::enc::Encoder>(
                &self,
                encoder: &mut E,
            ) -> ::core::result::Result<(), ::bincode::error::EncodeError> {
                $($crate::codec::fields!(@encode self encoder $field $($max)?);)*
                Ok(())
            }
        }

        impl<Context> ::bincode::de::Decode<Context> for $name {
            fn decode<D: ::bincode::de::Decoder<Context = Context>>(
                decoder: &mut D,
            ) -> ::core::result::Result<Self, ::bincode::error::DecodeError> {
                Ok(Self { $($field: $crate::codec::fields!(@decode decoder $field $($max)?)),* })
            }
        }

        ::bincode::impl_borrow_decode!($name);
    };
    (@encode $this:ident $encoder:ident $field:ident) => {
        ::bincode::enc::Encode::encode(&$this.$field, $encoder)?
    };
    (@encode $this:ident $encoder:ident $field:ident $max:expr) => {
        if !$crate::codec::Bounded::<()>::fits(&$this.$field, $max) {
            return Err(::bincode::error::EncodeError::Other(stringify!($field)));
        }
        ::bincode::enc::Encode::encode(&$this.$field, $encoder)?
    };
    (@decode $decoder:ident $field:ident) => { ::bincode::de::Decode::decode($decoder)? };
    (@decode $decoder:ident $field:ident $max:expr) => {
        $crate::codec::Bounded::decode_bounded($decoder, $max, stringify!($field))?
    };
}
pub(crate) use fields;
