//! The fencing token.

use bincode::{Decode, Encode};

const EPOCH_BITS: u32 = 7;
const INDEX_BITS: u32 = 44;
const POSITION_BITS: u32 = 12;

/// A grant's token: from the top bit, 0 (1 bit), shard epoch (7), log index of the grant (44),
/// position inside that entry (12). It needs no memory, strictly increases per address for ever,
/// and fits a signed 64-bit column. 0 is no token (a shadow grant carries it).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Token(u64);

impl Token {
    /// No token: carried by shadow grants, accepted by nothing.
    pub const NONE: Self = Self(0);
    /// The highest epoch that fits.
    pub const EPOCH_MAX: u8 = (1 << EPOCH_BITS) - 1;
    /// The highest log index that fits.
    pub const INDEX_MAX: u64 = (1 << INDEX_BITS) - 1;
    /// The highest position inside an entry that fits.
    pub const POSITION_MAX: u32 = (1 << POSITION_BITS) - 1;

    /// The token of a grant, or `None` when a field overflows (grants stop before that) or the
    /// number would be that of [`Token::NONE`].
    #[must_use]
    pub fn of_grant(epoch: u8, index: u64, position: u32) -> Option<Self> {
        if epoch > Self::EPOCH_MAX || index > Self::INDEX_MAX || position > Self::POSITION_MAX {
            return None;
        }
        let token = Self(
            u64::from(epoch) << (INDEX_BITS + POSITION_BITS) | index << POSITION_BITS | u64::from(position),
        );
        (!token.is_none()).then_some(token)
    }

    /// The number, for a caller's own fencing column.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// Whether this is [`Token::NONE`].
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl From<u64> for Token {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
