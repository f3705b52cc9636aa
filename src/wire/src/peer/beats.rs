//! The heartbeats of all groups that a node leads towards one peer, in one frame.

use super::append::AppendOutcome;
use super::body::body;
use super::{Ballot, Position};
use crate::codec::fields;
use crate::limits::GROUPS;

/// Heartbeats, each for its own replica: every one is handed to its group and answered by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beats {
    /// One a group.
    pub beats: Vec<Beat>,
}
fields!(Beats { beats: GROUPS });
body!(Beats, BEATS);

/// A heartbeat of one group: an append without entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The group.
    pub shard: u32,
    /// The leader's replica.
    pub from: u64,
    /// The follower's replica.
    pub to: u64,
    /// The leader's ballot.
    pub ballot: Ballot,
    /// A place that the follower's log should have.
    pub prev: Option<Position>,
    /// The last committed place that the leader knows.
    pub committed: Option<Position>,
}
fields!(Beat { shard, from, to, ballot, prev, committed });

/// The reply to [`Beats`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeatReplies {
    /// One a heartbeat.
    pub replies: Vec<BeatReply>,
}
fields!(BeatReplies { replies: GROUPS });
body!(BeatReplies, BEAT_REPLIES);

/// What one group says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeatReply {
    /// The group.
    pub shard: u32,
    /// The follower's replica, as the heartbeat named it.
    pub to: u64,
    /// How it went.
    pub outcome: AppendOutcome,
}
fields!(BeatReply { shard, to, outcome });
