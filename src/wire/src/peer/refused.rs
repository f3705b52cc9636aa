//! A request that was not served.

use super::body::body;
use crate::codec::fields;
use hapax_core::Refusal;

/// The reply to any request that is not known here or cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
}
fields!(Refused { refusal });
body!(Refused, REFUSED);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal }
    }
}
