//! Bugs that the tests must catch: test-only, and nothing at all in the product.
//!
//! A check that never failed proves little. So the code of every layer has spots where, in a build
//! with the feature `seeded-bugs`, one well-known mistake can be switched on; the suites, the
//! simulator and the chaos run must then fail. No crate enables the feature by default, and without
//! it [`active`] is the constant `false`: there is no selector, no state, and the spots compile to
//! what they were without them. A spot is one line, written so that the right code can be read off it.

#[cfg(feature = "seeded-bugs")]
mod select;

#[cfg(feature = "seeded-bugs")]
pub use select::{VARIABLE, active, choose_here, reached_here};

/// Whether a bug is switched on: without the feature, never.
#[cfg(not(feature = "seeded-bugs"))]
#[must_use]
pub const fn active(_bug: Bug) -> bool {
    false
}

macro_rules! bugs {
    ($($bug:ident $name:literal $what:literal;)*) => {
        /// A mistake that can be switched on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)*];

            /// The name by which it is chosen.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)* }
            }

            /// What goes wrong.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$bug => $what,)* }
            }
        }
    };
}

bugs! {
    AckBeforeFsync "ack-before-fsync" "Entries count as durable before they are synced.";
    UnsyncedVote "unsynced-vote" "A vote counts as durable before it is synced.";
    VoteOvertakesLog "vote-overtakes-log" "A vote is made durable before the entries appended ahead of it.";
    CutMidLog "cut-mid-log" "Damage before the end of what was synced is cut like a torn tail.";
    AppliedNotAtomic "applied-not-atomic" "The applied index is written apart from its effects, and first.";
    OverlayLost "overlay-lost" "Changes leave the overlay before the engine has them.";
    FilterUnread "filter-unread" "The filter of what the engine may hold is trusted before all of that was read.";
    PurgePastSync "purge-past-sync" "Records count as durable, and the log is purged, before the engine synced them.";
    SnapshotOmitsClaimed "snapshot-omits-claimed" "A snapshot leaves out the records of running claims.";
    TokenCheckSkipped "token-check-skipped" "Any token counts as that of the record.";
    TokenReused "token-reused" "A claim that takes over gets the token of the attempt before.";
    CompleteOverwrites "complete-overwrites" "A second complete replaces the outcome kept.";
    RenewResurrects "renew-resurrects" "A renewal after the lease has lapsed extends it all the same.";
    StaleCheckpointTaken "stale-checkpoint-taken" "A delayed renewal moves the recovery point back.";
    NonceIgnored "nonce-ignored" "Another caller's nonce recovers the running grant.";
    RetryGrantedAnew "retry-granted-anew" "A claim sent again is granted a second time.";
    FingerprintPrefix "fingerprint-prefix" "Of a fingerprint only the first half is compared.";
    TenantLeftOut "tenant-left-out" "The tenant is left out of the address.";
    MemorySkipped "memory-skipped" "What ran and expired may run again at once.";
    InDoubtTakenOver "in-doubt-taken-over" "A claim in doubt is taken over without a word.";
    MetadataDropped "metadata-dropped" "A replay leaves out the metadata of the outcome.";
    NotAfterIgnored "not-after-ignored" "A command takes effect past its not_after.";
    LogTimeGoesBack "log-time-goes-back" "Apply takes an entry's time even where it lies before log time.";
    ReadIgnoresStamp "read-ignores-stamp" "A read looks at applied log time alone, not at the present.";
    WallInApply "wall-in-apply" "A replica applies an entry at its own wall clock.";
    StampOwnWall "stamp-own-wall" "A leader stamps its own wall clock.";
    ReadWithoutIndex "read-without-index" "A read trusts that this replica still leads, without a ReadIndex.";
    IndefiniteCalledDefinite "indefinite-called-definite" "A refusal whose outcome is open is called definite.";
    RepliesShifted "replies-shifted" "Once a call of an entry is late, the others get their neighbours' replies.";
    StaleNotLabelled "stale-not-labelled" "A follower's stale read is labelled as the leader's.";
}

impl Bug {
    /// The bug of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

#[cfg(all(test, not(feature = "seeded-bugs")))]
mod tests {
    use super::*;

    /// Evaluated by the compiler: a spot costs nothing.
    const NOTHING_IS_ACTIVE: bool = !active(Bug::AckBeforeFsync);

    #[test]
    fn without_the_feature_no_bug_can_be_switched_on() {
        const { assert!(NOTHING_IS_ACTIVE) };
        assert!(Bug::ALL.iter().all(|bug| !active(*bug)));
    }

    #[test]
    fn names_are_distinct_and_read_back() {
        for bug in Bug::ALL {
            assert_eq!(Bug::parse(bug.name()), Some(*bug));
        }
        assert_eq!(Bug::parse("none"), None);
    }
}
