//! What is counted as prevented, and how often.

use crate::stages::{Stage, stage};
use crate::world::*;
use hapax_core::command::Command;
use hapax_core::policy::{Mode, OnLapse};
use hapax_core::prevented::{Prevented, event};
use hapax_core::{CountedPairs, Event, LogTime, Money, Reply, Token};

fn event_of(world: &mut World, time: u64, command: &Command) -> Option<Event> {
    let mut seen = None;
    world.batch(time, vec![command.clone()], |step| {
        seen = Some(event(step.found, step.command, step.reply, step.at.time));
    });
    seen.unwrap()
}

fn at_stage(at: Stage, command: impl Fn(Token) -> Command) -> Option<Event> {
    let mut staged = stage(at);
    event_of(&mut staged.world, staged.now, &command(staged.token))
}

fn prevented(token: Token, n: u8) -> Prevented {
    Prevented { incarnation: token, nonce: nonce(n), value: None }
}

#[test]
fn what_a_claim_is_counted_as() {
    assert_eq!(at_stage(Stage::Absent, |_| claim(2)), None);
    assert_eq!(at_stage(Stage::Claimed, |_| claim(1)), Some(Event::Recovered));
    let counted = |at, of: fn(Prevented) -> Event| {
        let staged = stage(at);
        assert_eq!(at_stage(at, |_| claim(2)), Some(of(prevented(staged.token, 2))), "{at:?}");
    };
    counted(Stage::Claimed, Event::DuplicateInFlight);
    counted(Stage::Completed, Event::Replay);
    counted(Stage::Spent, Event::Replay);
    counted(Stage::InDoubt, Event::BlockedInDoubt);
    assert_eq!(at_stage(Stage::Released, |_| claim(2)), Some(Event::Takeover { prior_mark: false }));
    assert_eq!(at_stage(Stage::ResolvedRelease, |_| claim(2)), Some(Event::Takeover { prior_mark: true }));
    assert_eq!(at_stage(Stage::Released, |_| claim(1)), None, "ended");
    let mismatch = |_| claim_with(2, |claim| claim.fingerprint = fingerprint(2));
    assert_eq!(at_stage(Stage::Completed, mismatch), Some(Event::Mismatch));
    let shadow = |_| claim_with(2, |claim| claim.terms.mode = Mode::Observe);
    assert_eq!(at_stage(Stage::Completed, shadow), Some(Event::Shadow));
}

#[test]
fn what_the_other_verbs_are_counted_as() {
    assert_eq!(at_stage(Stage::Claimed, complete), None);
    assert_eq!(at_stage(Stage::Lapsed, complete), Some(Event::LateComplete));
    assert_eq!(at_stage(Stage::Released, complete), Some(Event::FencedComplete));
    assert_eq!(at_stage(Stage::Released, |token| renew(token, 1)), Some(Event::Fenced));
    assert_eq!(at_stage(Stage::Claimed, |token| renew(token, 1)), None);
    assert_eq!(at_stage(Stage::Completed, complete), None, "a mere retry");
    let other = |token| complete_with(token, outcome(hapax_core::OutcomeClass::Error, "x"));
    assert_eq!(at_stage(Stage::Completed, other), Some(Event::Conflict { resolved: false }));
    assert_eq!(at_stage(Stage::ResolvedComplete, other), Some(Event::Conflict { resolved: true }));
    assert_eq!(at_stage(Stage::ResolvedComplete, complete), Some(Event::CompleteAfterResolve));
}

#[test]
fn an_earlier_attempts_resolution_does_not_alarm() {
    let mut staged = stage(Stage::ResolvedRelease);
    let second = staged.world.grant(staged.now, &claim(2));
    staged.world.run(staged.now + 1, &complete(second));
    assert_eq!(event_of(&mut staged.world, staged.now + 2, &complete(second)), None);
}

#[test]
fn the_record_is_looked_at_as_it_is_not_as_it_was_stored() {
    let mut world = World::new();
    let lapsing = claim_with(1, |claim| claim.terms.on_lapse = OnLapse::AlwaysInDoubt);
    let token = world.grant(1000, &lapsing);
    let record = world.record().unwrap().clone();
    let reply = world.clone().run(2000, &claim(2));
    let counted = event(Some(&record), &claim(2), &reply, LogTime(2000));
    assert_eq!(counted, Some(Event::BlockedInDoubt(prevented(token, 2))));
    assert_eq!(event(None, &claim(2), &Reply::TooOld, LogTime(2000)), None);
}

#[test]
fn the_value_at_stake_is_the_records() {
    let euros = |cents| Some(Money::new(cents, *b"EUR").unwrap());
    let mut world = World::new();
    let token = world.grant(1000, &claim_with(1, |claim| claim.value = euros(1200)));
    world.run(1010, &complete(token));
    let dearer = claim_with(2, |claim| claim.value = euros(9900));
    for time in [1020, 1010 + RETENTION] {
        let Some(Event::Replay(prevented)) = event_of(&mut world, time, &dearer) else { panic!() };
        assert_eq!(prevented.value, euros(1200));
    }
}

#[test]
fn a_value_is_counted_once_a_call_within_bounded_memory() {
    let mut counted = CountedPairs::new(2);
    let (a, b, c) =
        (prevented(Token::from(1), 1), prevented(Token::from(1), 2), prevented(Token::from(2), 1));
    assert!(counted.count(&a) && counted.count(&b));
    assert!(!counted.count(&a) && !counted.count(&b));
    // The oldest is forgotten for the newest, not the lately counted.
    assert!(counted.count(&c));
    assert!(!counted.count(&b) && !counted.count(&c));
    assert!(counted.count(&a));
    let mut least = CountedPairs::new(0);
    assert!(least.count(&a) && !least.count(&a));
}
