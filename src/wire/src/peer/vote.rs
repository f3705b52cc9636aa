//! Elections.

use super::body::body;
use super::{Ballot, Position};
use crate::codec::fields;
use hapax_core::tagged;

/// Asks a replica for its vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The group.
    pub shard: u32,
    /// The candidate's replica.
    pub from: u64,
    /// The replica asked.
    pub to: u64,
    /// What it shall vote for.
    pub ballot: Ballot,
    /// Where the candidate's log ends.
    pub last: Option<Position>,
    /// Only whether it would: nothing is kept, no term is raised.
    pub pre: bool,
    /// The leader has asked the candidate to take over: its lease does not stand in the way.
    pub handover: bool,
}
fields!(Vote { shard, from, to, ballot, last, pre, handover });
body!(Vote, VOTE);

/// The reply to a [`Vote`]. The tags are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteReply {
    /// The replica's answer.
    Answer(VoteAnswer),
    /// There is no such replica here.
    Gone,
}
tagged!(VoteReply { 1 => Answer(VoteAnswer), 2 => Gone });
body!(VoteReply, VOTE_REPLY);

/// What a replica answers a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteAnswer {
    /// The ballot that it holds, on its disk.
    pub ballot: Ballot,
    /// Where its log ends.
    pub last: Option<Position>,
    /// Whether it votes for the candidate.
    pub granted: bool,
}
fields!(VoteAnswer { ballot, last, granted });
