//! Leadership handed over on purpose.

use super::body::body;
use super::{Ballot, Position};
use crate::codec::fields;
use hapax_core::tagged;

/// Asks a replica to take over as leader, once its log reaches `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The group.
    pub shard: u32,
    /// The leader's replica.
    pub from: u64,
    /// The replica that shall lead.
    pub to: u64,
    /// The leader's ballot.
    pub ballot: Ballot,
    /// Where the leader's log ends.
    pub last: Option<Position>,
}
fields!(Transfer { shard, from, to, ballot, last });
body!(Transfer, TRANSFER);

/// The reply to a [`Transfer`]. The tags are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferReply {
    /// The group has been told; whether it wins shows in its ballots.
    Taken,
    /// There is no such replica here.
    Gone,
}
tagged!(TransferReply { 1 => Taken, 2 => Gone });
body!(TransferReply, TRANSFER_REPLY);
