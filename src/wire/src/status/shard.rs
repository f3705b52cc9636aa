//! One replica of a shard.

use crate::codec::fields;
use crate::limits::REPLICAS;
use hapax_core::{LogTime, tagged};

/// What a replica is in its group. The tags are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShardRole {
    /// It proposes and answers.
    Leader,
    /// It follows and votes.
    Follower,
    /// It follows and does not vote.
    Learner,
    /// It asks for votes.
    Candidate,
    /// It does not run: halted, quarantined or shutting down.
    Stopped,
}
tagged!(ShardRole { 1 => Leader, 2 => Follower, 3 => Learner, 4 => Candidate, 5 => Stopped });

impl ShardRole {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Learner => "learner",
            Self::Candidate => "candidate",
            Self::Stopped => "stopped",
        }
    }
}

/// How a replica is. Indexes are 0 where there is none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    /// The shard.
    pub shard: u32,
    /// The replica's id in its group.
    pub replica: u64,
    /// What it is.
    pub role: ShardRole,
    /// The node that leads, if one is known.
    pub leader: Option<u64>,
    /// The term that it is in.
    pub term: u64,
    /// The last log index that it has.
    pub last_index: u64,
    /// The last one known to be committed.
    pub committed_index: u64,
    /// The last one applied.
    pub applied_index: u64,
    /// The last one purged.
    pub purged_index: u64,
    /// The log time applied.
    pub time: LogTime,
    /// Records kept.
    pub records: u64,
    /// Of those, in doubt.
    pub in_doubt: u64,
    /// The rolling digest at `applied_index`.
    pub digest: [u8; 16],
    /// On the leader: how far each replica has come.
    pub matches: Vec<Match>,
}
fields!(ShardStatus {
    shard,
    replica,
    role,
    leader,
    term,
    last_index,
    committed_index,
    applied_index,
    purged_index,
    time,
    records,
    in_doubt,
    digest,
    matches: REPLICAS,
});

/// How far a replica's log agrees with its leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The replica.
    pub replica: u64,
    /// The last index that agrees.
    pub index: u64,
}
fields!(Match { replica, index });
