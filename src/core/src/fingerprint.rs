//! What makes two requests the same.

use crate::error::Invalid;
use crate::limits;
use bincode::{Decode, Encode};

/// A digest over what the caller says makes the request the same, with the algorithm that made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Fingerprint {
    /// Which algorithm made the digest; fingerprints of different algorithms never match.
    pub algorithm: u8,
    /// The digest.
    pub digest: [u8; 32],
}

impl Fingerprint {
    /// The algorithm of [`Fingerprint::EMPTY`].
    pub const ALGORITHM_NONE: u8 = 0;
    /// SHA-256 over bytes as they are.
    pub const ALGORITHM_SHA256_BYTES: u8 = 1;
    /// SHA-256 over canonical JSON.
    pub const ALGORITHM_SHA256_JSON: u8 = 2;
    /// The digest was made by the caller in a way of its own.
    pub const ALGORITHM_OPAQUE: u8 = 255;
    /// What a missing fingerprint is compared as, where policy lets it be missing.
    pub const EMPTY: Self = Self { algorithm: Self::ALGORITHM_NONE, digest: [0; 32] };
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.algorithm)?;
        for byte in &self.digest[..4] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The digest of one named field of the request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FieldDigest {
    /// The field's name as the caller gives it, 1–64 bytes.
    pub name: String,
    /// Its digest.
    pub digest: [u8; 32],
}

/// Up to 16 per-field digests with distinct names, by which a mismatch can name what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode)]
pub struct Fields(Vec<FieldDigest>);

impl Fields {
    /// Checks count and names.
    ///
    /// # Errors
    /// [`Invalid`] names `fields` when there are too many, or a name is empty, too long or twice.
    pub fn new(fields: Vec<FieldDigest>) -> Result<Self, Invalid> {
        if fields.len() > limits::FIELDS {
            return Err(Invalid::new("fields", "more than 16"));
        }
        for (i, field) in fields.iter().enumerate() {
            if field.name.is_empty() || field.name.len() > limits::FIELD_NAME_BYTES {
                return Err(Invalid::new("fields", "a name is empty or longer than 64 bytes"));
            }
            if fields[..i].iter().any(|earlier| earlier.name == field.name) {
                return Err(Invalid::new("fields", "a name is given twice"));
            }
        }
        Ok(Self(fields))
    }

    /// The digests.
    #[must_use]
    pub fn as_slice(&self) -> &[FieldDigest] {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<FieldDigest>> for Fields {
    type Error = Invalid;

    fn try_from(fields: Vec<FieldDigest>) -> Result<Self, Invalid> {
        Self::new(fields)
    }
}

crate::decode_checked!(Fields, Vec<FieldDigest>);
