//! Answers without a log entry: only where the same reply follows at both ends of the read.

use crate::stages::{Stage, stage};
use crate::world::*;
use hapax_core::command::{Command, ForgetMode};
use hapax_core::policy::Mode;
use hapax_core::reply::InFlight;
use hapax_core::{LogTime, ReadAt, Record, Reply, StateKind, Token, read_get, read_verb};

fn between(applied: u64, stamp: u64) -> ReadAt {
    ReadAt { applied: LogTime(applied), stamp: LogTime(stamp) }
}

fn read(found: Option<&Record>, command: &Command, applied: u64, stamp: u64) -> Option<&'static str> {
    read_verb(found, command, between(applied, stamp)).map(|reply| reply.name())
}

#[test]
fn which_claims_are_answered_by_a_read() {
    let cases = [
        (Stage::Absent, [None, None]),
        (Stage::Claimed, [Some("granted"), Some("in_flight")]),
        (Stage::Marked, [Some("granted"), Some("in_flight")]),
        (Stage::Released, [Some("ended"), None]),
        (Stage::Lapsed, [Some("ended"), None]),
        (Stage::ResolvedRelease, [Some("ended"), None]),
        (Stage::InDoubt, [Some("in_doubt"), Some("in_doubt")]),
        (Stage::Completed, [Some("replayed"), Some("replayed")]),
        (Stage::ResolvedComplete, [Some("replayed"), Some("replayed")]),
        (Stage::Spent, [Some("spent"), Some("spent")]),
        (Stage::Erased, [Some("spent"), Some("spent")]),
    ];
    assert_eq!(cases.map(|case| case.0), Stage::ALL);
    for (at, expected) in cases {
        let staged = stage(at);
        let found = staged.world.record();
        for (n, expected) in [1, 2].into_iter().zip(expected) {
            assert_eq!(read(found, &claim(n), staged.now, staged.now + 1), expected, "{at:?} {n}");
        }
        let other = claim_with(3, |claim| claim.fingerprint = fingerprint(2));
        let mismatch = (at != Stage::Absent).then_some("mismatch");
        assert_eq!(read(found, &other, staged.now, staged.now + 1), mismatch, "{at:?}");
        let off = claim_with(3, |claim| claim.terms.mode = Mode::Off);
        assert_eq!(read(found, &off, staged.now, staged.now + 1), Some("granted"), "{at:?}");
    }
}

#[test]
fn a_deadline_between_applied_time_and_stamp_goes_through_the_log() {
    let running = stage(Stage::Claimed);
    let found = running.world.record();
    assert_eq!(read(found, &claim(2), 1030, 1099), Some("in_flight"));
    assert_eq!(read(found, &claim(2), 1030, 1100), None, "the lease would lapse");
    assert_eq!(read(found, &claim(1), 1030, 1100), None, "the own lease would lapse");
    let completed = stage(Stage::Completed);
    let found = completed.world.record();
    let expires = 1020 + RETENTION;
    assert_eq!(read(found, &claim(2), 1030, expires - 1), Some("replayed"));
    assert_eq!(read(found, &claim(2), 1030, expires), None, "the result would be gone");
    assert_eq!(read(found, &claim(2), expires, expires + MEMORY - 1), Some("spent"));
    assert_eq!(read(found, &claim(2), expires, expires + MEMORY), None, "it may run again");
    let aging = claim_with(2, |claim| claim.first_sent = Some(LogTime(500)));
    let old = 500 + RETENTION + MEMORY;
    assert_eq!(read(found, &aging, old - 1, old), None, "it would be too old");
    assert_eq!(read(found, &aging, old, old + 1), Some("too_old"));
    let bounded = Command { not_after: Some(LogTime(1040)), ..claim(2) };
    assert_eq!(read(completed.world.record(), &bounded, 1030, 1041), None, "it would be too late");
    assert_eq!(read(completed.world.record(), &bounded, 1041, 1042), Some("error"));
}

#[test]
fn what_is_left_of_a_lease_is_counted_from_the_stamp() {
    let staged = stage(Stage::Claimed);
    let reply = read_verb(staged.world.record(), &claim(2), between(1030, 1060)).unwrap();
    assert_eq!(reply, Reply::InFlight(InFlight { attempt: 1, lease_left_ms: 40, retry_after_ms: 40 }));
    let reply = read_verb(staged.world.record(), &claim(1), between(1030, 1060)).unwrap();
    assert_eq!(granted(&reply).lease_left_ms, 40);
}

#[test]
fn a_renewal_that_moves_nothing_is_answered_by_a_read() {
    let staged = stage(Stage::Claimed);
    let short = renew_with(staged.token, 0, |renew| renew.lease_ms = 10);
    let read = |stamp| read_verb(staged.world.record(), &short, between(1030, stamp));
    let renewed = hapax_core::reply::Renewed { deadline: LogTime(1100), lease_left_ms: 40, marked: false };
    assert_eq!(read(1060), Some(Reply::Renewed(renewed)));
    assert_eq!(read(1091), None, "by then it would move the deadline");
}

#[test]
fn a_stamp_behind_the_applied_time_counts_as_the_applied_time() {
    let staged = stage(Stage::Claimed);
    let reply = read_verb(staged.world.record(), &claim(2), between(1060, 1030)).unwrap();
    assert_eq!(reply, Reply::InFlight(InFlight { attempt: 1, lease_left_ms: 40, retry_after_ms: 40 }));
}

/// A read answers a verb only with what applying it at the stamp would say, and only if that
/// would change nothing.
#[test]
fn no_read_says_what_the_log_would_not() {
    let mut answered = 0;
    for at in Stage::ALL {
        let staged = stage(at);
        let own = staged.token;
        for token in [own, Token::from(own.as_u64() + 1), Token::NONE] {
            let verbs = [
                claim(1),
                claim(2),
                renew(token, 3),
                complete(token),
                release(token),
                resolve_release(token),
                resolve_complete(token),
                forget(token, ForgetMode::Erase, false),
                forget(token, ForgetMode::Reset, true),
            ];
            for (command, stamp) in
                verbs.iter().flat_map(|verb| [0, 1, 69, 70, 3_000, 70_000].map(|ms| (verb, staged.now + ms)))
            {
                let reply = read_verb(staged.world.record(), command, between(staged.now, stamp));
                for time in [staged.now, stamp] {
                    let (applied, changed) = staged.world.clone().step(time, command);
                    if let Some(reply) = &reply {
                        assert!(!changed, "{at:?} {command:?}");
                        assert_eq!(reply.name(), applied.name(), "{at:?} {command:?}");
                        answered += 1;
                    }
                    if time == stamp
                        && let Some(reply) = &reply
                    {
                        assert_eq!(reply, &applied, "{at:?} {command:?}");
                    }
                }
            }
        }
    }
    assert!(answered > 1000, "{answered}");
}

#[test]
fn an_unknown_format_is_never_answered_by_a_read() {
    let staged = stage(Stage::Completed);
    let newer = Command { format: 2, ..claim(2) };
    assert_eq!(read(staged.world.record(), &newer, staged.now, staged.now), None);
}

#[test]
fn get_shows_the_payload_only_to_readers_and_the_same_fingerprint() {
    let staged = stage(Stage::Completed);
    let at = between(staged.now, staged.now + 1);
    let view = |fingerprint: Option<u8>, reader| {
        let asked = fingerprint.map(crate::world::fingerprint);
        match read_get(staged.world.record(), asked.as_ref(), reader, at).unwrap() {
            Reply::State(view) => *view,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(view(None, true).detail.unwrap().outcome, Some(success()));
    assert_eq!(view(Some(2), true).detail.unwrap().outcome, Some(success()));
    assert_eq!(view(Some(1), false).detail.unwrap().outcome, Some(success()));
    for fingerprint in [None, Some(2)] {
        let outline = view(fingerprint, false);
        assert_eq!((outline.state, outline.detail), (StateKind::Completed, None));
        assert_eq!(outline.token, staged.token);
    }
}

#[test]
fn get_across_a_deadline_goes_through_the_log() {
    let staged = stage(Stage::Claimed);
    let get = |applied, stamp| read_get(staged.world.record(), None, true, between(applied, stamp));
    assert!(get(1030, 1099).is_some());
    assert!(get(1030, 1100).is_none());
    let Some(Reply::State(absent)) = read_get(None, None, true, between(1, 9)) else { panic!() };
    assert_eq!((absent.state, absent.token, absent.attempt), (StateKind::Absent, Token::NONE, 0));
    assert_eq!((absent.since, absent.until, absent.marked), (None, None, false));
    assert_eq!((absent.class, absent.detail), (None, None));
}
