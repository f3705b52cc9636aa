//! Entries: log time, order, digests, and what stops a replica.

use crate::stages::{Stage, stage};
use crate::world::*;
use hapax_core::command::{Batch, Command, ForgetMode};
use hapax_core::{
    Address, ApplyError, LogTime, Record, Records, Reply, ShardState, StateKind, Token, UnknownFormat,
    apply_batch,
};
use std::sync::Arc;

#[test]
fn log_time_never_goes_back() {
    let mut world = World::new();
    let token = world.grant(1000, &claim(1));
    // The stamp of a later entry lies before: the log time stands still.
    let Reply::Completed(completed) = world.run(900, &complete(token)) else { panic!() };
    assert_eq!(completed.expires_at, LogTime(1000 + RETENTION));
    assert_eq!(world.state.time, LogTime(1000));
}

#[test]
fn a_tick_moves_the_log_time_and_nothing_else() {
    let mut staged = stage(Stage::Claimed);
    let before = staged.world.records.0.clone();
    assert_eq!(staged.world.batch(5000, vec![], |_| ()), vec![]);
    assert_eq!(staged.world.state.time, LogTime(5000));
    assert_eq!(staged.world.records.0, before);
    assert_eq!(staged.world.kind(staged.world.state.time.0), StateKind::Open);
}

#[test]
fn an_unknown_format_stops_the_replica_before_any_command_of_the_entry() {
    for format in [0, 2, 255] {
        let mut world = World::new();
        let commands = vec![claim(1), Command { format, ..claim(2) }];
        let batch = Batch { time: LogTime(1000), commands };
        let before = world.state;
        let result = apply_batch(&mut world.state, &batch, 1, &mut world.records);
        assert_eq!(result, Err(ApplyError::UnknownFormat(UnknownFormat(format))));
        assert_eq!(world.state, before);
        assert!(world.records.0.is_empty());
    }
}

#[test]
fn an_entry_is_never_applied_twice_or_out_of_order() {
    let mut world = World::new();
    world.grant(1000, &claim(1));
    let batch = Batch { time: LogTime(2000), commands: vec![] };
    for index in [0, 1] {
        let result = apply_batch(&mut world.state, &batch, index, &mut world.records);
        assert_eq!(result, Err(ApplyError::OutOfOrder { index, applied: 1 }));
    }
    world.state.skip_to(5);
    world.state.skip_to(4);
    assert_eq!(world.state.index, 5);
    assert!(apply_batch(&mut world.state, &batch, 6, &mut world.records).is_ok());
}

/// A store that fails at one of its calls.
struct Failing(u32);

impl Failing {
    fn call(&mut self) -> Result<(), &'static str> {
        self.0 = self.0.checked_sub(1).ok_or("disk on fire")?;
        Ok(())
    }
}

impl Records for Failing {
    type Error = &'static str;

    fn get(&mut self, _: &Address) -> Result<Option<Arc<Record>>, &'static str> {
        self.call().map(|()| None)
    }

    fn put(&mut self, _: &Address, _: Option<Arc<Record>>) -> Result<(), &'static str> {
        self.call()
    }
}

#[test]
fn a_failing_store_stops_apply_and_leaves_the_state_as_it_was() {
    let batch = Batch { time: LogTime(1000), commands: vec![claim(1), claim(2)] };
    for calls in 0..4 {
        let mut state = ShardState::new(0, 0);
        let result = apply_batch(&mut state, &batch, 1, &mut Failing(calls));
        assert_eq!(result, Err(ApplyError::Records("disk on fire")));
        assert_eq!(state, ShardState::new(0, 0));
    }
    assert!(apply_batch(&mut ShardState::new(0, 0), &batch, 1, &mut Failing(4)).is_ok());
}

#[test]
fn the_rolling_digest_depends_on_every_effect_and_its_order() {
    let entry = |commands: Vec<Command>| {
        let mut world = World::new();
        world.batch(1000, commands, |_| ());
        world.state.digest
    };
    let at = |key: &str, n| Command { address: address_of("acme/m1", "pay", key), ..claim(n) };
    let digests = [
        entry(vec![]),
        entry(vec![at("a", 1)]),
        entry(vec![at("a", 2)]),
        entry(vec![at("b", 1)]),
        entry(vec![at("a", 1), at("b", 2)]),
        entry(vec![at("b", 2), at("a", 1)]),
    ];
    for (i, digest) in digests.iter().enumerate() {
        assert!(!digests[..i].contains(digest), "{i}");
    }
    assert_eq!(entry(vec![at("a", 1)]), entry(vec![at("a", 1)]));
    // A command without an effect leaves no trace.
    assert_eq!(entry(vec![at("a", 1)]), entry(vec![at("a", 1), at("a", 2)]));
}

#[test]
fn the_rolling_digest_depends_on_time_index_and_history() {
    let mut world = World::new();
    let mut seen = vec![world.state.digest];
    for time in [1000, 1000, 2000] {
        world.batch(time, vec![], |_| ());
        assert!(!seen.contains(&world.state.digest));
        seen.push(world.state.digest);
    }
}

#[test]
fn a_removal_moves_the_rolling_digest() {
    let staged = stage(Stage::Completed);
    let (mut reset, mut tick) = (staged.world.clone(), staged.world.clone());
    let forget = forget(staged.token, ForgetMode::Reset, false);
    assert_eq!(reset.run(staged.now, &forget), Reply::Forgotten);
    tick.batch(staged.now, vec![], |_| ());
    assert_ne!(reset.state.digest, tick.state.digest);
}

#[test]
fn the_rolling_digest_tells_which_record_was_removed_and_by_which_command() {
    let at = |key: &str, command| Command { address: address_of("acme/m1", "pay", key), ..command };
    let mut world = World::new();
    let tokens: Vec<_> = ["a", "b"].map(|key| (key, world.grant(1000, &at(key, claim(1))))).into();
    let reset = |(key, token): (&'static str, Token)| at(key, forget(token, ForgetMode::Reset, true));
    let after = |commands: Vec<Command>| {
        let mut world = world.clone();
        world.batch(1000, commands, |_| ());
        world.state.digest
    };
    let digests = [
        after(vec![]),
        after(vec![reset(tokens[0])]),
        after(vec![reset(tokens[1])]),
        after(vec![claim(9), reset(tokens[0])]),
        after(vec![at("a", claim(9)), reset(tokens[0])]),
    ];
    for (i, digest) in digests.iter().enumerate() {
        assert!(!digests[..i].contains(digest), "{i}");
    }
}

#[test]
fn reclaiming_moves_neither_digest_nor_reply() {
    for at in Stage::ALL {
        let staged = stage(at);
        for later in [0, 150, 3_000, 20_000, 100_000, 200_000] {
            let now = staged.now + later;
            let (mut kept, mut reclaimed) = (staged.world.clone(), staged.world.clone());
            // One replica has dropped or shrunk what ended, the other has not.
            let settled = kept
                .record()
                .and_then(|record| record.settle(LogTime(now)).map(|record| record.into_owned()));
            reclaimed.records.put(&address(), settled.map(Arc::new)).unwrap();
            let commands = vec![claim(1), claim(5), renew(staged.token, 4), complete(staged.token), claim(6)];
            let replies = kept.batch(now, commands.clone(), |_| ());
            assert_eq!(reclaimed.batch(now, commands, |_| ()), replies, "{at:?} {later}");
            assert_eq!(kept.state, reclaimed.state, "{at:?} {later}");
        }
    }
}

#[test]
fn each_step_tells_where_it_took_effect() {
    let mut world = World::new();
    let mut seen = Vec::new();
    world.batch(1000, vec![claim(1), claim(2)], |step| {
        seen.push((step.at.witness(), step.reply.name(), step.found.is_some()));
    });
    let witness = |position| hapax_core::Witness {
        shard: 3,
        index: 1,
        position,
        time: LogTime(1000),
        basis: hapax_core::Basis::Applied,
    };
    assert_eq!(seen, [(witness(0), "granted", false), (witness(1), "in_flight", true)]);
}
