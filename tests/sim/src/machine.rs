//! One machine: what outlives a process on it, and the process of the moment.
//!
//! Contract: a life of the process gets a world that ends with it. When the process must end, its
//! disk takes nothing more and its messages reach nobody from that very call on, although its tasks
//! run to the end of the step: then it is as if they never had.

use crate::clock::SimClock;
use crate::entropy::Seeded;
use crate::gate::{Latency, Pace};
use crate::random::Random;
use hapax_raft::env::Env;
use hapax_raft::node::Node;
use hapax_server::server::{Ended, Stop, Tuning, World, Writers};
use hapax_store::disk::SimDisk;
use hapax_store::log::LogWriter;
use hapax_store::records::{EngineKind, MemoryEngine, RecordWriter};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How a process came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop, and flushed everything.
    Stopped,
    /// It was told to stop, and could not flush everything.
    StoppedBadly(String),
    /// It ended itself, as it must when its log or its records fail.
    Fatal(String),
    /// It refused to start.
    Refused(String),
}

/// One machine.
#[derive(Debug)]
pub struct Machine {
    /// The name of the host and of the node.
    pub name: String,
    /// Its disk, beside the record store's.
    pub disk: SimDisk,
    /// Its clocks.
    pub clock: Arc<SimClock>,
    /// How fast its disk is.
    pub pace: Pace,
    entropy: Arc<Seeded>,
    others: Vec<String>,
    tuning: Tuning,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    engine: MemoryEngine,
    life: u64,
    stop: Stop,
    node: Option<Weak<Node>>,
    end: Option<End>,
}

/// How a machine is made.
#[derive(Debug)]
pub struct Making {
    /// Its name.
    pub name: String,
    /// Every other host.
    pub others: Vec<String>,
    /// What decides its randomness.
    pub seed: u64,
    /// How much faster than right its clocks run.
    pub drift_permille: i64,
    /// What its disk usually takes.
    pub latency: Latency,
    /// Bounds and paces of the process.
    pub tuning: Tuning,
}

impl Machine {
    /// A new machine with empty disks.
    #[must_use]
    pub fn new(making: Making) -> Arc<Self> {
        let mut seeds = Random::new(making.seed);
        Arc::new(Self {
            name: making.name,
            disk: SimDisk::new(),
            clock: Arc::new(SimClock::new(making.drift_permille)),
            pace: Pace::new(seeds.next_u64(), making.latency),
            entropy: Arc::new(Seeded::new(seeds.next_u64())),
            others: making.others,
            tuning: making.tuning,
            state: Mutex::new(State {
                engine: MemoryEngine::new(),
                life: 0,
                stop: Stop::new(),
                node: None,
                end: None,
            }),
        })
    }

    /// Begins a life of the process: its world, and what tells it to stop.
    pub fn begin(self: &Arc<Self>) -> (World, Stop) {
        let mut state = self.state.lock();
        state.life += 1;
        state.stop = Stop::new();
        state.node = None;
        state.end = None;
        let fatal = {
            let (machine, life) = (Arc::downgrade(self), state.life);
            Arc::new(move |why: &str| {
                if let Some(machine) = machine.upgrade() {
                    machine.die(life, why);
                }
            })
        };
        let world = World {
            env: Env { clock: Arc::clone(&self.clock) as _, entropy: Arc::clone(&self.entropy) as _ },
            disk: Arc::new(self.disk.clone()),
            monotonic: Arc::new(|| turmoil::sim_elapsed().unwrap_or_default()),
            writers: Arc::new(Tasks { pace: self.pace.clone(), fatal: Arc::clone(&fatal) as _ }),
            engine: Some(EngineKind::Memory(state.engine.clone())),
            fatal,
            tuning: self.tuning.clone(),
        };
        (world, state.stop.clone())
    }

    /// The process serves.
    pub fn serves(&self, node: &Arc<Node>) {
        self.state.lock().node = Some(Arc::downgrade(node));
    }

    /// The process has ended.
    pub fn ended(&self, end: End) {
        let mut state = self.state.lock();
        state.node = None;
        state.end.get_or_insert(end);
    }

    fn die(&self, life: u64, why: &str) {
        let mut state = self.state.lock();
        if state.life != life || state.end.is_some() {
            return;
        }
        state.node = None;
        state.end = Some(End::Fatal(why.to_owned()));
        self.disk.power_off_at(0);
        state.engine.set_failing(true);
        if turmoil::in_simulation() {
            for other in &self.others {
                turmoil::partition_oneway(self.name.as_str(), other.as_str());
            }
        }
    }

    /// How the process came to its end, if it has.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.state.lock().end.clone()
    }

    /// How many lives the process has had.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.state.lock().life
    }

    /// The node, while it serves.
    #[must_use]
    pub fn node(&self) -> Option<Arc<Node>> {
        self.state.lock().node.as_ref().and_then(Weak::upgrade)
    }

    /// Tells the process to stop in an orderly way.
    pub fn request_stop(&self) {
        self.state.lock().stop.request();
    }

    /// What is left once the process is gone: everything, as far as the machine itself is concerned.
    pub fn kill(&self) {
        self.state.lock().node = None;
    }

    /// What is left once the power is gone: what was synced, and of the rest what `seed` decides.
    pub fn lose_power(&self, seed: u64, now: Duration) {
        let mut random = Random::new(seed);
        let mut state = self.state.lock();
        state.node = None;
        self.disk.crash(random.next_u64());
        let keep = random.index(state.engine.unsynced() + 1);
        state.engine = state.engine.crash(keep);
        self.clock.reboot(now);
    }

    /// The record store's contents.
    #[must_use]
    pub fn engine(&self) -> MemoryEngine {
        self.state.lock().engine.clone()
    }

    /// Puts another record store in its place; only while no process runs.
    pub fn replace_engine(&self, engine: MemoryEngine) {
        self.state.lock().engine = engine;
    }
}

/// Both writers as tasks, at the pace of the disk.
struct Tasks {
    pace: Pace,
    fatal: hapax_server::server::Fatal,
}

impl Writers for Tasks {
    fn start(&self, log: LogWriter, records: RecordWriter, env: &Env) -> anyhow::Result<Ended> {
        let log = tokio::spawn(self.pace.gate(log.run_inline(tokio::time::sleep)));
        let clock = Arc::clone(&env.clock);
        let fatal = Arc::clone(&self.fatal);
        let writing = records.run_inline(move || clock.boot_ms(), tokio::time::sleep);
        let records = tokio::spawn(self.pace.gate(async move {
            if let Err(error) = writing.await {
                fatal(&format!("the record store failed: {error}"));
            }
        }));
        Ok(Box::pin(async move {
            log.await?;
            records.await?;
            Ok(())
        }))
    }
}
