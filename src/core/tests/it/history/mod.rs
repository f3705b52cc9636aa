//! Random histories: several addresses and tenants, delayed and doubled commands, jumps of the
//! clock onto, before and behind every deadline, many commands an entry. Every reply is compared
//! with the naive model's, every read with what the log then says, and the whole with the safety
//! properties.

mod invariants;
mod plan;

use crate::model::Model;
use crate::world::World;
use hapax_core::command::{Command, Verb};
use hapax_core::{Access, Address, Change, LogTime, ReadAt, Reply, StateKind, Token, View, read_verb};
use invariants::Invariants;
use plan::{Op, addresses};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A history while it runs.
struct Run {
    world: World,
    model: Model,
    invariants: Invariants,
    /// Every token granted, by address, oldest first.
    tokens: BTreeMap<Address, Vec<Token>>,
    /// The fingerprint that each token was granted for.
    fingerprints: BTreeMap<Token, u8>,
    /// Every command sent, for late copies.
    sent: Vec<Command>,
    /// How often each reply was given.
    seen: BTreeMap<&'static str, u64>,
}

impl Run {
    fn new() -> Self {
        Self {
            world: World::new(),
            model: Model::new(1),
            invariants: Invariants::default(),
            tokens: BTreeMap::new(),
            fingerprints: BTreeMap::new(),
            sent: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Puts these operations into one entry and checks all that can be said about it.
    fn entry(&mut self, ops: &[Op]) {
        let stamp = self.time_of(&ops[0]);
        let mut commands = Vec::new();
        for op in ops {
            let command = self.command(op);
            self.sent.push(command.clone());
            if op.twice {
                commands.push(command.clone());
            }
            commands.push(command);
        }
        let now = stamp.max(self.world.state.time.0);
        let read = self.read(&commands[0], now);
        let mut steps = Vec::new();
        let replies = self.world.batch(stamp, commands.clone(), |step| {
            steps.push(!matches!(step.change, Change::Keep));
        });
        if let Some(read) = read {
            assert_eq!((read, false), (replies[0].clone(), steps[0]), "a read of {:?}", commands[0]);
            *self.seen.entry("(by a read)").or_default() += 1;
        }
        let index = self.world.state.index;
        for (position, (command, reply)) in (0..).zip(commands.iter().zip(&replies)) {
            let expected = self.model.apply(command, now, index, position);
            assert_eq!(reply, &expected, "at {now}: {command:?}");
            *self.seen.entry(reply.name()).or_default() += 1;
            let changed = steps[usize::try_from(position).unwrap()];
            self.invariants.check(command, reply, changed, now);
            self.note_grant(command, reply);
        }
        self.check_copies(ops, &replies, &steps);
        self.check_views(now);
    }

    /// What a leader would say to the first command without an entry.
    fn read(&self, command: &Command, now: u64) -> Option<Reply> {
        let found = self.world.records.0.get(&command.address);
        let at = ReadAt { applied: self.world.state.time, stamp: LogTime(now) };
        read_verb(found.map(|record| &**record), command, at)
    }

    fn note_grant(&mut self, command: &Command, reply: &Reply) {
        if let (Verb::Claim(claim), Reply::Granted(granted)) = (&command.verb, reply)
            && !granted.token.is_none()
            && !granted.recovered
        {
            self.tokens.entry(command.address.clone()).or_default().push(granted.token);
            self.fingerprints.insert(granted.token, claim.fingerprint.digest[0]);
        }
    }

    /// S8: the second of two equal commands changes nothing and is answered alike.
    fn check_copies(&self, ops: &[Op], replies: &[Reply], changed: &[bool]) {
        let mut position = 0;
        for op in ops {
            if op.twice {
                let (first, second) = (&replies[position], &replies[position + 1]);
                assert!(!changed[position + 1], "a copy had an effect: {second:?}");
                let alike = match (first, second) {
                    (Reply::Granted(first), Reply::Granted(second)) => first.token == second.token,
                    (Reply::Completed(_), Reply::AlreadyCompleted) => true,
                    (first, second) => first == second,
                };
                assert!(alike, "{first:?} and then {second:?}");
                position += 1;
            }
            position += 1;
        }
    }

    fn check_views(&self, now: u64) {
        for address in addresses() {
            let view = self
                .world
                .records
                .0
                .get(&address)
                .map_or_else(View::absent, |record| record.view(LogTime(now), Access::Outline));
            let seen =
                (view.state.name(), view.token, view.since.map(|time| time.0), view.until.map(|time| time.0));
            let mut expected = self.model.look(&address, now);
            if view.state == StateKind::Absent {
                expected.1 = Token::NONE;
            }
            assert_eq!(seen, expected, "{address:?} at {now}");
        }
    }
}

fn run(ops: &[Op]) -> Run {
    let mut run = Run::new();
    for entry in ops.chunk_by(|_, next| !next.own_entry) {
        run.entry(entry);
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_keep_every_promise(ops in prop::collection::vec(plan::op(), 1..80)) {
        run(&ops);
    }
}

/// The histories are worth something only if they reach every reply.
#[test]
fn random_histories_reach_every_reply() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(plan::op(), 80);
    let mut seen = BTreeMap::<&str, u64>::new();
    for _ in 0..200 {
        let ops = strategy.new_tree(&mut runner).unwrap().current();
        for (name, count) in run(&ops).seen {
            *seen.entry(name).or_default() += count;
        }
    }
    let expected = [
        "granted",
        "in_flight",
        "mismatch",
        "ended",
        "in_doubt",
        "replayed",
        "spent",
        "too_old",
        "renewed",
        "completed",
        "already_completed",
        "conflict",
        "released",
        "resolved",
        "not_in_doubt",
        "fenced",
        "ignored",
        "forgotten",
        "changed",
        "error",
        "(by a read)",
    ];
    for name in expected {
        assert!(seen.get(name).is_some_and(|count| *count >= 20), "{name} is too rare in {seen:?}");
    }
}
