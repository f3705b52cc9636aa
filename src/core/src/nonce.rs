//! The nonce: 16 random bytes that name one logical call.

use crate::error::Invalid;
use bincode::Encode;

/// Names one logical call of claim, so that its retries are told from another caller's claims.
/// Never derived from the key. All-zero is invalid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl TryFrom<[u8; 16]> for Nonce {
    type Error = Invalid;

    fn try_from(bytes: [u8; 16]) -> Result<Self, Invalid> {
        if bytes == [0; 16] {
            return Err(Invalid::new("nonce", "all zero"));
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

crate::decode_checked!(Nonce, [u8; 16]);
