//! What a record is about: tenant, operation and key, three separate fields.
//!
//! The canonical encoding is `[tenant length: u16 big-endian][tenant][operation length: u8]
//! [operation][key]`. The key is what remains, so no two addresses share an encoding, and all
//! records of a tenant, or of a tenant's operation, are one range of it.

use crate::error::Invalid;
use crate::limits;
use crate::seeded::{self, Bug};
use bincode::de::read::Reader as _;
use bincode::de::{BorrowDecode, BorrowDecoder, Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};
use siphasher::sip::SipHasher24;
use std::borrow::Borrow;
use std::hash::Hasher;
use std::sync::Arc;

/// The fixed key of the placement hash. Frozen: another one would move every record.
const PLACEMENT_KEY: (u64, u64) = (0x6861_7061_785f_6b65, 0x795f_706c_6163_6531);

/// The longest canonical encoding: the longest tenant, with its slashes, operation and key, and their lengths.
const CANONICAL_BYTES_MAX: usize = 2 + (limits::TENANT_SEGMENT_BYTES + 1) * limits::TENANT_SEGMENTS - 1
    + 1
    + limits::OPERATION_BYTES
    + limits::KEY_BYTES;

fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')
}

/// A tenant path: 1–4 segments of 1–64 name bytes (`a-z 0-9 . _ -`), joined by `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(String);

impl Tenant {
    /// Checks the form.
    ///
    /// # Errors
    /// [`Invalid`] names `tenant`.
    pub fn new(path: impl Into<String>) -> Result<Self, Invalid> {
        let path = path.into();
        Self::check(path.as_bytes())?;
        Ok(Self(path))
    }

    fn check(path: &[u8]) -> Result<(), Invalid> {
        let mut segments = 0;
        for segment in path.split(|byte| *byte == b'/') {
            segments += 1;
            if segments > limits::TENANT_SEGMENTS {
                return Err(Invalid::new("tenant", "more than 4 segments"));
            }
            if segment.is_empty() || segment.len() > limits::TENANT_SEGMENT_BYTES {
                return Err(Invalid::new("tenant", "a segment is empty or longer than 64 bytes"));
            }
            if !segment.iter().copied().all(is_name_byte) {
                return Err(Invalid::new("tenant", "a byte is outside a-z 0-9 . _ -"));
            }
        }
        Ok(())
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is done once: 1–128 name bytes (`a-z 0-9 . _ -`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation(String);

impl Operation {
    /// Checks the form.
    ///
    /// # Errors
    /// [`Invalid`] names `operation`.
    pub fn new(name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        Self::check(name.as_bytes())?;
        Ok(Self(name))
    }

    fn check(name: &[u8]) -> Result<(), Invalid> {
        if name.is_empty() || name.len() > limits::OPERATION_BYTES {
            return Err(Invalid::new("operation", "empty or longer than 128 bytes"));
        }
        if !name.iter().copied().all(is_name_byte) {
            return Err(Invalid::new("operation", "a byte is outside a-z 0-9 . _ -"));
        }
        Ok(())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The caller's idempotency key: 1–255 bytes, any bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// Checks the length.
    ///
    /// # Errors
    /// [`Invalid`] names `key`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Invalid> {
        let bytes = bytes.into();
        Self::check(&bytes)?;
        Ok(Self(bytes))
    }

    fn check(bytes: &[u8]) -> Result<(), Invalid> {
        if bytes.is_empty() || bytes.len() > limits::KEY_BYTES {
            return Err(Invalid::new("key", "empty or longer than 255 bytes"));
        }
        Ok(())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// A record's full address, kept as its canonical encoding; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    canonical: Arc<[u8]>,
}

impl Address {
    /// The address of these three.
    #[must_use]
    pub fn new(tenant: &Tenant, operation: &Operation, key: &Key) -> Self {
        let mut bytes = Self::operation_prefix(tenant, operation);
        bytes.extend_from_slice(&key.0);
        Self { canonical: bytes.into() }
    }

    /// The range prefix of all records of a tenant.
    #[must_use]
    pub fn tenant_prefix(tenant: &Tenant) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(tenant.0.len() + 2);
        let length = u16::try_from(tenant.0.len()).expect("a tenant has at most 259 bytes");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(tenant.0.as_bytes());
        bytes
    }

    /// The range prefix of all records of a tenant's operation.
    #[must_use]
    pub fn operation_prefix(tenant: &Tenant, operation: &Operation) -> Vec<u8> {
        let mut bytes = Self::tenant_prefix(tenant);
        bytes.push(u8::try_from(operation.0.len()).expect("an operation has at most 128 bytes"));
        bytes.extend_from_slice(operation.0.as_bytes());
        bytes
    }

    /// Reads a canonical encoding back.
    ///
    /// # Errors
    /// [`Invalid`] names the field that breaks its rules, `address` when the frame itself does.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, Invalid> {
        let (tenant, operation, key) = split(bytes).ok_or(Invalid::new("address", "cut short"))?;
        Tenant::check(tenant)?;
        Operation::check(operation)?;
        Key::check(key)?;
        if seeded::active(Bug::TenantLeftOut) {
            return Ok(Self {
                canonical: [&[0, 3, b'a', b'n', b'y'], &bytes[2 + tenant.len()..]].concat().into(),
            });
        }
        Ok(Self { canonical: bytes.into() })
    }

    /// The canonical encoding: the key under which the record is stored.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// The tenant path.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.parts().0
    }

    /// The operation's name.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.parts().1
    }

    /// The caller's key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.parts().2
    }

    /// The fixed-key hash of the canonical encoding. Frozen.
    #[must_use]
    pub fn placement_hash(&self) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(PLACEMENT_KEY.0, PLACEMENT_KEY.1);
        hasher.write(&self.canonical);
        hasher.finish()
    }

    /// The shard of this address in a cluster of `shards` data shards (at least 1).
    #[must_use]
    pub fn shard(&self, shards: u32) -> u32 {
        let shard = self.placement_hash() % u64::from(shards.max(1));
        u32::try_from(shard).expect("a remainder is below its divisor")
    }

    fn parts(&self) -> (&str, &str, &[u8]) {
        let (tenant, operation, key) = split(&self.canonical).expect("checked when the address was made");
        let text = |bytes| std::str::from_utf8(bytes).expect("checked when the address was made");
        (text(tenant), text(operation), key)
    }
}

/// Takes a canonical encoding apart without checking the parts.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (tenant, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (length, rest) = rest.split_first()?;
    let (operation, key) = rest.split_at_checked(usize::from(*length))?;
    Some((tenant, operation, key))
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (tenant, operation, key) = self.parts();
        write!(f, "{tenant}:{operation}:{}", key.escape_ascii())
    }
}

/// Ordered maps of addresses can be searched by canonical bytes: equality, order and hash are theirs.
impl Borrow<[u8]> for Address {
    fn borrow(&self) -> &[u8] {
        &self.canonical
    }
}

impl TryFrom<Vec<u8>> for Address {
    type Error = Invalid;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Invalid> {
        Self::from_canonical(&bytes)
    }
}

impl Encode for Address {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.canonical.as_ref().encode(encoder)
    }
}

/// Reads the bytes that a `Vec<u8>` has, without making one: each command of each entry comes by here.
impl<Context> Decode<Context> for Address {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let mut bytes = [0; CANONICAL_BYTES_MAX];
        let length = usize::try_from(u64::decode(decoder)?).unwrap_or(usize::MAX);
        let bytes = bytes.get_mut(..length).ok_or(DecodeError::Other("address"))?;
        decoder.claim_bytes_read(length)?;
        decoder.reader().read(bytes)?;
        Self::from_canonical(bytes).map_err(|invalid| DecodeError::Other(invalid.field))
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for Address {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

macro_rules! encode_text {
    ($name:ident, $plain:ty) => {
        impl Encode for $name {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
                self.0.encode(encoder)
            }
        }

        impl TryFrom<$plain> for $name {
            type Error = Invalid;

            fn try_from(plain: $plain) -> Result<Self, Invalid> {
                Self::new(plain)
            }
        }

        crate::decode_checked!($name, $plain);
    };
}
encode_text!(Tenant, String);
encode_text!(Operation, String);
encode_text!(Key, Vec<u8>);
