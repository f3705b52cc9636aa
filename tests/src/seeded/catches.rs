//! Which test is known to catch which seeded bug.

use hapax_core::seeded::Bug;

/// A bug and the test that must fail while it is switched on.
#[derive(Clone, Copy, Debug)]
pub struct Catch {
    /// The bug.
    pub bug: Bug,
    /// Package and target.
    pub suite: &'static str,
    /// The test's full name.
    pub test: &'static str,
}

const CORE: &str = "hapax-core/it";
const CLUSTER: &str = "hapax-raft/cluster";
const LOG_CRASH: &str = "hapax-store/log_crash";
const LOG_DAMAGE: &str = "hapax-store/log_damage";
const RESTART: &str = "hapax-store/records_restart";
const SNAPSHOTS: &str = "hapax-store/records_snapshots";
const DAMAGE: &str = "hapax-store/records_damage";
const OVERLAY: &str = "hapax-store/records_overlay";

/// One for each bug, in the order of the list.
#[must_use]
pub fn catches() -> Vec<Catch> {
    let catch = |bug: &Bug| {
        let (suite, test) = catch_of(*bug);
        Catch { bug: *bug, suite, test }
    };
    Bug::ALL.iter().map(catch).collect()
}

fn catch_of(bug: Bug) -> (&'static str, &'static str) {
    match bug {
        Bug::AckBeforeFsync => (LOG_CRASH, "a_crash_at_every_call_to_the_disk_keeps_what_was_acknowledged"),
        Bug::UnsyncedVote => (LOG_CRASH, "any_calls_and_any_crashes_agree_with_the_model"),
        Bug::VoteOvertakesLog => (LOG_CRASH, "a_crash_at_every_call_to_the_disk_keeps_what_was_acknowledged"),
        Bug::CutMidLog => (LOG_DAMAGE, "a_flipped_bit_anywhere_gives_the_truth_or_a_quarantine"),
        Bug::AppliedNotAtomic => (RESTART, "a_crash_at_every_point_of_a_history_is_survived"),
        Bug::FilterUnread => (OVERLAY, "what_the_filter_calls_absent_is_absent"),
        Bug::OverlayLost => (OVERLAY, "pages_over_overlay_and_engine_are_what_was_applied"),
        Bug::PurgePastSync => (DAMAGE, "a_mark_is_never_ahead_of_a_sync"),
        Bug::SnapshotOmitsClaimed => (SNAPSHOTS, "a_snapshot_carries_everything_to_any_engine"),
        Bug::TokenCheckSkipped => (CORE, "token_table::any_other_token_is_fenced_and_changes_nothing"),
        Bug::TokenReused => {
            (CORE, "claim_table::open_is_granted_as_the_next_attempt_with_the_recovery_point")
        }
        Bug::CompleteOverwrites => {
            (CORE, "retries::a_copy_right_behind_is_answered_alike_and_changes_nothing")
        }
        Bug::RenewResurrects => (CORE, "retries::a_delayed_renewal_never_brings_a_lapsed_lease_back"),
        Bug::StaleCheckpointTaken => (CORE, "token_table::checkpoint_and_mark_follow_the_sequence_number"),
        Bug::NonceIgnored => (CORE, "claim_table::a_running_claim_is_in_flight_until_the_very_deadline"),
        Bug::RetryGrantedAnew => {
            (CORE, "claim_table::the_same_nonce_and_principal_find_their_lost_grant_again")
        }
        Bug::FingerprintPrefix => (CORE, "history::random_histories_keep_every_promise"),
        Bug::TenantLeftOut => (CORE, "bytes::every_command_is_read_back_as_it_was"),
        Bug::MemorySkipped => (CORE, "claim_table::spent_is_told_and_never_run_until_the_memory_ends"),
        Bug::InDoubtTakenOver => (CORE, "claim_table::in_doubt_is_told_to_everybody_for_ever"),
        Bug::MetadataDropped => {
            (CORE, "claim_table::completed_is_replayed_byte_for_byte_to_every_nonce_until_it_expires")
        }
        Bug::NotAfterIgnored => (CORE, "retries::past_not_after_every_verb_is_too_late_and_changes_nothing"),
        Bug::LogTimeGoesBack => (CORE, "entries::log_time_never_goes_back"),
        Bug::ReadIgnoresStamp => (CORE, "reads::no_read_says_what_the_log_would_not"),
        Bug::WallInApply => {
            (CLUSTER, "timing::stamps_never_go_back_over_transfers_and_restarts_with_clocks_an_hour_apart")
        }
        Bug::StampOwnWall => {
            (CLUSTER, "timing::restarts_of_processes_do_not_make_log_time_jump_and_one_of_all_machines_does")
        }
        Bug::ReadWithoutIndex => {
            (CLUSTER, "quorum::a_leader_that_is_cut_off_never_grants_and_never_answers_a_read")
        }
        Bug::IndefiniteCalledDefinite => (
            CLUSTER,
            "quorum::a_definite_refusal_without_a_quorum_had_no_effect_and_an_open_one_is_called_so",
        ),
        Bug::RepliesShifted => (CLUSTER, "quorum::a_call_that_gives_up_leaves_each_neighbour_its_own_reply"),
        Bug::StaleNotLabelled => {
            (CLUSTER, "serving::a_stale_read_is_labelled_so_and_never_says_that_something_was_not_seen")
        }
    }
}
