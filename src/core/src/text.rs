//! Short texts with a bound: labels, traces, reasons, principals.

use crate::error::Invalid;
use crate::limits;
use bincode::Encode;

macro_rules! bounded_text {
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
        pub struct $name(String);

        impl $name {
            /// Checks the length.
            ///
            /// # Errors
            /// [`Invalid`] names the field when the text is longer than its bound.
            pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
                let text = text.into();
                if text.len() > $max {
                    return Err(Invalid::new($field, "too long"));
                }
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it is empty.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        crate::decode_checked!($name, String);
    };
}

bounded_text!(
    /// A caller's free text on a claim, shown to operators; at most 256 bytes.
    Label,
    "label",
    limits::LABEL_BYTES
);
bounded_text!(
    /// The trace parent of the caller that claimed; at most 128 bytes.
    Trace,
    "trace",
    limits::TRACE_BYTES
);
bounded_text!(
    /// Why a claim was released, resolved or forgotten; at most 512 bytes.
    Reason,
    "reason",
    limits::REASON_BYTES
);
bounded_text!(
    /// The authenticated caller; empty until authentication is set; at most 128 bytes.
    Principal,
    "principal",
    limits::PRINCIPAL_BYTES
);
