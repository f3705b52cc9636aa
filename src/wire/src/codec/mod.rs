//! The one place where values meet bytes.
//!
//! bincode, little-endian, variable-length integers; every list, text and byte string that comes
//! from outside has a bound of its own beside the decoder's budget, which follows from the size of
//! the body: a short frame cannot make a reader reserve much.

mod bounded;
mod reader;
mod writer;

pub(crate) use bounded::Bounded;
pub(crate) use reader::BodyReader;
pub(crate) use writer::BodyWriter;

use bincode::config::{Config, standard};

/// The most that decoding one value may hold in memory at once.
const BUDGET_BYTES: usize = 16 * 1024 * 1024;
/// A value in memory against its bytes: the worst legal one is below 40 (a listing's empty row).
const BUDGET_FACTOR: usize = 64;
const BUDGET_BASE_BYTES: usize = 1024;

/// The configuration. Frozen: it decides every byte.
fn config() -> impl Config {
    standard().with_little_endian().with_variable_int_encoding().with_limit::<BUDGET_BYTES>()
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
