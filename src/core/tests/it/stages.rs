//! A record brought to each of its states by the verbs that lead there.

use crate::world::*;
use hapax_core::command::{Command, ForgetMode};
use hapax_core::{Reply, StateKind, Token};

/// Where the record stands, and how it got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Absent,
    Claimed,
    Marked,
    Released,
    Lapsed,
    ResolvedRelease,
    InDoubt,
    Completed,
    ResolvedComplete,
    Spent,
    /// Forgotten by force while it ran.
    Erased,
}

impl Stage {
    pub(crate) const ALL: [Self; 11] = [
        Self::Absent,
        Self::Claimed,
        Self::Marked,
        Self::Released,
        Self::Lapsed,
        Self::ResolvedRelease,
        Self::InDoubt,
        Self::Completed,
        Self::ResolvedComplete,
        Self::Spent,
        Self::Erased,
    ];

    pub(crate) fn kind(self) -> StateKind {
        match self {
            Self::Absent => StateKind::Absent,
            Self::Claimed | Self::Marked => StateKind::Claimed,
            Self::Released | Self::Lapsed | Self::ResolvedRelease => StateKind::Open,
            Self::InDoubt => StateKind::InDoubt,
            Self::Completed | Self::ResolvedComplete => StateKind::Completed,
            Self::Spent | Self::Erased => StateKind::Spent,
        }
    }
}

/// A record at a stage.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) world: World,
    /// The token of its last claim; for [`Stage::Absent`] that of one that was reset.
    pub(crate) token: Token,
    /// A log time at which it is there.
    pub(crate) now: u64,
}

/// A record claimed by nonce `n` from `start` on, brought to a stage.
pub(crate) fn stage_from(mut world: World, start: u64, n: u8, stage: Stage) -> Staged {
    let token = world.grant(start, &claim(n));
    let ms = |after: u64| start + after;
    // The claim is marked at 10 and so lapses at 110; in doubt it is decided at 200.
    let plan: (Vec<(u64, Command)>, u64) = match stage {
        Stage::Absent => (vec![(ms(20), forget(token, ForgetMode::Reset, true))], ms(30)),
        Stage::Claimed => (vec![], ms(30)),
        Stage::Marked => (vec![(ms(10), mark(token, 1))], ms(30)),
        Stage::Released => (vec![(ms(20), release(token))], ms(30)),
        Stage::Lapsed => (vec![], ms(300)),
        Stage::InDoubt => (vec![(ms(10), mark(token, 1))], ms(300)),
        Stage::ResolvedRelease => {
            (vec![(ms(10), mark(token, 1)), (ms(200), resolve_release(token))], ms(300))
        }
        Stage::Completed => (vec![(ms(20), complete(token))], ms(30)),
        Stage::ResolvedComplete => {
            (vec![(ms(10), mark(token, 1)), (ms(200), resolve_complete(token))], ms(300))
        }
        Stage::Spent => (vec![(ms(20), complete(token))], ms(20 + RETENTION)),
        Stage::Erased => (vec![(ms(20), forget(token, ForgetMode::Erase, true))], ms(30)),
    };
    for (time, command) in plan.0 {
        let reply = world.run(time, &command);
        assert!(!matches!(reply, Reply::Fenced | Reply::Error(_)), "{stage:?}: {reply:?}");
    }
    let now = plan.1;
    assert_eq!(world.kind(now), stage.kind(), "{stage:?}");
    Staged { world, token, now }
}

/// A fresh shard whose record was claimed at 1000 with nonce 1.
pub(crate) fn stage(stage: Stage) -> Staged {
    stage_from(World::new(), 1000, 1, stage)
}
