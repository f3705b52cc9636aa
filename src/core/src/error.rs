//! Refusals that are not replies of the protocol's tables.

use crate::tagged;
use bincode::{Decode, Encode};

/// A field broke its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {field}: {why}")]
pub struct Invalid {
    /// The field, by the name that the protocol gives it.
    pub field: &'static str,
    /// What is wrong with it; never a byte of the value.
    pub why: &'static str,
}

impl Invalid {
    /// A broken rule of `field`.
    #[must_use]
    pub fn new(field: &'static str, why: &'static str) -> Self {
        Self { field, why }
    }
}

/// The stable error codes; [`ErrorCode::number`] and [`ErrorCode::name`] never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// This node does not lead the shard; a hint may name who does.
    NotLeader,
    /// No quorum, or the replica cannot serve.
    Unavailable,
    /// The caller's deadline passed before the outcome was known.
    Deadline,
    /// `not_after` had passed in log time: no effect.
    TooLate,
    /// A bounded queue is full.
    Overloaded,
    /// A frame, key, result or other part is over its bound.
    TooLarge,
    /// A field broke its rules.
    Invalid,
    /// No or wrong credentials.
    Unauthenticated,
    /// The caller may not do that.
    Forbidden,
    /// A policy's quota is used up.
    Quota,
    /// The peer belongs to another cluster.
    WrongCluster,
    /// The protocol or format version is not spoken here.
    Version,
}
tagged!(ErrorCode {
    1 => NotLeader, 2 => Unavailable, 3 => Deadline, 4 => TooLate, 5 => Overloaded, 6 => TooLarge,
    7 => Invalid, 8 => Unauthenticated, 9 => Forbidden, 10 => Quota, 11 => WrongCluster, 12 => Version,
});

impl ErrorCode {
    /// Every code, by number.
    pub const ALL: [Self; 12] = [
        Self::NotLeader,
        Self::Unavailable,
        Self::Deadline,
        Self::TooLate,
        Self::Overloaded,
        Self::TooLarge,
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Quota,
        Self::WrongCluster,
        Self::Version,
    ];

    /// The stable number; the same as the tag on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::NotLeader => 1,
            Self::Unavailable => 2,
            Self::Deadline => 3,
            Self::TooLate => 4,
            Self::Overloaded => 5,
            Self::TooLarge => 6,
            Self::Invalid => 7,
            Self::Unauthenticated => 8,
            Self::Forbidden => 9,
            Self::Quota => 10,
            Self::WrongCluster => 11,
            Self::Version => 12,
        }
    }

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotLeader => "not_leader",
            Self::Unavailable => "unavailable",
            Self::Deadline => "deadline",
            Self::TooLate => "too_late",
            Self::Overloaded => "overloaded",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::WrongCluster => "wrong_cluster",
            Self::Version => "version",
        }
    }
}

/// Who leads a shard, as far as the refusing node knows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LeaderHint {
    /// The leader's node id.
    pub node: u64,
    /// Its address for clients, `host:port`.
    pub client_addr: String,
}

/// An error as it reaches a caller.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{} ({}): {text}", code.name(), if *definite { "definite" } else { "indefinite" })]
pub struct Refusal {
    /// What kind of error.
    pub code: ErrorCode,
    /// Definite: it had no effect and will have none. Indefinite: it may have, or may yet.
    pub definite: bool,
    /// What happened, for people; never echoes a payload.
    pub text: String,
    /// The field at fault, for [`ErrorCode::Invalid`] and [`ErrorCode::TooLarge`].
    pub field: Option<String>,
    /// Who leads, for [`ErrorCode::NotLeader`].
    pub hint: Option<LeaderHint>,
}

impl Refusal {
    /// A definite refusal: no effect, now or later.
    #[must_use]
    pub fn definite(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, definite: true, text: text.into(), field: None, hint: None }
    }

    /// A definite refusal of a part that is over its bound.
    #[must_use]
    pub fn too_large(field: &'static str, bound_bytes: u64) -> Self {
        Self {
            field: Some(field.to_owned()),
            ..Self::definite(ErrorCode::TooLarge, format!("{field} is longer than {bound_bytes} bytes"))
        }
    }

    /// A refusal that leaves open whether the command takes effect.
    #[must_use]
    pub fn indefinite(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, definite: false, text: text.into(), field: None, hint: None }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self {
            field: Some(invalid.field.to_owned()),
            ..Self::definite(ErrorCode::Invalid, invalid.to_string())
        }
    }
}
