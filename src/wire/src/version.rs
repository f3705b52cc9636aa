//! Protocol versions: two sides agree on the highest that both speak.
//!
//! The frame form, [`crate::client::Hello`], [`crate::peer::PeerHello`] and
//! [`crate::client::Error`] have the same bytes in every version, so that two sides which share no
//! version can still tell each other so.

use crate::codec::fields;
use hapax_core::{ErrorCode, Refusal};

/// The version that this code writes.
pub const VERSION: u16 = 1;

/// A range of versions that one side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}
fields!(Versions { min, max });

impl Versions {
    /// What this code speaks.
    pub const SPOKEN: Self = Self { min: VERSION, max: VERSION };

    /// The highest version that both sides speak.
    ///
    /// # Errors
    /// [`ErrorCode::Version`] when there is none (a range upside down holds none).
    pub fn agree(self, other: Self) -> Result<u16, Refusal> {
        let highest = self.max.min(other.max);
        if highest < self.min.max(other.min) {
            let text = format!("no common version: {self} here, {other} there");
            return Err(Refusal::definite(ErrorCode::Version, text));
        }
        Ok(highest)
    }

    /// Whether `version` is in the range.
    #[must_use]
    pub fn contains(self, version: u16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}
