//! A frame between nodes: a request's number and one of the bodies.

use super::{
    Append, AppendReply, BeatReplies, Beats, Clock, ClockReply, Digests, DigestsAsk, Forward, ForwardCancel,
    ForwardReplies, PeerStatus, PeerStatusAsk, Refused, RosterAsk, RosterReply, SnapshotAsk, SnapshotChunk,
    SnapshotEnd, SnapshotOpen, SnapshotReply, Transfer, TransferReply, Vote, VoteReply,
};
use crate::codec::{BodyReader, BodyWriter};
use crate::fault::{EncodeFault, MessageFault, field_at_fault};
use crate::frame::Frame;
use crate::limits::PEER_FRAME_BYTES;
use crate::message::{leading_id, put_with};
use bincode::error::{DecodeError, EncodeError};
use bytes::BytesMut;

/// One kind of body, with its bytes. Implemented here only.
pub trait Body: Sized {
    /// Its number; see [`crate::kind`].
    const KIND: u8;

    /// Writes it.
    ///
    /// # Errors
    /// When it is over the writer's end, or a field is over its bound.
    #[doc(hidden)]
    fn put_body(&self, body: &mut BodyWriter<'_>) -> Result<(), EncodeError>;

    /// Reads it.
    ///
    /// # Errors
    /// When it ends early or breaks a rule.
    #[doc(hidden)]
    fn take_body(body: &mut BodyReader) -> Result<Self, DecodeError>;
}

/// Implements [`Body`] for a value by its own byte form.
macro_rules! body {
    ($name:ident, $kind:ident) => {
        impl $crate::peer::Body for $name {
            const KIND: u8 = $crate::kind::$kind;

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
}
pub(super) use body;

/// Appends `body` to `out` as one frame of the request `rpc`.
///
/// # Errors
/// [`EncodeFault`] when it breaks a bound; `out` is then as it was.
pub fn put<B: Body>(rpc: u64, body: &B, out: &mut BytesMut) -> Result<(), EncodeFault> {
    put_with(out, B::KIND, PEER_FRAME_BYTES, |writer| {
        writer.u64(rpc)?;
        body.put_body(writer)
    })
}

/// A request or a reply between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFrame {
    /// The request's number; its reply has the same.
    pub rpc: u64,
    /// What is asked or said.
    pub body: PeerBody,
}

impl PeerFrame {
    /// Reads it from a frame. The large parts (entries, chunks) are shared slices of the frame.
    ///
    /// # Errors
    /// [`MessageFault`], with the request's number where it could be read: answer [`Refused`] to a
    /// request; a reply that cannot be read fails the request that waits for it.
    pub fn take(frame: &Frame) -> Result<Self, MessageFault> {
        let id = leading_id(frame);
        let malformed = |error: &DecodeError| MessageFault::Malformed {
            kind: frame.kind,
            field: field_at_fault(error, "body"),
            id,
        };
        let mut reader = BodyReader::new(frame.body.clone());
        let rpc = reader.u64().map_err(|error| malformed(&error))?;
        let Some(body) = PeerBody::take(frame.kind, &mut reader) else {
            return Err(MessageFault::UnknownKind { kind: frame.kind, id });
        };
        let body = body.and_then(|body| reader.finish().map(|()| body));
        body.map(|body| Self { rpc, body }).map_err(|error| malformed(&error))
    }

    /// Appends it to `out` as one frame.
    ///
    /// # Errors
    /// [`EncodeFault`] when it breaks a bound; `out` is then as it was.
    pub fn put(&self, out: &mut BytesMut) -> Result<(), EncodeFault> {
        self.body.put(self.rpc, out)
    }
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What a peer may say after the handshake.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum PeerBody {
            $($(#[$doc])* $name($name),)+
        }

        impl PeerBody {
            /// The numbers of all of them.
            pub const KINDS: &'static [u8] = &[$(<$name as Body>::KIND),+];

            /// The number in the frame's header.
            #[must_use]
            pub fn kind(&self) -> u8 {
                match self {
                    $(Self::$name(_) => <$name as Body>::KIND,)+
                }
            }

            fn put(&self, rpc: u64, out: &mut BytesMut) -> Result<(), EncodeFault> {
                match self {
                    $(Self::$name(body) => put(rpc, body, out),)+
                }
            }

            /// Reads a body of this kind; none where the kind is not known.
            fn take(kind: u8, reader: &mut BodyReader) -> Option<Result<Self, DecodeError>> {
                Some(match kind {
                    $(<$name as Body>::KIND => <$name as Body>::take_body(reader).map(Self::$name),)+
                    _ => return None,
                })
            }
        }

        $(impl From<$name> for PeerBody {
            fn from(body: $name) -> Self {
                Self::$name(body)
            }
        })+
    };
}
bodies! {
    /// Log entries.
    Append,
    /// How far they were taken.
    AppendReply,
    /// Asks for a vote.
    Vote,
    /// The vote.
    VoteReply,
    /// The heartbeats of all groups.
    Beats,
    /// What the groups say to them.
    BeatReplies,
    /// Asks for the wall clock.
    Clock,
    /// The wall clock.
    ClockReply,
    /// Asks for digests of applied state.
    DigestsAsk,
    /// The digests.
    Digests,
    /// Asks for a snapshot.
    SnapshotAsk,
    /// A snapshot begins.
    SnapshotOpen,
    /// A part of it.
    SnapshotChunk,
    /// It is complete.
    SnapshotEnd,
    /// Whether it was taken.
    SnapshotReply,
    /// Asks a replica to take over as leader.
    Transfer,
    /// Whether it will try.
    TransferReply,
    /// Operations of clients for the leader.
    Forward,
    /// Callers of some of them are gone.
    ForwardCancel,
    /// The answers to them.
    ForwardReplies,
    /// Asks for the roster.
    RosterAsk,
    /// The roster.
    RosterReply,
    /// Asks how the node is.
    PeerStatusAsk,
    /// How the node is.
    PeerStatus,
    /// The request cannot be served.
    Refused,
}

impl PeerBody {
    /// Whether it answers a request of ours, rather than asks something.
    #[must_use]
    pub fn is_reply(&self) -> bool {
        matches!(
            self,
            Self::AppendReply(_)
                | Self::VoteReply(_)
                | Self::BeatReplies(_)
                | Self::ClockReply(_)
                | Self::Digests(_)
                | Self::SnapshotReply(_)
                | Self::TransferReply(_)
                | Self::ForwardReplies(_)
                | Self::RosterReply(_)
                | Self::PeerStatus(_)
                | Self::Refused(_)
        )
    }
}
