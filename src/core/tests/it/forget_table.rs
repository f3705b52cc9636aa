//! forget in every state, both modes, forced and not.

use crate::stages::{Stage, stage};
use crate::world::*;
use hapax_core::command::ForgetMode::{Erase, Reset};
use hapax_core::record::State;
use hapax_core::{Label, LogTime, Reply, StateKind, Token};

#[test]
fn only_the_last_token_forgets() {
    for at in Stage::ALL {
        for mode in [Erase, Reset] {
            let mut staged = stage(at);
            let other = Token::from(staged.token.as_u64() + 1);
            let expected = if at == Stage::Absent { Reply::Forgotten } else { Reply::Changed };
            let step = staged.world.step(staged.now, &forget(other, mode, true));
            assert_eq!(step, (expected, false), "{at:?}");
        }
    }
}

#[test]
fn a_running_claim_is_forgotten_only_by_force() {
    for at in [Stage::Claimed, Stage::Marked] {
        for (mode, left) in [(Erase, StateKind::Spent), (Reset, StateKind::Absent)] {
            let mut staged = stage(at);
            let now = staged.now;
            let step = staged.world.step(now, &forget(staged.token, mode, false));
            assert_eq!(step, (Reply::Changed, false), "{at:?}");
            let step = staged.world.step(now, &forget(staged.token, mode, true));
            assert_eq!(step, (Reply::Forgotten, true), "{at:?}");
            assert_eq!(staged.world.kind(now), left, "{at:?}");
        }
    }
}

#[test]
fn a_lapsed_claim_is_not_a_running_one() {
    for at in [Stage::Lapsed, Stage::InDoubt] {
        let mut staged = stage(at);
        let reply = staged.world.run(staged.now, &forget(staged.token, Erase, false));
        assert_eq!(reply, Reply::Forgotten, "{at:?}");
    }
}

#[test]
fn reset_leaves_nothing_and_the_key_may_run_again() {
    for at in Stage::ALL.into_iter().filter(|at| *at != Stage::Absent) {
        let mut staged = stage(at);
        let reply = staged.world.run(staged.now, &forget(staged.token, Reset, true));
        assert_eq!(reply, Reply::Forgotten, "{at:?}");
        assert!(staged.world.record().is_none(), "{at:?}");
        let reply = staged.world.run(staged.now, &claim(1));
        assert_eq!(granted(&reply).attempt, 1, "{at:?}");
        assert!(granted(&reply).token > staged.token, "{at:?}");
    }
}

#[test]
fn erase_drops_what_was_said_and_leaves_the_memory_of_it() {
    let mut world = World::new();
    let token = world.grant(
        1000,
        &claim_with(1, |claim| {
            claim.label = Some(Label::new("order 1").unwrap());
            claim.fields = fields(&[("amount", 1)]);
        }),
    );
    world.run(1010, &complete(token));
    assert_eq!(world.run(1020, &forget(token, Erase, false)), Reply::Forgotten);
    let record = world.record().unwrap().clone();
    assert_eq!((&record.label, &record.first_trace), (&None, &None));
    assert!(record.fields.is_empty());
    assert_eq!((record.token, record.nonce, record.fingerprint), (token, nonce(1), fingerprint(1)));
    let State::Spent(spent) = &record.state else { panic!() };
    // Erasing shortens what is kept, never how long a second run is prevented.
    assert_eq!(spent.forgotten_at, LogTime(1010 + RETENTION + MEMORY));
    assert_eq!((spent.completed_at, spent.digest), (LogTime(1010), success().digest()));
    assert_eq!(world.kind(1009 + RETENTION + MEMORY), StateKind::Spent);
}

#[test]
fn erase_of_what_never_ended_is_remembered_like_a_success_from_now_on() {
    for at in [Stage::Claimed, Stage::Released, Stage::Lapsed, Stage::InDoubt] {
        let mut staged = stage(at);
        staged.world.run(staged.now, &forget(staged.token, Erase, true));
        let State::Spent(spent) = &staged.world.record().unwrap().state else { panic!() };
        assert_eq!(spent.class, None, "{at:?}");
        assert_eq!(spent.completed_at, LogTime(staged.now), "{at:?}");
        assert_eq!(spent.forgotten_at, LogTime(staged.now + RETENTION + MEMORY), "{at:?}");
        let reply = staged.world.run(staged.now, &complete(staged.token));
        assert_eq!(reply, Reply::Conflict, "{at:?}");
    }
}
