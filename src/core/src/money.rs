//! The value at stake, as the caller states it.

use crate::error::Invalid;
use bincode::Encode;

/// An amount in minor units of a currency (cents, pence, yen), for the estimate of what was
/// prevented. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode)]
pub struct Money {
    minor_units: u64,
    currency: [u8; 3],
}

impl Money {
    /// An amount and its ISO 4217 code.
    ///
    /// # Errors
    /// [`Invalid`] when the code is not three upper-case letters.
    pub fn new(minor_units: u64, currency: [u8; 3]) -> Result<Self, Invalid> {
        if !currency.iter().all(u8::is_ascii_uppercase) {
            return Err(Invalid::new("value", "currency is not three upper-case letters"));
        }
        Ok(Self { minor_units, currency })
    }

    /// The amount in minor units.
    #[must_use]
    pub fn minor_units(&self) -> u64 {
        self.minor_units
    }

    /// The ISO 4217 code.
    #[must_use]
    pub fn currency(&self) -> &str {
        std::str::from_utf8(&self.currency).unwrap_or("XXX")
    }
}

impl TryFrom<(u64, [u8; 3])> for Money {
    type Error = Invalid;

    fn try_from((minor_units, currency): (u64, [u8; 3])) -> Result<Self, Invalid> {
        Self::new(minor_units, currency)
    }
}

crate::decode_checked!(Money, (u64, [u8; 3]));
