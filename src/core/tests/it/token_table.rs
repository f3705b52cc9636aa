//! The own-token table, cell by cell, and what any other token gets.

use crate::stages::{Stage, stage};
use crate::world::*;
use hapax_core::command::{Command, ForgetMode};
use hapax_core::record::{OpenCause, State};
use hapax_core::reply::{CompletedReply, Renewed};
use hapax_core::{Blob, LogTime, OutcomeClass, Reply, StateKind, Token};

/// One row a stage: the reply to each verb of its own token, and the state that it leaves.
/// `=` leaves the record as it is.
const TABLE: &str = "
    stage             renew            complete                release        resolve_release   resolve_complete
    Absent            fenced =         fenced =                fenced =       not_in_doubt =    not_in_doubt =
    Claimed           renewed claimed  completed completed     released open  not_in_doubt =    not_in_doubt =
    Marked            renewed claimed  completed completed     released open  not_in_doubt =    not_in_doubt =
    Released          fenced =         fenced =                released =     not_in_doubt =    not_in_doubt =
    Lapsed            fenced =         completed completed     released open  not_in_doubt =    not_in_doubt =
    ResolvedRelease   fenced =         fenced =                fenced =       resolved =        not_in_doubt =
    InDoubt           fenced =         completed completed     released open  resolved open     resolved completed
    Completed         fenced =         already_completed =     fenced =       not_in_doubt =    not_in_doubt =
    ResolvedComplete  fenced =         already_completed =     fenced =       not_in_doubt =    resolved =
    Spent             fenced =         already_completed =     fenced =       not_in_doubt =    not_in_doubt =
    Erased            fenced =         conflict =              fenced =       not_in_doubt =    not_in_doubt =
";

fn verb(name: &str, token: Token) -> Command {
    match name {
        "renew" => renew(token, 7),
        "complete" => complete(token),
        "release" => release(token),
        "resolve_release" => resolve_release(token),
        "resolve_complete" => resolve_complete(token),
        other => panic!("no verb {other}"),
    }
}

#[test]
fn every_cell_of_the_table() {
    let mut lines = TABLE.lines().map(str::split_whitespace).filter(|words| words.clone().next().is_some());
    let verbs: Vec<&str> = lines.next().unwrap().skip(1).collect();
    let mut cells = 0;
    for (mut words, at) in lines.by_ref().zip(Stage::ALL) {
        assert_eq!(words.next().unwrap(), format!("{at:?}"));
        for name in &verbs {
            let (reply, left) = (words.next().unwrap(), words.next().unwrap());
            let mut staged = stage(at);
            let before = staged.world.record().cloned();
            let (answer, changed) = staged.world.step(staged.now, &verb(name, staged.token));
            assert_eq!(answer.name(), reply, "{name} at {at:?}");
            assert_eq!(changed, left != "=", "{name} at {at:?}");
            if changed {
                assert_eq!(staged.world.kind(staged.now).name(), left, "{name} at {at:?}");
            } else {
                assert_eq!(staged.world.record().cloned(), before, "{name} at {at:?}");
            }
            cells += 1;
        }
    }
    assert_eq!(cells, Stage::ALL.len() * 5);
}

#[test]
fn any_other_token_is_fenced_and_changes_nothing() {
    for at in Stage::ALL {
        for name in ["renew", "complete", "release", "resolve_release", "resolve_complete"] {
            let staged = stage(at);
            let own = staged.token.as_u64();
            for other in [own - 1, own + 1, 1, u64::MAX] {
                let mut world = staged.world.clone();
                let (reply, changed) = world.step(staged.now, &verb(name, Token::from(other)));
                let on_absent = at == Stage::Absent && name.starts_with("resolve");
                let expected = if on_absent { Reply::NotInDoubt } else { Reply::Fenced };
                assert_eq!((reply, changed), (expected, false), "{name} at {at:?}");
            }
        }
    }
}

#[test]
fn a_shadows_token_is_ignored_by_every_verb_in_every_state() {
    for at in Stage::ALL {
        for name in ["renew", "complete", "release", "resolve_release", "resolve_complete"] {
            let mut staged = stage(at);
            let step = staged.world.step(staged.now, &verb(name, Token::NONE));
            assert_eq!(step, (Reply::Ignored, false), "{name} at {at:?}");
        }
        for mode in [ForgetMode::Erase, ForgetMode::Reset] {
            let mut staged = stage(at);
            let step = staged.world.step(staged.now, &forget(Token::NONE, mode, true));
            assert_eq!(step, (Reply::Ignored, false), "forget at {at:?}");
        }
    }
}

#[test]
fn verbs_of_a_real_token_work_in_every_mode() {
    for mode in [hapax_core::Mode::Enforce, hapax_core::Mode::Observe] {
        let mut world = World::new();
        let token = world.grant(1000, &claim_with(1, |claim| claim.terms.mode = mode));
        assert!(matches!(world.run(1010, &renew(token, 1)), Reply::Renewed(_)));
        assert!(matches!(world.run(1020, &complete(token)), Reply::Completed(_)));
    }
}

#[test]
fn renew_moves_the_deadline_only_forward() {
    let mut world = World::new();
    let token = world.grant(1000, &claim(1));
    let renewed = |deadline, left| {
        Reply::Renewed(Renewed { deadline: LogTime(deadline), lease_left_ms: left, marked: false })
    };
    assert_eq!(world.run(1050, &renew(token, 1)), renewed(1150, 100));
    let short = renew_with(token, 2, |renew| renew.lease_ms = 10);
    assert_eq!(world.run(1060, &short), renewed(1150, 90));
    let long = renew_with(token, 3, |renew| renew.lease_ms = 300);
    assert_eq!(world.run(1060, &long), renewed(1360, 300));
    let State::Claimed(claimed) = &world.record().unwrap().state else { panic!() };
    assert_eq!((claimed.lease_ms, claimed.renewal_seq), (300, 3));
}

#[test]
fn a_renewal_to_the_same_deadline_changes_nothing() {
    let mut world = World::new();
    let token = world.grant(1000, &claim(1));
    let same = renew_with(token, 0, |renew| renew.lease_ms = LEASE - 50);
    let renewed = Renewed { deadline: LogTime(1100), lease_left_ms: 50, marked: false };
    assert_eq!(world.step(1050, &same), (Reply::Renewed(renewed), false));
}

#[test]
fn renew_never_moves_past_the_longest_hold() {
    let mut world = World::new();
    let token = world.grant(1000, &claim(1));
    let end = 1000 + MAX_HOLD;
    let greedy = renew_with(token, 1, |renew| renew.lease_ms = MAX_HOLD * 10);
    let Reply::Renewed(renewed) = world.run(1050, &greedy) else { panic!() };
    assert_eq!((renewed.deadline, renewed.lease_left_ms), (LogTime(end), MAX_HOLD - 50));
    let State::Claimed(claimed) = &world.record().unwrap().state else { panic!() };
    assert_eq!(claimed.lease_ms, MAX_HOLD - 50, "the lease as given, not as asked");
    // At the end of the hold nothing can renew it any more.
    assert_eq!(world.run(end, &renew(token, 2)), Reply::Fenced);
}

#[test]
fn checkpoint_and_mark_follow_the_sequence_number() {
    let mut world = World::new();
    let token = world.grant(1000, &claim(1));
    let claimed = |world: &World| match &world.record().unwrap().state {
        State::Claimed(claimed) => claimed.clone(),
        other => panic!("{other:?}"),
    };
    world.run(1010, &checkpoint(token, 5, "five"));
    // A delayed copy, and another renewal with the same number, move nothing back.
    world.run(1011, &checkpoint(token, 4, "four"));
    world.run(1012, &checkpoint(token, 5, "other five"));
    world.run(1013, &mark(token, 5));
    assert_eq!(claimed(&world).checkpoint, Blob::from("five"));
    assert!(!claimed(&world).marked);
    // Absent keeps it, empty clears it; the mark stays once it is set.
    let Reply::Renewed(renewed) = world.run(1014, &mark(token, 6)) else { panic!() };
    assert!(renewed.marked);
    assert_eq!(claimed(&world).checkpoint, Blob::from("five"));
    world.run(1015, &checkpoint(token, 7, ""));
    assert!(claimed(&world).checkpoint.is_empty());
    assert!(claimed(&world).marked, "never unset within a token");
    assert_eq!(claimed(&world).renewal_seq, 7);
}

#[test]
fn a_renewal_of_sequence_zero_moves_the_deadline_and_nothing_else() {
    let mut world = World::new();
    let token = world.grant(1000, &claim(1));
    let zero = renew_with(token, 0, |renew| {
        renew.mark = true;
        renew.checkpoint = Some(Blob::from("x"));
    });
    world.run(1010, &zero);
    let State::Claimed(claimed) = &world.record().unwrap().state else { panic!() };
    assert_eq!(claimed.deadline, LogTime(1110));
    assert!(!claimed.marked && claimed.checkpoint.is_empty());
}

#[test]
fn complete_tells_whether_it_was_late_and_until_when_it_is_kept() {
    for (at, late) in
        [(Stage::Claimed, false), (Stage::Marked, false), (Stage::Lapsed, true), (Stage::InDoubt, true)]
    {
        let mut staged = stage(at);
        let expires_at = LogTime(staged.now + RETENTION);
        let reply = staged.world.run(staged.now, &complete(staged.token));
        assert_eq!(reply, Reply::Completed(CompletedReply { late, expires_at }), "{at:?}");
    }
}

#[test]
fn complete_with_another_outcome_is_a_conflict_in_class_result_or_metadata() {
    for at in [Stage::Completed, Stage::ResolvedComplete, Stage::Spent] {
        let mut metadata = success();
        metadata.metadata.status = Some(201);
        let mut header = success();
        header.metadata.headers[0].1 = "other".to_owned();
        let others = [
            hapax_core::Outcome { class: OutcomeClass::Rejected, ..success() },
            hapax_core::Outcome { result: Blob::from("paid twice"), ..success() },
            metadata,
            header,
        ];
        for other in others {
            let mut staged = stage(at);
            let step = staged.world.step(staged.now, &complete_with(staged.token, other));
            assert_eq!(step, (Reply::Conflict, false), "{at:?}");
        }
    }
}

#[test]
fn release_keeps_checkpoint_and_mark_for_the_next_attempt() {
    let mut world = World::new();
    let token = world.grant(1000, &claim(1));
    world.run(1010, &checkpoint(token, 1, "half"));
    world.run(1020, &mark(token, 2));
    world.run(1030, &release(token));
    let State::Open(open) = &world.record().unwrap().state else { panic!() };
    assert_eq!((open.cause, open.since), (OpenCause::Released, LogTime(1030)));
    let reply = world.run(1040, &claim(2));
    assert_eq!(granted(&reply).checkpoint, Some(Blob::from("half")));
    assert!(granted(&reply).prior_mark);
}

#[test]
fn a_late_release_kills_the_token_and_starts_the_released_clock() {
    for at in [Stage::Lapsed, Stage::InDoubt] {
        let mut staged = stage(at);
        let now = staged.now;
        assert_eq!(staged.world.run(now, &release(staged.token)), Reply::Released);
        let State::Open(open) = &staged.world.record().unwrap().state else { panic!() };
        assert_eq!((open.cause, open.since), (OpenCause::Released, LogTime(now)), "{at:?}");
        assert_eq!(staged.world.run(now, &complete(staged.token)), Reply::Fenced, "{at:?}");
        assert_eq!(staged.world.kind(now + ABANDONED), StateKind::Absent, "{at:?}");
    }
}

#[test]
fn resolve_keeps_who_when_why_and_what() {
    let mut staged = stage(Stage::InDoubt);
    let mut resolve = resolve_complete(staged.token);
    resolve.principal = hapax_core::Principal::new("ops").unwrap();
    assert_eq!(staged.world.run(staged.now, &resolve), Reply::Resolved);
    let record = staged.world.record().unwrap();
    let resolution = record.resolution.as_ref().unwrap();
    assert_eq!(resolution.token, staged.token);
    assert_eq!(resolution.at, LogTime(staged.now));
    assert_eq!(resolution.principal.as_str(), "ops");
    assert_eq!(resolution.reason.as_str(), "checked the ledger");
    let State::Completed(completed) = &record.state else { panic!() };
    assert_eq!(completed.outcome, success());
    assert_eq!(completed.expires_at, LogTime(staged.now + RETENTION));
}

#[test]
fn resolve_to_release_hands_on_checkpoint_and_mark() {
    let mut world = World::new();
    let token = world.grant(1000, &claim(1));
    world.run(1010, &checkpoint(token, 1, "half"));
    world.run(1020, &mark(token, 2));
    assert_eq!(world.run(1500, &resolve_release(token)), Reply::Resolved);
    let State::Open(open) = &world.record().unwrap().state else { panic!() };
    assert_eq!((open.cause, open.since, open.marked), (OpenCause::Resolved, LogTime(1500), true));
    assert_eq!(open.checkpoint, Blob::from("half"));
}

#[test]
fn a_verdict_with_another_outcome_is_not_the_same_resolve() {
    let mut staged = stage(Stage::ResolvedComplete);
    let other = resolve_to(staged.token, verdict(outcome(OutcomeClass::Success, "other")));
    assert_eq!(staged.world.run(staged.now, &other), Reply::NotInDoubt);
    // The retention is the policy's affair, not part of what was decided.
    let longer = resolve_to(
        staged.token,
        hapax_core::command::Verdict::Complete(hapax_core::command::VerdictComplete {
            outcome: success(),
            retention_ms: RETENTION * 2,
        }),
    );
    assert_eq!(staged.world.step(staged.now, &longer), (Reply::Resolved, false));
}

#[test]
fn an_earlier_attempts_resolution_does_not_answer_for_the_next() {
    let mut staged = stage(Stage::ResolvedRelease);
    let second = staged.world.grant(staged.now, &claim(2));
    staged.world.run(staged.now + 10, &release(second));
    let (reply, _) = staged.world.step(staged.now + 20, &resolve_release(second));
    assert_eq!(reply, Reply::NotInDoubt);
}
