//! openraft's types as this crate fills them in. Nothing of openraft leaves this crate.
//!
//! A member id is a [`crate::ids::ReplicaId`] as a number; a node carries no data, since addresses
//! come from the configuration. The standard leader id is used: one leader a term, so that term
//! and index name an entry.

use crate::codec;
use bytes::Bytes;
use hapax_core::LogTime;
use hapax_core::Reply;
use hapax_store::log::LogPosition;
use openraft::impls::leader_id_std;
use openraft::{EntryPayload, LogId};
use std::fmt;

openraft::declare_raft_types!(
    /// The types of every group.
    pub Types:
        D = Proposal,
        R = Applied,
        NodeId = u64,
        Node = (),
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

/// A leader whose term began: a term.
pub type CommittedLeader = openraft::alias::CommittedLeaderIdOf<Types>;
/// A vote.
pub type Vote = openraft::alias::VoteOf<Types>;
/// An entry's identity.
pub type RaftLogId = openraft::alias::LogIdOf<Types>;
/// An entry.
pub type Entry = openraft::alias::EntryOf<Types>;
/// What an entry carries.
pub type Payload = EntryPayload<Proposal, u64, ()>;
/// The members of a group.
pub type Membership = openraft::Membership<u64, ()>;
/// The members and the entry that set them.
pub type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
/// What a snapshot holds.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;

/// One batch of commands, encoded: the same bytes go to the log, to peers and to apply.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry gave: one reply a command, and the log time.
#[derive(Debug, Default)]
pub struct Applied {
    /// The replies in the order of the commands.
    pub replies: Vec<Reply>,
    /// The log time at which they took effect.
    pub time: LogTime,
}

/// The store's form of an entry's identity.
#[must_use]
pub fn position(id: &RaftLogId) -> LogPosition {
    LogPosition { term: id.leader_id.term, index: id.index }
}

/// openraft's form of an entry's identity.
#[must_use]
pub fn log_id(position: LogPosition) -> RaftLogId {
    LogId::new(CommittedLeader::new(position.term), position.index)
}

/// The store's form of an entry.
#[must_use]
pub fn to_stored(entry: &Entry) -> hapax_store::log::LogEntry {
    hapax_store::log::LogEntry {
        term: entry.log_id.leader_id.term,
        index: entry.log_id.index,
        payload: codec::encode_payload(&entry.payload),
    }
}

/// openraft's form of a stored entry.
///
/// # Errors
/// When the payload does not decode.
pub fn from_stored(entry: hapax_store::log::LogEntry) -> Result<Entry, codec::PayloadError> {
    Ok(Entry {
        log_id: log_id(LogPosition { term: entry.term, index: entry.index }),
        payload: codec::decode_payload(&entry.payload)?,
    })
}
