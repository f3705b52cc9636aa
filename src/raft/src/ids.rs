//! Who is who: nodes and their replicas.
//!
//! A node id is random, kept with the data directory and never reused; its low 16 bits are zero.
//! A Raft member is never a node but a *replica*: node id plus incarnation, so that a replica that
//! lost its log can be replaced on the same node under a new id and never votes twice under one.

/// A node: 48 random bits, the low 16 bits zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

/// A Raft member of one shard: a node id and an incarnation (0–65535) in the low 16 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(u64);

const INCARNATION_MASK: u64 = 0xffff;

impl NodeId {
    /// The node id within any number: the low 16 bits are dropped.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        Self(number & !INCARNATION_MASK)
    }

    /// The number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// This node's replica of the given incarnation.
    #[must_use]
    pub fn replica(self, incarnation: u16) -> ReplicaId {
        ReplicaId(self.0 | u64::from(incarnation))
    }
}

impl ReplicaId {
    /// The replica of that number.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The node that it lives on.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId::from_u64(self.0)
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:012x}", self.0 >> 16)
    }
}

impl std::fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.node(), self.0 & INCARNATION_MASK)
    }
}
