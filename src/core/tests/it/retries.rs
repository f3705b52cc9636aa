//! Every verb sent again, at once or late: no second harm (S8), and a dead token's verbs change
//! nothing in any state (S5).

use crate::stages::{Stage, stage, stage_from};
use crate::world::*;
use hapax_core::command::{Command, ForgetMode};
use hapax_core::{Blob, Reply, Token};

/// Every verb that the holder of `token`, whose call had nonce `n`, may have sent.
fn verbs_of(n: u8, token: Token) -> Vec<(&'static str, Command)> {
    vec![
        ("claim", claim(n)),
        ("renew", renew(token, 9)),
        ("mark", mark(token, 9)),
        ("checkpoint", checkpoint(token, 9, "late")),
        ("complete", complete(token)),
        ("release", release(token)),
        ("resolve_release", resolve_release(token)),
        ("resolve_complete", resolve_complete(token)),
        ("erase", forget(token, ForgetMode::Erase, true)),
        ("reset", forget(token, ForgetMode::Reset, true)),
    ]
}

#[test]
fn a_copy_right_behind_is_answered_alike_and_changes_nothing() {
    for at in Stage::ALL {
        let staged = stage(at);
        for n in [1, 2] {
            for (name, command) in verbs_of(n, staged.token) {
                let mut world = staged.world.clone();
                let (first, _) = world.step(staged.now, &command);
                let (second, changed) = world.step(staged.now, &command);
                assert!(!changed, "{name} twice at {at:?}");
                match (&first, &second) {
                    (Reply::Granted(first), Reply::Granted(second)) => {
                        assert_eq!(first.token, second.token, "{name} twice at {at:?}");
                        assert_eq!(first.lease_left_ms, second.lease_left_ms);
                        assert_eq!(first.checkpoint, second.checkpoint);
                        assert!(second.recovered);
                    }
                    (Reply::Completed(_), Reply::AlreadyCompleted) => (),
                    (first, second) => assert_eq!(first, second, "{name} twice at {at:?}"),
                }
            }
        }
    }
}

#[test]
fn copies_in_one_entry_are_as_good_as_copies_in_two() {
    for at in Stage::ALL {
        let staged = stage(at);
        for (name, command) in verbs_of(2, staged.token) {
            let (mut apart, mut together) = (staged.world.clone(), staged.world.clone());
            let first = apart.run(staged.now, &command);
            let second = apart.run(staged.now, &command);
            let replies = together.batch(staged.now, vec![command.clone(), command], |_| ());
            assert_eq!(replies.iter().map(Reply::name).collect::<Vec<_>>(), [first.name(), second.name()]);
            let kind = |world: &World| world.kind(staged.now);
            assert_eq!(kind(&apart), kind(&together), "{name} at {at:?}");
        }
    }
}

#[test]
fn a_superseded_token_changes_nothing_in_any_state_of_its_successor() {
    for first_end in [Stage::Released, Stage::Lapsed, Stage::ResolvedRelease] {
        for second_at in Stage::ALL.into_iter().filter(|at| *at != Stage::Absent) {
            let first = stage(first_end);
            let second = stage_from(first.world, first.now, 2, second_at);
            for (name, command) in verbs_of(1, first.token).into_iter().skip(1) {
                let mut world = second.world.clone();
                let (reply, changed) = world.step(second.now, &command);
                let forgets = matches!(name, "erase" | "reset");
                let expected = if forgets { Reply::Changed } else { Reply::Fenced };
                assert_eq!((reply, changed), (expected, false), "{name}: {first_end:?}, {second_at:?}");
            }
        }
    }
}

#[test]
fn a_token_of_an_earlier_incarnation_is_as_dead_as_any() {
    for second_at in Stage::ALL.into_iter().filter(|at| *at != Stage::Absent) {
        let first = stage(Stage::Absent);
        let second = stage_from(first.world, first.now, 2, second_at);
        for (name, command) in verbs_of(1, first.token).into_iter().skip(1) {
            let (reply, changed) = second.world.clone().step(second.now, &command);
            let forgets = matches!(name, "erase" | "reset");
            let expected = if forgets { Reply::Changed } else { Reply::Fenced };
            assert_eq!((reply, changed), (expected, false), "{name} at {second_at:?}");
        }
    }
}

#[test]
fn a_delayed_claim_of_the_first_call_never_takes_the_successor_s_place() {
    for second_at in [Stage::Claimed, Stage::Marked, Stage::InDoubt, Stage::Completed, Stage::Spent] {
        let first = stage(Stage::Released);
        let mut second = stage_from(first.world, first.now, 2, second_at);
        let (reply, changed) = second.world.step(second.now, &claim(1));
        assert!(!changed, "{second_at:?}: {reply:?}");
    }
}

#[test]
fn a_delayed_renewal_never_brings_a_lapsed_lease_back() {
    for at in [Stage::Lapsed, Stage::InDoubt] {
        let mut staged = stage(at);
        let greedy = renew_with(staged.token, 99, |renew| {
            renew.lease_ms = u64::MAX;
            renew.checkpoint = Some(Blob::from("late"));
        });
        assert_eq!(staged.world.step(staged.now, &greedy), (Reply::Fenced, false), "{at:?}");
    }
}

#[test]
fn a_release_sent_again_after_a_takeover_leaves_the_new_holder_alone() {
    let first = stage(Stage::Released);
    let mut second = stage_from(first.world, first.now, 2, Stage::Claimed);
    assert_eq!(second.world.run(second.now, &release(first.token)), Reply::Fenced);
    assert!(matches!(second.world.run(second.now, &complete(second.token)), Reply::Completed(_)));
}

#[test]
fn a_late_copy_of_a_complete_is_recognised_even_when_the_result_is_gone() {
    for at in [Stage::Completed, Stage::Spent] {
        let mut staged = stage(at);
        let step = staged.world.step(staged.now, &complete(staged.token));
        assert_eq!(step, (Reply::AlreadyCompleted, false), "{at:?}");
    }
    let mut staged = stage(Stage::Completed);
    staged.world.run(staged.now, &forget(staged.token, ForgetMode::Erase, false));
    let step = staged.world.step(staged.now, &complete(staged.token));
    assert_eq!(step, (Reply::AlreadyCompleted, false), "erased");
}

#[test]
fn a_late_copy_of_a_resolve_is_recognised_even_when_the_result_is_gone() {
    let mut staged = stage(Stage::ResolvedComplete);
    let late = staged.now + RETENTION;
    let step = staged.world.step(late, &resolve_complete(staged.token));
    assert_eq!(step, (Reply::Resolved, false));
}

#[test]
fn past_not_after_every_verb_is_too_late_and_changes_nothing() {
    use hapax_core::{ErrorCode, LogTime};
    for at in Stage::ALL {
        let staged = stage(at);
        for (name, command) in verbs_of(2, staged.token) {
            let with = |not_after| Command { not_after: Some(LogTime(not_after)), ..command.clone() };
            let (reply, changed) = staged.world.clone().step(staged.now, &with(staged.now - 1));
            let Reply::Error(refusal) = reply else { panic!("{name} at {at:?}: {reply:?}") };
            assert_eq!((refusal.code, refusal.definite, changed), (ErrorCode::TooLate, true, false));
            // At not_after itself it is in time.
            let in_time = staged.world.clone().step(staged.now, &with(staged.now));
            assert_eq!(in_time, staged.world.clone().step(staged.now, &command), "{name} at {at:?}");
        }
    }
}
