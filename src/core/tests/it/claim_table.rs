//! The claim table, row by row, in its order.

use crate::stages::{Stage, stage};
use crate::world::*;
use hapax_core::command::Command;
use hapax_core::policy::Mode;
use hapax_core::record::State;
use hapax_core::reply::{Ended, InFlight, Mismatch, Replayed, SpentReply};
use hapax_core::{Blob, ErrorCode, Fingerprint, LogTime, OutcomeClass, Principal, Reply, Token, Trace};

fn old_claim(n: u8, sent: u64) -> Command {
    claim_with(n, |claim| claim.first_sent = Some(LogTime(sent)))
}

#[test]
fn too_old_comes_before_every_other_row_and_changes_nothing() {
    for at in Stage::ALL {
        let staged = stage(at);
        let too_old = RETENTION + MEMORY;
        let mut world = staged.world.clone();
        let late = staged.now.max(1000 + too_old);
        // At the very end of what is remembered it is too old, one ms earlier it is not.
        let (reply, changed) = world.step(late, &old_claim(9, late - too_old));
        assert_eq!((reply, changed), (Reply::TooOld, false), "{at:?}");
        let other = claim_with(9, |claim| {
            claim.first_sent = Some(LogTime(late - too_old));
            claim.fingerprint = fingerprint(2);
        });
        assert_eq!(world.run(late, &other), Reply::TooOld, "{at:?}");
        let reply = world.run(late, &old_claim(9, late - too_old + 1));
        assert_ne!(reply, Reply::TooOld, "{at:?}");
    }
}

#[test]
fn a_claim_that_names_no_first_sending_is_never_too_old() {
    assert_eq!(granted(&World::new().run(u64::MAX - 1, &claim(1))).attempt, 1);
}

#[test]
fn any_record_with_another_fingerprint_is_a_mismatch() {
    for at in Stage::ALL {
        let mut staged = stage(at);
        // Even by the same nonce.
        for n in [1, 2] {
            let other = claim_with(n, |claim| claim.fingerprint = fingerprint(2));
            let (reply, changed) = staged.world.step(staged.now, &other);
            if at == Stage::Absent {
                granted(&reply);
                break;
            }
            let expected = Reply::Mismatch(Mismatch { algorithm: false, fields: vec![] });
            assert_eq!((reply, changed), (expected, false), "{at:?}");
        }
    }
}

#[test]
fn a_mismatch_names_only_differing_fields_that_the_caller_named_if_policy_says_so() {
    let mut world = World::new();
    let stored = [("amount", 1), ("currency", 1), ("payee", 1)];
    world.grant(1000, &claim_with(1, |claim| claim.fields = fields(&stored)));
    let asked = [("amount", 2), ("currency", 1), ("memo", 7)];
    let other = |name_fields, algorithm| {
        claim_with(2, |claim| {
            claim.fingerprint = Fingerprint { algorithm, ..fingerprint(2) };
            claim.fields = fields(&asked);
            claim.name_fields = name_fields;
        })
    };
    let same = Fingerprint::ALGORITHM_SHA256_BYTES;
    let named = Mismatch { algorithm: false, fields: vec!["amount".to_owned()] };
    assert_eq!(world.run(1010, &other(true, same)), Reply::Mismatch(named));
    let unnamed = Mismatch { algorithm: false, fields: vec![] };
    assert_eq!(world.run(1010, &other(false, same)), Reply::Mismatch(unnamed));
    let algorithm = Mismatch { algorithm: true, fields: vec![] };
    assert_eq!(world.run(1010, &other(true, Fingerprint::ALGORITHM_OPAQUE)), Reply::Mismatch(algorithm));
}

#[test]
fn the_same_digest_of_another_algorithm_is_a_mismatch() {
    let mut world = World::new();
    world.grant(1000, &claim(1));
    let other = claim_with(2, |claim| claim.fingerprint.algorithm = Fingerprint::ALGORITHM_SHA256_JSON);
    let expected = Reply::Mismatch(Mismatch { algorithm: true, fields: vec![] });
    assert_eq!(world.run(1001, &other), expected);
}

#[test]
fn the_same_nonce_and_principal_find_their_lost_grant_again() {
    let mut world = World::new();
    let first = granted(&world.run(1000, &claim(1))).clone();
    let (reply, changed) = world.step(1030, &claim(1));
    let again = granted(&reply);
    assert!(!changed);
    assert_eq!(again.token, first.token);
    assert_eq!((again.lease_ms, again.lease_left_ms), (LEASE, LEASE - 30));
    assert!(again.recovered && !first.recovered && !again.takeover && !again.prior_mark);
    assert_eq!(again.checkpoint, None);
}

#[test]
fn a_grant_found_again_tells_checkpoint_mark_and_true_lease_left() {
    let mut world = World::new();
    let token = world.grant(1000, &claim(1));
    world.run(1050, &checkpoint(token, 1, "half"));
    world.run(1060, &mark(token, 2));
    let reply = world.run(1070, &claim(1));
    let again = granted(&reply);
    assert_eq!(again.checkpoint, Some(Blob::from("half")));
    assert!(again.prior_mark, "its own effect may have happened");
    assert_eq!(again.lease_left_ms, 1160 - 1070);
}

#[test]
fn the_same_nonce_of_another_principal_is_another_call() {
    let mut world = World::new();
    world.grant(1000, &claim(1));
    let other = Command { principal: Principal::new("mallory").unwrap(), ..claim(1) };
    assert!(matches!(world.run(1001, &other), Reply::InFlight(_)));
}

#[test]
fn a_running_claim_is_in_flight_until_the_very_deadline() {
    let mut world = World::new();
    world.grant(1000, &claim(1));
    let in_flight = |lease_left_ms| InFlight { attempt: 1, lease_left_ms, retry_after_ms: lease_left_ms };
    assert_eq!(world.step(1020, &claim(2)), (Reply::InFlight(in_flight(80)), false));
    assert_eq!(world.step(1099, &claim(2)), (Reply::InFlight(in_flight(1)), false));
    assert_eq!(granted(&world.run(1100, &claim(2))).attempt, 2);
}

#[test]
fn a_caller_is_told_to_come_back_within_a_second_or_at_the_end_of_the_lease() {
    let mut world = World::new();
    let long = claim_with(1, |claim| {
        claim.lease_ms = 30_000;
        claim.terms.max_hold_ms = 60_000;
    });
    world.grant(1000, &long);
    let Reply::InFlight(far) = world.run(1001, &claim(2)) else { panic!() };
    let Reply::InFlight(near) = world.run(30_900, &claim(2)) else { panic!() };
    assert_eq!((far.retry_after_ms, near.retry_after_ms), (1000, 100));
}

#[test]
fn a_call_whose_own_claim_is_over_is_told_how_it_ended() {
    let cases = [
        (Stage::Released, Ended::Released),
        (Stage::Lapsed, Ended::Lapsed),
        (Stage::ResolvedRelease, Ended::Released),
    ];
    for (at, ended) in cases {
        let mut staged = stage(at);
        assert_eq!(staged.world.step(staged.now, &claim(1)), (Reply::Ended(ended), false), "{at:?}");
    }
}

#[test]
fn absent_is_granted_as_the_first_attempt_of_a_new_incarnation() {
    let mut staged = stage(Stage::Absent);
    let reply = staged.world.run(staged.now, &claim(1));
    let first = granted(&reply);
    assert_eq!((first.attempt, first.lease_ms, first.lease_left_ms), (1, LEASE, LEASE));
    assert!(!first.takeover && !first.prior_mark && first.checkpoint.is_none());
    assert!(first.token > staged.token, "tokens increase across a reset");
    let record = staged.world.record().unwrap();
    assert_eq!(record.incarnation, first.token);
    assert_eq!(record.resolution, None);
}

#[test]
fn open_is_granted_as_the_next_attempt_with_the_recovery_point() {
    for (at, prior_mark) in [(Stage::Released, false), (Stage::Lapsed, false), (Stage::ResolvedRelease, true)]
    {
        let mut staged = stage(at);
        let reply = staged.world.run(staged.now, &claim(2));
        let next = granted(&reply);
        assert_eq!(next.attempt, 2, "{at:?}");
        assert!(next.takeover && !next.recovered, "{at:?}");
        assert_eq!(next.prior_mark, prior_mark, "{at:?}");
        assert!(next.token > staged.token, "{at:?}");
        let record = staged.world.record().unwrap();
        assert_eq!(record.incarnation, staged.token, "{at:?}");
        assert_eq!(record.first_trace, Some(Trace::new("trace-1").unwrap()), "{at:?}");
        assert_eq!(record.resolution.is_some(), at == Stage::ResolvedRelease);
        assert_eq!(record.nonce, nonce(2));
    }
}

#[test]
fn a_takeover_hands_on_the_checkpoint_until_somebody_moves_it() {
    let mut world = World::new();
    let first = world.grant(1000, &claim(1));
    world.run(1010, &checkpoint(first, 1, "half"));
    // The second attempt lapses without a checkpoint of its own; the third finds the first's.
    for (time, n) in [(1200, 2), (1400, 3)] {
        let reply = world.run(time, &claim(n));
        assert_eq!(granted(&reply).checkpoint, Some(Blob::from("half")));
    }
}

#[test]
fn a_new_attempt_takes_over_what_the_claim_says_and_the_terms_in_force() {
    let mut world = World::new();
    world.grant(1000, &claim(1));
    let second = claim_with(2, |claim| {
        claim.terms.memory_ms = 1;
        claim.fields = fields(&[("amount", 4)]);
        claim.trace = None;
    });
    world.grant(1200, &second);
    let record = world.record().unwrap();
    assert_eq!(record.terms.memory_ms, 1);
    assert_eq!(record.fields, fields(&[("amount", 4)]));
    let State::Claimed(claimed) = &record.state else { panic!() };
    assert_eq!((claimed.claimed_at, claimed.deadline), (LogTime(1200), LogTime(1300)));
    assert_eq!((claimed.renewal_seq, claimed.marked), (0, false));
}

#[test]
fn the_first_lease_too_is_capped_by_the_longest_hold() {
    let mut world = World::new();
    let reply = world.run(1000, &claim_with(1, |claim| claim.lease_ms = MAX_HOLD + 1));
    assert_eq!((granted(&reply).lease_ms, granted(&reply).lease_left_ms), (MAX_HOLD, MAX_HOLD));
    let State::Claimed(claimed) = &world.record().unwrap().state else { panic!() };
    assert_eq!(claimed.deadline, LogTime(1000 + MAX_HOLD));
}

#[test]
fn in_doubt_is_told_to_everybody_for_ever() {
    let mut staged = stage(Stage::InDoubt);
    for time in [staged.now, u64::MAX] {
        for n in [1, 2] {
            let (reply, changed) = staged.world.step(time, &claim(n));
            let Reply::InDoubt(doubt) = reply else { panic!("{reply:?}") };
            assert!(!changed);
            assert_eq!((doubt.token, doubt.attempt, doubt.since), (staged.token, 1, LogTime(1110)));
            assert!(doubt.checkpoint.is_empty());
        }
    }
}

#[test]
fn completed_is_replayed_byte_for_byte_to_every_nonce_until_it_expires() {
    let mut staged = stage(Stage::Completed);
    let expected = Replayed {
        class: OutcomeClass::Success,
        result: success().result,
        metadata: success().metadata,
        completed_at: LogTime(1020),
        expires_at: LogTime(1020 + RETENTION),
        attempt: 1,
        first_trace: Some(Trace::new("trace-1").unwrap()),
    };
    for time in [staged.now, 1020 + RETENTION - 1] {
        for n in [1, 2] {
            let step = staged.world.step(time, &claim(n));
            assert_eq!(step, (Reply::Replayed(expected.clone()), false));
        }
    }
}

#[test]
fn spent_is_told_and_never_run_until_the_memory_ends() {
    let mut staged = stage(Stage::Spent);
    let spent = SpentReply { class: Some(OutcomeClass::Success), completed_at: LogTime(1020) };
    let end = 1020 + RETENTION + MEMORY;
    for time in [staged.now, end - 1] {
        for n in [1, 2] {
            assert_eq!(staged.world.step(time, &claim(n)), (Reply::Spent(spent.clone()), false));
        }
    }
    assert_eq!(granted(&staged.world.run(end, &claim(1))).attempt, 1);
}

#[test]
fn a_claim_forgotten_while_it_ran_is_spent_without_a_class() {
    let mut staged = stage(Stage::Erased);
    let spent = SpentReply { class: None, completed_at: LogTime(1020) };
    assert_eq!(staged.world.run(staged.now, &claim(2)), Reply::Spent(spent.clone()));
    assert_eq!(staged.world.run(1019 + RETENTION + MEMORY, &claim(2)), Reply::Spent(spent));
    assert_eq!(granted(&staged.world.run(1020 + RETENTION + MEMORY, &claim(2))).attempt, 1);
}

#[test]
fn observe_grants_a_shadow_of_every_refusal_and_leaves_the_record_alone() {
    for at in Stage::ALL {
        let mut staged = stage(at);
        let enforce = staged.world.clone().run(staged.now, &claim(2));
        let observed = claim_with(2, |claim| claim.terms.mode = Mode::Observe);
        let (reply, changed) = staged.world.step(staged.now, &observed);
        let shadow = granted(&reply);
        if matches!(enforce, Reply::Granted(_)) {
            assert!(changed && !shadow.token.is_none() && shadow.shadow_of.is_none(), "{at:?}");
        } else {
            assert!(!changed, "{at:?}");
            assert_eq!((shadow.token, shadow.attempt), (Token::NONE, 0), "{at:?}");
            assert_eq!(shadow.shadow_of.as_deref(), Some(&enforce), "{at:?}");
            assert_eq!((shadow.lease_ms, shadow.lease_left_ms), (LEASE, LEASE), "{at:?}");
        }
    }
}

#[test]
fn observe_finds_a_lost_real_grant_again() {
    let observed = claim_with(1, |claim| claim.terms.mode = Mode::Observe);
    let mut world = World::new();
    let token = world.grant(1000, &observed);
    let reply = world.run(1001, &observed);
    assert_eq!((granted(&reply).token, granted(&reply).recovered), (token, true));
}

#[test]
fn observe_shadows_a_call_that_is_too_old() {
    let observed = claim_with(1, |claim| {
        claim.terms.mode = Mode::Observe;
        claim.first_sent = Some(LogTime(0));
    });
    let reply = World::new().run(RETENTION + MEMORY, &observed);
    assert_eq!(granted(&reply).shadow_of.as_deref(), Some(&Reply::TooOld));
}

#[test]
fn off_makes_every_claim_a_shadow() {
    for at in Stage::ALL {
        let mut staged = stage(at);
        let off = claim_with(1, |claim| claim.terms.mode = Mode::Off);
        let (reply, changed) = staged.world.step(staged.now, &off);
        assert!(!changed, "{at:?}");
        assert_eq!((granted(&reply).token, granted(&reply).shadow_of.clone()), (Token::NONE, None), "{at:?}");
    }
}

#[test]
fn grants_stop_before_a_field_of_the_token_overflows() {
    for (epoch, index) in [(128u8, 5), (1, 1 << 44)] {
        let mut world = World::new();
        world.state.epoch = epoch;
        world.state.index = index - 1;
        let (reply, changed) = world.step(1000, &claim(1));
        let Reply::Error(refusal) = reply else { panic!("{reply:?}") };
        assert_eq!((refusal.code, refusal.definite, changed), (ErrorCode::Unavailable, true, false));
    }
}

#[test]
fn a_grant_whose_token_would_not_increase_is_refused() {
    let mut staged = stage(Stage::Released);
    // A lineage that went back, or a log that did: nothing may be granted on top of the newer one.
    for (epoch, index) in [(0, staged.world.state.index), (1, 0)] {
        (staged.world.state.epoch, staged.world.state.index) = (epoch, index);
        let (reply, changed) = staged.world.step(staged.now, &claim(2));
        let Reply::Error(refusal) = reply else { panic!("{reply:?}") };
        assert_eq!((refusal.code, refusal.definite, changed), (ErrorCode::Unavailable, true, false));
    }
}

#[test]
fn a_second_grant_in_one_entry_has_a_higher_token() {
    let mut world = World::new();
    let first = Token::of_grant(1, 1, 0).unwrap();
    let replies = world.batch(1000, vec![claim(1), release(first), claim(2)], |_| ());
    assert_eq!(granted(&replies[0]).token, first);
    assert_eq!(replies[1], Reply::Released);
    assert_eq!(granted(&replies[2]).token, Token::of_grant(1, 1, 2).unwrap());
}
