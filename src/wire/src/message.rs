//! How a message becomes a frame and a frame a message.

use crate::codec::{BodyReader, BodyWriter};
use crate::fault::{EncodeFault, MessageFault, field_at_fault};
use crate::frame::{self, Frame};
use bincode::error::{DecodeError, EncodeError};
use bytes::BytesMut;

/// One kind of message, with its bytes. Implemented here only.
pub trait Message: Sized {
    /// Its number; see [`crate::kind`].
    const KIND: u8;
    /// The largest frame that may carry it, header included.
    const LIMIT_BYTES: usize;
    /// Whether the body begins with an id (u64, little-endian), readable whatever follows it.
    const LEADS_WITH_ID: bool = false;

    /// Writes the body.
    ///
    /// # Errors
    /// When it is over the writer's end, or a field is over its bound.
    #[doc(hidden)]
    fn put_body(&self, body: &mut BodyWriter<'_>) -> Result<(), EncodeError>;

    /// Reads the body.
    ///
    /// # Errors
    /// When it ends early or breaks a rule.
    #[doc(hidden)]
    fn take_body(body: &mut BodyReader) -> Result<Self, DecodeError>;

    /// Appends it to `out` as one frame.
    ///
    /// # Errors
    /// [`EncodeFault`] when it breaks a bound; `out` is then as it was.
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeFault> {
        put_with(out, Self::KIND, Self::LIMIT_BYTES, |body| self.put_body(body))
    }

    /// Reads it from a frame.
    ///
    /// # Errors
    /// [`MessageFault`] when the frame is of another kind or the body breaks the message's rules.
    fn take(frame: &Frame) -> Result<Self, MessageFault> {
        let lead = || if Self::LEADS_WITH_ID { leading_id(frame) } else { None };
        if frame.kind != Self::KIND {
            return Err(MessageFault::UnknownKind { kind: frame.kind, id: None });
        }
        let mut body = BodyReader::new(frame.body.clone());
        Self::take_body(&mut body).and_then(|message| body.finish().map(|()| message)).map_err(|error| {
            MessageFault::Malformed { kind: frame.kind, field: field_at_fault(&error, "body"), id: lead() }
        })
    }
}

/// Appends one frame whose body `fill` writes; on a fault `out` is left as it was.
pub(crate) fn put_with(
    out: &mut BytesMut,
    kind: u8,
    limit_bytes: usize,
    fill: impl FnOnce(&mut BodyWriter<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeFault> {
    let at = frame::start(out);
    match fill(&mut BodyWriter::new(out, at + limit_bytes)) {
        Ok(()) => {
            frame::finish(out, at, kind);
            Ok(())
        }
        Err(error) => {
            out.truncate(at);
            Err(EncodeFault::new(kind, limit_bytes, &error))
        }
    }
}

/// The id at the start of a body.
pub(crate) fn leading_id(frame: &Frame) -> Option<u64> {
    frame.body.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Implements [`Message`] for a value whose body is its own byte form.
macro_rules! message {
    ($name:ident, $kind:ident, $limit:ident) => {
        impl $crate::message::Message for $name {
            const KIND: u8 = $crate::kind::$kind;
            const LIMIT_BYTES: usize = $crate::limits::$limit;

            fn put_body(
                &self,
                body: &mut $crate::codec::BodyWriter<'_>,
            ) -> ::core::result::Result<(), ::bincode::error::EncodeError> {
                body.value(self)
            }

            fn take_body(
                body: &mut $crate::codec::BodyReader,
            ) -> ::core::result::Result<Self, ::bincode::error::DecodeError> {
                body.value()
            }
        }
    };
    // A message that is an id, fixed at the start of the body, and one value.
    ($name:ident, $kind:ident, $limit:ident, $id:ident $(, $value:ident)?) => {
        impl $crate::message::Message for $name {
            const KIND: u8 = $crate::kind::$kind;
            const LIMIT_BYTES: usize = $crate::limits::$limit;
            const LEADS_WITH_ID: bool = true;

            fn put_body(
                &self,
                body: &mut $crate::codec::BodyWriter<'_>,
            ) -> ::core::result::Result<(), ::bincode::error::EncodeError> {
                body.u64(self.$id)?;
                $(body.value(&self.$value)?;)?
                Ok(())
            }

            fn take_body(
                body: &mut $crate::codec::BodyReader,
            ) -> ::core::result::Result<Self, ::bincode::error::DecodeError> {
                Ok(Self { $id: body.u64()?, $($value: body.value()?)? })
            }
        }
    };
}
pub(crate) use message;

/// An enum of the messages that one side may receive, each variant holding the message of the same
/// name: reading and writing go to the variant's own.
macro_rules! message_set {
    ($set:ident { $($variant:ident),+ $(,)? }) => {
        impl $set {
            /// The numbers of all of them.
            pub const KINDS: &'static [u8] = &[$(<$variant as $crate::Message>::KIND),+];

            /// Reads whichever message the frame carries.
            ///
            /// # Errors
            /// [`crate::MessageFault`] when the kind is not known on this side or the body breaks
            /// the message's rules.
            pub fn take(frame: &$crate::Frame) -> ::core::result::Result<Self, $crate::MessageFault> {
                match frame.kind {
                    $(<$variant as $crate::Message>::KIND => {
                        <$variant as $crate::Message>::take(frame).map(Self::$variant)
                    })+
                    kind => Err($crate::MessageFault::UnknownKind { kind, id: None }),
                }
            }

            /// Appends it to `out` as one frame.
            ///
            /// # Errors
            /// [`crate::EncodeFault`] when it breaks a bound; `out` is then as it was.
            pub fn put(
                &self,
                out: &mut ::bytes::BytesMut,
            ) -> ::core::result::Result<(), $crate::EncodeFault> {
                match self {
                    $(Self::$variant(message) => $crate::Message::put(message, out),)+
                }
            }
        }
    };
}
pub(crate) use message_set;
