//! The bytes of what this crate keeps in the log: entry payloads, votes and memberships.
//!
//! A payload is one tag byte and a body: 0 blank, 1 a batch of commands as the store's codec
//! writes it, 2 a membership. The encodings are ours; openraft's own layouts never reach a disk
//! or a peer. Golden bytes are pinned by `tests/golden.rs`.

use crate::types::{Membership, Payload, Proposal, RaftLogId, StoredMembership, Vote, log_id};
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};
use bytes::{BufMut, Bytes, BytesMut};
use hapax_store::log::LogPosition;
use std::collections::BTreeSet;

const TAG_BLANK: u8 = 0;
const TAG_COMMANDS: u8 = 1;
const TAG_MEMBERSHIP: u8 = 2;
/// The version of vote and membership bytes.
const VERSION: u8 = 1;
/// The most bytes that a vote or membership may take.
const LIMIT_BYTES: usize = 64 * 1024;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<LIMIT_BYTES>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<LIMIT_BYTES>();

/// Bytes in the log that do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes of a {0} do not decode")]
pub struct PayloadError(&'static str);

impl From<PayloadError> for std::io::Error {
    fn from(error: PayloadError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

#[derive(Encode, Decode)]
struct VoteBytes {
    version: u8,
    term: u64,
    replica: u64,
    committed: bool,
}

#[derive(Encode, Decode)]
struct MembershipBytes {
    version: u8,
    /// The entry that set it, where it is known.
    set_at: Option<(u64, u64)>,
    /// One set of voters, or two while a change is under way.
    voters: Vec<Vec<u64>>,
    /// All members, voters included.
    members: Vec<u64>,
}

/// The bytes of an entry's payload.
#[must_use]
pub fn encode_payload(payload: &Payload) -> Bytes {
    match payload {
        Payload::Blank => Bytes::from_static(&[TAG_BLANK]),
        Payload::Normal(Proposal(batch)) => {
            let mut bytes = BytesMut::with_capacity(batch.len() + 1);
            bytes.put_u8(TAG_COMMANDS);
            bytes.put_slice(batch);
            bytes.freeze()
        }
        Payload::Membership(membership) => {
            let mut bytes = vec![TAG_MEMBERSHIP];
            bytes.extend_from_slice(&encode_membership(&StoredMembership::new(None, membership.clone())));
            bytes.into()
        }
    }
}

/// Reads a payload back; a batch of commands shares the given buffer.
///
/// # Errors
/// When the tag is unknown or a membership does not decode. A batch is only decoded by apply.
pub fn decode_payload(bytes: &Bytes) -> Result<Payload, PayloadError> {
    match bytes.first() {
        Some(&TAG_BLANK) => Ok(Payload::Blank),
        Some(&TAG_COMMANDS) => Ok(Payload::Normal(Proposal(bytes.slice(1..)))),
        Some(&TAG_MEMBERSHIP) => {
            let stored = decode_membership(&bytes[1..])?;
            Ok(Payload::Membership(stored.membership().clone()))
        }
        _ => Err(PayloadError("log entry")),
    }
}

/// The bytes of a vote.
#[must_use]
pub fn encode_vote(vote: &Vote) -> Bytes {
    let bytes = VoteBytes {
        version: VERSION,
        term: vote.leader_id.term,
        replica: vote.leader_id.voted_for,
        committed: vote.committed,
    };
    bincode::encode_to_vec(&bytes, CONFIG).expect("a vote has 18 bytes").into()
}

/// Reads a vote back.
///
/// # Errors
/// When the bytes are not a vote of a known version.
pub fn decode_vote(bytes: &[u8]) -> Result<Vote, PayloadError> {
    let vote: VoteBytes = decode(bytes, "vote")?;
    if vote.version != VERSION {
        return Err(PayloadError("vote"));
    }
    let make = if vote.committed { Vote::new_committed } else { Vote::new };
    Ok(make(vote.term, vote.replica))
}

/// The bytes of a membership and the entry that set it.
#[must_use]
pub fn encode_membership(stored: &StoredMembership) -> Vec<u8> {
    let set_at = stored.log_id().as_ref().map(|id: &RaftLogId| (id.leader_id.term, id.index));
    let membership = stored.membership();
    let bytes = MembershipBytes {
        version: VERSION,
        set_at,
        voters: membership.get_joint_config().iter().map(|set| set.iter().copied().collect()).collect(),
        members: membership.nodes().map(|(id, ())| *id).collect(),
    };
    bincode::encode_to_vec(&bytes, CONFIG).expect("a group has a handful of members")
}

/// Reads a membership back; no bytes are the empty membership of a group that has none yet.
///
/// # Errors
/// When the bytes are not a membership of a known version.
pub fn decode_membership(bytes: &[u8]) -> Result<StoredMembership, PayloadError> {
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let stored: MembershipBytes = decode(bytes, "membership")?;
    if stored.version != VERSION {
        return Err(PayloadError("membership"));
    }
    let voters: Vec<BTreeSet<u64>> = stored.voters.into_iter().map(|set| set.into_iter().collect()).collect();
    let members: std::collections::BTreeMap<u64, ()> =
        stored.members.into_iter().map(|id| (id, ())).collect();
    let membership = Membership::new(voters, members).map_err(|_| PayloadError("membership"))?;
    let set_at = stored.set_at.map(|(term, index)| log_id(LogPosition { term, index }));
    Ok(StoredMembership::new(set_at, membership))
}

fn decode<T: Decode<()>>(bytes: &[u8], what: &'static str) -> Result<T, PayloadError> {
    match bincode::decode_from_slice(bytes, CONFIG) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        _ => Err(PayloadError(what)),
    }
}
