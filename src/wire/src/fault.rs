//! What can be wrong with a frame, with a message, and with what shall be sent.

use bincode::error::{DecodeError, EncodeError};
use hapax_core::{ErrorCode, Refusal};

/// The stream of frames is broken: where the next frame begins is not known. The connection is
/// answered with [`FrameFault::refusal`] and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// The header's check does not fit: this is not a frame of ours.
    #[error("not a frame")]
    NotAFrame,
    /// The frame is of another form.
    #[error("frame form {form} is not known")]
    Form {
        /// The form that the header names.
        form: u8,
    },
    /// The header announces more than may come here; nothing was reserved for it.
    #[error("a frame of {frame_bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge {
        /// The announced size, header included.
        frame_bytes: u64,
        /// What may come.
        limit_bytes: usize,
    },
    /// The body is not what was sent.
    #[error("the frame's checksum does not fit")]
    Checksum,
}

impl FrameFault {
    /// What to tell the other side before closing. Definite: nothing in the frame was acted on.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let code = match self {
            Self::NotAFrame | Self::Checksum => ErrorCode::Invalid,
            Self::Form { .. } => ErrorCode::Version,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
        };
        let field = (code != ErrorCode::Version).then(|| "frame".to_owned());
        Refusal { field, ..Refusal::definite(code, self.to_string()) }
    }
}

/// A frame arrived whole, and its body is not a message that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// No such message here.
    #[error("message kind {kind} is not known here")]
    UnknownKind {
        /// The number in the frame's header.
        kind: u8,
        /// The id of the call or of the peer's request, where the body begins with one.
        id: Option<u64>,
    },
    /// The body breaks the message's rules.
    #[error("message kind {kind} is malformed: {field}")]
    Malformed {
        /// The number in the frame's header.
        kind: u8,
        /// The field that breaks its rules.
        field: &'static str,
        /// The id of the call or of the peer's request, where the body begins with one.
        id: Option<u64>,
    },
}

impl MessageFault {
    /// The id of the call or of the peer's request at fault, where it could be read.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        match self {
            Self::UnknownKind { id, .. } | Self::Malformed { id, .. } => *id,
        }
    }

    /// What to tell the other side.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let field = match self {
            Self::UnknownKind { .. } => "kind",
            Self::Malformed { field, .. } => field,
        };
        invalid(field, self.to_string())
    }
}

/// A message cannot be sent as it is. The buffer is left as it was before.
#[derive(Debug, thiserror::Error)]
pub enum EncodeFault {
    /// It does not fit a frame of its kind.
    #[error("a message of kind {kind} is over its limit of {limit_bytes} bytes")]
    TooLarge {
        /// The message's number.
        kind: u8,
        /// What a frame may have, header included.
        limit_bytes: usize,
    },
    /// A field is over its bound.
    #[error("a message of kind {kind} breaks the bound of {field}")]
    Bound {
        /// The message's number.
        kind: u8,
        /// The field.
        field: &'static str,
    },
}

impl EncodeFault {
    pub(crate) fn new(kind: u8, limit_bytes: usize, error: &EncodeError) -> Self {
        match error {
            EncodeError::Other(field) => Self::Bound { kind, field },
            _ => Self::TooLarge { kind, limit_bytes },
        }
    }

    /// What to tell the caller whose message it was. It is definite, and so for what was never
    /// sent only: of the answers none but a listing can be too large, and a listing changes nothing.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let field = match self {
            Self::TooLarge { .. } => "frame",
            Self::Bound { field, .. } => field,
        };
        Refusal { field: Some(field.to_owned()), ..Refusal::definite(ErrorCode::TooLarge, self.to_string()) }
    }
}

/// The field that a decoding error is about; `whole` where it does not say.
pub(crate) fn field_at_fault(error: &DecodeError, whole: &'static str) -> &'static str {
    match error {
        // Our own types name their field in one word; everything else is a sentence.
        DecodeError::Other(field) if !field.contains(' ') => field,
        _ => whole,
    }
}

/// A definite `invalid{field}`.
pub(crate) fn invalid(field: &str, text: String) -> Refusal {
    Refusal { field: Some(field.to_owned()), ..Refusal::definite(ErrorCode::Invalid, text) }
}
