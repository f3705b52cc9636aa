//! A replica that crashes anywhere and replays its log is the replica that never did.

mod records_support;

use hapax_core::command::{Forget, ForgetMode, Resolve, Verdict};
use hapax_core::{
    Address, Batch, Command, LogTime, Reason, Record, Records, ShardState, Token, Verb, apply_batch,
};
use hapax_store::disk::SimDisk;
use hapax_store::records::{EngineKind, MemoryEngine};
use proptest::collection::vec;
use proptest::prelude::*;
use records_support::{
    Home, ID, Replica, address, apply_entry, batch, claim, command, complete, release, renew,
};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

/// The replica that never restarts: a map.
#[derive(Default)]
struct Reference {
    records: BTreeMap<Address, Arc<Record>>,
}

impl Records for Reference {
    type Error = Infallible;

    fn get(&mut self, address: &Address) -> Result<Option<Arc<Record>>, Infallible> {
        Ok(self.records.get(address).cloned())
    }

    fn put(&mut self, address: &Address, record: Option<Arc<Record>>) -> Result<(), Infallible> {
        match record {
            Some(record) => self.records.insert(address.clone(), record),
            None => self.records.remove(address),
        };
        Ok(())
    }
}

impl Reference {
    fn settled(&self, now: LogTime) -> BTreeMap<Address, Record> {
        let settle = |(a, r): (&Address, &Arc<Record>)| Some((a.clone(), r.settle(now)?.into_owned()));
        self.records.iter().filter_map(settle).collect()
    }

    fn token(&self, key: u64) -> Token {
        self.records.get(&address(key)).map_or(Token::from(12345), |record| record.token)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Apply { later_ms: u64, verbs: Vec<(u64, u8)> },
    Write,
    Sync,
    Sweep,
    Crash { keep: usize, seed: u64 },
    Reinstall,
}

fn step() -> impl Strategy<Value = Step> {
    let verbs = vec((0u64..8, 0u8..8), 0..5);
    prop_oneof![
        6 => (0u64..900, verbs).prop_map(|(later_ms, verbs)| Step::Apply { later_ms, verbs }),
        3 => Just(Step::Write),
        2 => Just(Step::Sync),
        1 => Just(Step::Sweep),
        1 => (0usize..6, any::<u64>()).prop_map(|(keep, seed)| Step::Crash { keep, seed }),
        1 => Just(Step::Reinstall),
    ]
}

/// The command that a verb's number stands for, with the token that the record has now.
fn command_of(reference: &Reference, key: u64, verb: u8, nonce: u64) -> Command {
    let token = reference.token(key);
    match verb {
        0..=2 => claim(key, nonce, 1_000),
        3 => complete(key, token, &nonce.to_le_bytes(), 1_500),
        4 => release(key, token),
        5 => renew(key, token, nonce, 1_000, nonce.is_multiple_of(2)),
        6 => {
            let reason = Reason::new("checked by hand").expect("short");
            command(key, Verb::Resolve(Resolve { token, verdict: Verdict::Release, reason }))
        }
        _ => {
            let reason = Reason::new("asked for").expect("short");
            let mode = if nonce.is_multiple_of(2) { ForgetMode::Erase } else { ForgetMode::Reset };
            command(key, Verb::Forget(Forget { token, mode, force: false, reason }))
        }
    }
}

struct World {
    home: Home,
    engine: MemoryEngine,
    disk: SimDisk,
    replica: Replica,
    reference: Reference,
    state: ShardState,
    log: Vec<Batch>,
    time_ms: u64,
}

impl World {
    fn new() -> Self {
        let (engine, disk) = (MemoryEngine::new(), SimDisk::new());
        let mut home = Home::memory(engine.clone(), disk.clone());
        // A batch at each write, and a sync only when a step asks for it.
        (home.config.batch_ms, home.config.sync_ms) = (0, 15_000);
        let replica = home.replica();
        let state = ShardState::new(ID.shard, 0);
        Self { home, engine, disk, replica, reference: Reference::default(), state, log: vec![], time_ms: 0 }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Apply { later_ms, verbs } => self.apply(*later_ms, verbs),
            Step::Write => self.replica.write(),
            Step::Sync => self.replica.sync(),
            Step::Sweep => self.sweep(),
            Step::Crash { keep, seed } => self.crash(*keep, *seed),
            Step::Reinstall => self.reinstall(),
        }
    }

    fn apply(&mut self, later_ms: u64, verbs: &[(u64, u8)]) {
        self.time_ms += later_ms;
        let index = self.state.index + 1;
        let commands = verbs
            .iter()
            .zip(0u64..)
            .map(|((key, verb), i)| command_of(&self.reference, *key, *verb, index * 100 + i + 1));
        let batch = batch(self.time_ms, commands.collect());
        let expected = apply_batch(&mut self.state, &batch, index, &mut self.reference).expect("it applies");
        assert_eq!(self.replica.apply(&batch), expected, "the same replies");
        self.log.push(batch);
    }

    /// Lets the writer sweep through everything, so that what may be reclaimed is.
    fn sweep(&mut self) {
        for _ in 0..20 {
            self.replica.now_ms += 200;
            self.replica.writer.step(self.replica.now_ms).expect("it goes on");
        }
    }

    /// Loses what was not synced but for the first `keep` operations, and replays the log from there.
    fn crash(&mut self, keep: usize, seed: u64) {
        let durable = self.replica.shard.durable().map_or(0, |position| position.index);
        self.disk.crash(seed);
        self.engine = self.engine.crash(keep);
        self.home.config.kind = EngineKind::Memory(self.engine.clone());
        self.replica = self.home.replica();
        assert!(self.replica.state.index >= durable, "the log was purged up to {durable}");
        for index in self.replica.state.index + 1..=self.state.index {
            let batch = &self.log[usize::try_from(index - 1).expect("small")];
            apply_entry(&self.replica.shard, &mut self.replica.state, batch, index);
        }
    }

    /// Sends the replica its own snapshot: nothing may change by it.
    fn reinstall(&mut self) {
        self.replica.sync();
        let mut sink = self.replica.shard.install().expect("a sink");
        for chunk in self.replica.shard.view().expect("a view").chunks() {
            sink.write(&chunk.expect("a chunk")).expect("taken");
        }
        sink.finish().expect("installed");
    }

    fn check(&self) {
        assert_eq!(self.replica.state, self.state, "position, time and rolling digest");
        let now = self.state.time;
        let expected = self.reference.settled(now);
        assert_eq!(self.replica.settled(now), expected, "the records");
        for key in 0..8 {
            let found = self.replica.shard.get(&address(key)).expect("a read");
            let settled = found.as_deref().and_then(|record| record.settle(now));
            assert_eq!(settled.as_deref(), expected.get(&address(key)), "by address");
        }
        let doubtful = |record: &&Record| record.state.kind() == hapax_core::StateKind::InDoubt;
        let in_doubt = expected.values().filter(doubtful).count();
        assert_eq!(self.replica.shard.in_doubt(now).0, in_doubt, "the in-doubt index");
        assert_eq!(self.replica.shard.list_in_doubt(now, 100).len(), in_doubt);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_changes_nothing(steps in vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
    }
}

/// Every number of unsynced operations kept, after every step of a history that goes through all states.
#[test]
fn a_crash_at_every_point_of_a_history_is_survived() {
    let history = |cut: usize| {
        let mut world = World::new();
        for n in 0..cut as u64 {
            world.take(&Step::Apply {
                later_ms: 400,
                verbs: vec![(n % 8, 0), ((n + 5) % 8, 3), ((n + 3) % 8, 5)],
            });
            if n % 3 > 0 {
                world.take(&Step::Write);
            }
            if n % 7 == 6 {
                world.take(&Step::Sync);
                world.take(&Step::Sweep);
            }
        }
        world
    };
    let mut crashes = 0;
    for cut in 1..30 {
        let unsynced = history(cut).engine.unsynced();
        for keep in 0..=unsynced {
            let mut world = history(cut);
            world.take(&Step::Crash { keep, seed: cut as u64 });
            world.check();
            world.take(&Step::Apply { later_ms: 5_000, verbs: vec![(0, 0), (1, 3), (2, 4)] });
            world.take(&Step::Sync);
            world.take(&Step::Crash { keep: 0, seed: 1 });
            world.check();
            crashes += 2;
        }
    }
    assert!(crashes > 100, "only {crashes} crashes were tried");
}
