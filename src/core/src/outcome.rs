//! How an operation ended, and what it gave.

use crate::bytes::Blob;
use crate::tagged;
use bincode::{Decode, Encode};

/// The class of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeClass {
    /// It was done.
    Success,
    /// A definite business refusal (a declined card): as final as a success.
    Rejected,
    /// It failed unexpectedly; kept for a short while.
    Error,
}
tagged!(OutcomeClass { 1 => Success, 2 => Rejected, 3 => Error });

impl OutcomeClass {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Rejected => "rejected",
            Self::Error => "error",
        }
    }
}

/// What describes a result: content type, status and headers, at most 8 KiB together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Metadata {
    /// The media type of the result.
    pub content_type: Option<String>,
    /// A status number of the caller's protocol (an HTTP status, an exit status).
    pub status: Option<u16>,
    /// Further headers, in the caller's order.
    pub headers: Vec<(String, String)>,
}

impl Metadata {
    /// Bytes that count against the bound.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        self.content_type.as_ref().map_or(0, String::len) + 2 + headers
    }
}

/// The end of an operation: class, result and metadata.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Outcome {
    /// How it ended.
    pub class: OutcomeClass,
    /// What it gave, at most 256 KiB (less where policy says so).
    pub result: Blob,
    /// What describes the result.
    pub metadata: Metadata,
}
