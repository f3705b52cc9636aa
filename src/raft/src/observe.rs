//! What a node tells its metrics.

use hapax_core::Answer;

/// Receives what happened, on the hot path: implementations only add to counters.
pub trait Observer: Send + Sync + 'static {
    /// A verb of a client was answered after `latency_us`, from its arrival at this node.
    fn answered(&self, shard: u32, verb: &'static str, answer: &Answer, latency_us: u64);
    /// An entry with so many commands was proposed.
    fn proposed(&self, shard: u32, commands: usize);
    /// Something worth counting happened, in apply or in an answer from applied state; only the
    /// shard's leader reports it. `first` says whether a prevented value is to be counted: once
    /// for each logical call, however often it is retried.
    fn event(&self, shard: u32, event: &hapax_core::Event, first: bool);
    /// Something that an operator should know happened in a shard's group.
    fn anomaly(&self, shard: u32, what: Anomaly);
}

/// Things that should not happen, by their stable names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A group died of an error and was rebuilt from disk.
    GroupRebuilt,
    /// A record store was damaged or behind its log, and was wiped.
    RecordsWiped,
    /// A replica's log is damaged: it takes no part until it is replaced.
    Quarantined,
    /// The wall clocks ask for a jump of log time that only an operator may allow.
    JumpHeld,
    /// Replicas of one log position have different digests.
    DigestDiffers,
}

impl Anomaly {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::GroupRebuilt, Self::RecordsWiped, Self::Quarantined, Self::JumpHeld, Self::DigestDiffers];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GroupRebuilt => "group_rebuilt",
            Self::RecordsWiped => "records_wiped",
            Self::Quarantined => "quarantined",
            Self::JumpHeld => "jump_held",
            Self::DigestDiffers => "digest_differs",
        }
    }
}
