//! The byte form that values share on disk and on the wire.
//!
//! Structures are encoded field by field in the order of their definition. Every enum that is
//! encoded has an explicit one-byte tag, written with [`tagged!`](crate::tagged): a tag is frozen once released
//! and never used again for something else. The configuration (endianness, limits, version byte)
//! belongs to the codec module of the crate that does the encoding.

use bincode::de::{BorrowDecode, BorrowDecoder, Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};
use bytes::Bytes;

/// An immutable byte string that is cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(Bytes);

impl Blob {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The shared buffer behind it.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Blob {
    /// Shows the length only: payloads must not reach logs by way of a debug print.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::from(bytes))
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl Encode for Blob {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.as_ref().encode(encoder)
    }
}

impl<C> Decode<C> for Blob {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self(Bytes::from(Vec::<u8>::decode(decoder)?)))
    }
}

impl<'de, C> BorrowDecode<'de, C> for Blob {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// Implements the byte form of an enum with explicit, frozen tags.
///
/// Each variant is either a unit (`1 => Name`) or holds one value (`2 => Name(Type)`).
#[macro_export]
macro_rules! tagged {
    ($enum:ident { $($tag:literal => $variant:ident $(($inner:ty))?),+ $(,)? }) => {
        impl ::bincode::enc::Encode for $enum {
            fn encode<E: ::bincode::enc::Encoder>(
                &self,
                encoder: &mut E,
            ) -> ::core::result::Result<(), ::bincode::error::EncodeError> {
                match self {
                    $($crate::tagged!(@pattern $variant inner $(($inner))?) => {
                        let tag: u8 = $tag;
                        ::bincode::enc::Encode::encode(&tag, encoder)?;
                        $($crate::tagged!(@encode inner encoder $inner);)?
                    })+
                }
                Ok(())
            }
        }

        impl<Context> ::bincode::de::Decode<Context> for $enum {
            fn decode<D: ::bincode::de::Decoder<Context = Context>>(
                decoder: &mut D,
            ) -> ::core::result::Result<Self, ::bincode::error::DecodeError> {
                let tag: u8 = ::bincode::de::Decode::decode(decoder)?;
                match tag {
                    $($tag => Ok($crate::tagged!(@decode decoder $variant $(($inner))?)),)+
                    _ => Err(::bincode::error::DecodeError::Other(concat!("unknown tag of ", stringify!($enum)))),
                }
            }
        }

        impl<'de, Context> ::bincode::de::BorrowDecode<'de, Context> for $enum {
            fn borrow_decode<D: ::bincode::de::BorrowDecoder<'de, Context = Context>>(
                decoder: &mut D,
            ) -> ::core::result::Result<Self, ::bincode::error::DecodeError> {
                <Self as ::bincode::de::Decode<Context>>::decode(decoder)
            }
        }
    };
    (@pattern $variant:ident $inner:ident) => { Self::$variant };
    (@pattern $variant:ident $inner:ident ($ty:ty)) => { Self::$variant($inner) };
    (@encode $inner:ident $encoder:ident $ty:ty) => { ::bincode::enc::Encode::encode($inner, $encoder)? };
    (@decode $decoder:ident $variant:ident) => { Self::$variant };
    (@decode $decoder:ident $variant:ident ($ty:ty)) => {
        Self::$variant(<$ty as ::bincode::de::Decode<Context>>::decode($decoder)?)
    };
}

/// Implements the byte form of a validated value by way of its plain form: decoding runs the
/// constructor, so that a value that breaks its own rules cannot come from a peer or a disk. The
/// error names the field at fault, as the constructor does.
#[macro_export]
macro_rules! decode_checked {
    ($type:ty, $plain:ty) => {
        impl<Context> ::bincode::de::Decode<Context> for $type {
            fn decode<D: ::bincode::de::Decoder<Context = Context>>(
                decoder: &mut D,
            ) -> ::core::result::Result<Self, ::bincode::error::DecodeError> {
                let plain = <$plain as ::bincode::de::Decode<Context>>::decode(decoder)?;
                <$type>::try_from(plain)
                    .map_err(|invalid| ::bincode::error::DecodeError::Other(invalid.field))
            }
        }

        impl<'de, Context> ::bincode::de::BorrowDecode<'de, Context> for $type {
            fn borrow_decode<D: ::bincode::de::BorrowDecoder<'de, Context = Context>>(
                decoder: &mut D,
            ) -> ::core::result::Result<Self, ::bincode::error::DecodeError> {
                <Self as ::bincode::de::Decode<Context>>::decode(decoder)
            }
        }
    };
}
