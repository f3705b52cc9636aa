//! The faults that a plan may hold.

use crate::gate::Latency;
use serde::Serialize;

/// Whom a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// This node.
    Node(usize),
    /// Whoever leads this shard at that moment.
    LeaderOf(u32),
    /// Every node at once.
    All,
}

/// What separates nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// One node from all others.
    Isolate(usize),
    /// One node does not reach the others, but hears them.
    Mute(usize),
    /// One node hears nobody, but is heard.
    Deafen(usize),
    /// The first so many nodes from the rest.
    Halves(usize),
    /// Each node reaches only its neighbours on a ring.
    Ring,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The process is killed; the machine and its disk live on.
    Kill(Whom),
    /// The machine loses power: unsynced writes are lost or torn.
    Power(Whom),
    /// Power goes in the middle of the so-many-th next call of the disk.
    PowerAtOp(usize, u64),
    /// An orderly restart: leads are handed over first.
    Restart(Whom),
    /// Messages are lost (or, held, arrive late) between nodes.
    Partition {
        /// Who is separated.
        cut: Cut,
        /// Held and delivered at the end, instead of lost. Not for one-way cuts.
        held: bool,
        /// Comes and goes every so many ms; 0 stays.
        flap_ms: u64,
    },
    /// Links lose a message now and then, which breaks the stream that it belongs to.
    Lossy {
        /// In so many of 10 000 messages.
        of_10_000: u64,
    },
    /// All links of a node are slow.
    Slow(usize, u64),
    /// A disk takes long for each batch.
    SlowDisk(usize, #[serde(skip)] Latency),
    /// A write fails.
    WriteError(usize, u64),
    /// A sync fails.
    SyncError(usize, u64),
    /// The disk is full.
    DiskFull(usize),
    /// The wall clock is set off by so many ms.
    ClockStep(usize, i64),
    /// The wall clock stands still.
    ClockFrozen(usize),
    /// The record store is gone when the node comes back.
    RecordsWiped(usize),
    /// A bit of a stored record flips while the node is down.
    RecordsRot(usize),
    /// Bytes of the log flip while the node is down.
    LogDamage(usize),
}

impl Fault {
    /// Where at most one fault can be at a time, if it is of such a kind: of two, the later one would
    /// undo the other, or nobody could tell their effects apart.
    #[must_use]
    pub fn place(&self) -> Option<(&'static str, usize)> {
        match self {
            Self::PowerAtOp(i, _) => Some(("power", *i)),
            Self::WriteError(i, _) | Self::SyncError(i, _) | Self::DiskFull(i) => Some(("calls", *i)),
            Self::SlowDisk(i, _) => Some(("pace", *i)),
            Self::ClockStep(i, _) | Self::ClockFrozen(i) => Some(("wall clock", *i)),
            Self::Lossy { .. } => Some(("loss", 0)),
            Self::Restart(_) => Some(("stop", 0)),
            _ => None,
        }
    }

    /// The one machine whose disk or clock it changes while a process runs there, if it is of such a kind.
    #[must_use]
    pub fn machine(&self) -> Option<usize> {
        match self {
            Self::PowerAtOp(i, _)
            | Self::WriteError(i, _)
            | Self::SyncError(i, _)
            | Self::SlowDisk(i, _)
            | Self::DiskFull(i)
            | Self::ClockStep(i, _)
            | Self::ClockFrozen(i) => Some(*i),
            _ => None,
        }
    }

    /// The stable name of its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill(Whom::All) => "kill all",
            Self::Kill(Whom::LeaderOf(_)) => "kill leader",
            Self::Kill(Whom::Node(_)) => "kill one",
            Self::Power(Whom::All) => "power all",
            Self::Power(Whom::LeaderOf(_)) => "power leader",
            Self::Power(Whom::Node(_)) => "power one",
            Self::PowerAtOp(..) => "power in a disk call",
            Self::Restart(_) => "orderly restart",
            Self::Partition { flap_ms: 1.., .. } => "partition flapping",
            Self::Partition { held: true, .. } => "partition held",
            Self::Partition { cut: Cut::Mute(_) | Cut::Deafen(_), .. } => "partition one-way",
            Self::Partition { cut: Cut::Ring, .. } => "partition ring",
            Self::Partition { .. } => "partition",
            Self::Lossy { .. } => "lossy links",
            Self::Slow(..) => "slow links",
            Self::SlowDisk(..) => "slow disk",
            Self::WriteError(..) => "write error",
            Self::SyncError(..) => "sync error",
            Self::DiskFull(_) => "disk full",
            Self::ClockStep(..) => "clock step",
            Self::ClockFrozen(_) => "clock frozen",
            Self::RecordsWiped(_) => "records wiped",
            Self::RecordsRot(_) => "records rot",
            Self::LogDamage(_) => "log damage",
        }
    }
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// When it strikes, ms of the simulation.
    pub at_ms: u64,
    /// How long it stays, or how long the process stays down.
    pub for_ms: u64,
    /// What it is.
    pub fault: Fault,
}
