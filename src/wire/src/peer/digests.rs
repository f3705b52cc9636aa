//! Rolling digests of applied state, which replicas compare all the time.

use super::body::body;
use crate::codec::fields;
use crate::limits::{DIGESTS, GROUPS};

/// Asks which digests the peer's replicas had at these places of their logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestsAsk {
    /// One a shard.
    pub shards: Vec<DigestsOf>,
}
fields!(DigestsAsk { shards: GROUPS });
body!(DigestsAsk, DIGESTS_ASK);

/// The places of one shard that are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestsOf {
    /// The shard.
    pub shard: u32,
    /// The log indexes; at most 16.
    pub indexes: Vec<u64>,
}
fields!(DigestsOf { shard, indexes: DIGESTS });

/// The reply to a [`DigestsAsk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// One a shard that has a replica there.
    pub shards: Vec<ShardDigests>,
}
fields!(Digests { shards: GROUPS });
body!(Digests, DIGESTS);

/// What one replica remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDigests {
    /// The shard.
    pub shard: u32,
    /// The replica.
    pub replica: u64,
    /// The places of those asked about that it remembers; at most 16.
    pub points: Vec<DigestPoint>,
}
fields!(ShardDigests { shard, replica, points: DIGESTS });

/// The digest after one entry was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestPoint {
    /// The entry.
    pub index: u64,
    /// The rolling digest after it.
    pub digest: [u8; 16],
}
fields!(DigestPoint { index, digest });
