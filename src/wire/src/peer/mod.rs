//! What nodes say to each other.
//!
//! The dialling node opens with [`PeerHello`], the other answers [`PeerWelcome`] or
//! [`crate::client::Error`] and closes. From then on both send [`PeerFrame`]s. A request carries a
//! number that its sender draws (unique among its requests in flight on that connection); the
//! reply carries the same number. Requests of the two sides do not mix: a reply's kind tells that
//! it is one. A request that is not known or cannot be served is answered [`Refused`], and the
//! connection lives on.

mod append;
mod ballot;
mod beats;
mod body;
mod clock;
mod digests;
mod entry;
mod forward;
mod hello;
mod refused;
mod roster;
mod snapshot;
mod status;
mod transfer;
mod vote;
mod welcome;

pub use append::{Append, AppendOutcome, AppendReply};
pub use ballot::{Ballot, Position};
pub use beats::{Beat, BeatReplies, BeatReply, Beats};
pub use body::{Body, PeerBody, PeerFrame, put};
pub use clock::{Begun, Clock, ClockReply, ShardTime};
pub use digests::{DigestPoint, Digests, DigestsAsk, DigestsOf, ShardDigests};
pub use entry::Entry;
pub use forward::{Forward, ForwardCancel, ForwardReplies, Forwarded, ForwardedAnswer};
pub use hello::{Channel, PeerHello};
pub use refused::Refused;
pub use roster::{Roster, RosterAsk, RosterNode, RosterReply, RosterShard};
pub use snapshot::{SnapshotAsk, SnapshotChunk, SnapshotEnd, SnapshotOpen, SnapshotReply};
pub use status::{PeerStatus, PeerStatusAsk};
pub use transfer::{Transfer, TransferReply};
pub use vote::{Vote, VoteAnswer, VoteReply};
pub use welcome::PeerWelcome;
