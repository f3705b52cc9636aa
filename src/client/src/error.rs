//! Why a call did not get a reply of the protocol.

use hapax_core::{ErrorCode, Invalid, Refusal};

/// An error as the client's caller sees it, after every retry that was safe and had time.
///
/// **Definite** means: the verb had no effect and will have none. **Indefinite** means: it may have
/// had its effect, or may yet have it; the same request may be sent again verbatim (the same nonce,
/// the same token), and only its reply tells. An error is definite only if every copy that was sent
/// was definitely refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} ({}): {text}", code.name(), if *definite { "definite" } else { "indefinite" })]
pub struct Error {
    code: ErrorCode,
    definite: bool,
    text: String,
    field: Option<String>,
}

impl Error {
    pub(crate) fn definite(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, definite: true, text: text.into(), field: None }
    }

    pub(crate) fn indefinite(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { definite: false, ..Self::definite(code, text) }
    }

    pub(crate) fn too_large(field: &str, limit_bytes: usize) -> Self {
        let text = format!("{field} has more than {limit_bytes} bytes");
        Self { field: Some(field.to_owned()), ..Self::definite(ErrorCode::TooLarge, text) }
    }

    /// The call's time is over; what became of it is known only if it was never sent.
    pub(crate) fn late(sent: bool) -> Self {
        if sent {
            Self::indefinite(ErrorCode::Deadline, "the call's deadline passed before its reply came")
        } else {
            Self::definite(ErrorCode::Deadline, "the call's deadline passed before it could be sent")
        }
    }

    /// It says that the time was over before anything was done, and not why: what an earlier copy of the call met with does.
    pub(crate) fn is_only_late(&self) -> bool {
        self.definite && self.code == ErrorCode::Deadline
    }

    /// The error of a call that is not tried any more. A redirect that led nowhere in time is nothing
    /// that a caller could follow: for it, the shard is unavailable.
    pub(crate) fn given_up(self) -> Self {
        match self.code {
            ErrorCode::NotLeader => {
                let text = "no node that leads the shard was found in time".to_owned();
                Self { code: ErrorCode::Unavailable, text, ..self }
            }
            _ => self,
        }
    }

    /// The same error for a request of which an earlier copy may have had its effect.
    pub(crate) fn weakened(mut self, in_doubt: bool) -> Self {
        self.definite &= !in_doubt;
        self
    }

    /// The same error of a question that has no effects.
    pub(crate) fn made_definite(mut self) -> Self {
        self.definite = true;
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Whether the verb certainly had no effect and will have none.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        self.definite
    }

    /// What happened, for people. Never a byte of a payload.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The field at fault, for `invalid` and `too_large`.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, definite, text, field, hint: _ } = refusal;
        Self { code, definite, text, field }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Refusal::from(invalid).into()
    }
}
