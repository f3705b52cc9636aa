//! Wall clocks, for the quorum's median, and the log times that replicas know.

use super::body::body;
use crate::codec::fields;
use crate::limits::GROUPS;
use hapax_core::LogTime;

/// Asks for the wall clock, and for what the peer knows of these shards' log times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// The shards.
    pub shards: Vec<u32>,
}
fields!(Clock { shards: GROUPS });
body!(Clock, CLOCK);

/// The reply to a [`Clock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockReply {
    /// The replying node's wall clock when it sent this, ms since 1970.
    pub wall_ms: u64,
    /// One a shard that was asked for and has a replica there.
    pub times: Vec<ShardTime>,
}
fields!(ClockReply { wall_ms, times: GROUPS });
body!(ClockReply, CLOCK_REPLY);

/// The log time of one shard as a replica knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardTime {
    /// The shard.
    pub shard: u32,
    /// Its log time now; absent when the replica has received no entry when it was made, in this life of its
    /// process or an earlier one since its machine was started.
    pub time: Option<LogTime>,
    /// When its process was started.
    pub begun: Begun,
}
fields!(ShardTime { shard, time, begun });

/// When the process of a replica was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// The term of the last stamped entry that the replica's log held then; 0 where it held none.
    pub term: u64,
    /// The index of that entry; 0 where it held none.
    pub index: u64,
    /// For how long the process has been running, ms of its machine's boot clock.
    pub up_ms: u64,
}
fields!(Begun { term, index, up_ms });
