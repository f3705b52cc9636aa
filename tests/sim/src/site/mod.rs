//! The simulated site: machines, the links between them, and the faults that strike both.
//!
//! | module | holds |
//! |---|---|
//! | `strike` | how a fault strikes, and how it is mended |
//! | `effect` | whether it was seen to have had an effect |
//! | `links` | who reaches whom, how fast and how surely |
//! | `outage` | when processes did not run, and when log time may jump for it |

mod effect;
mod links;
mod outage;
mod strike;

use crate::fault::{Fault, Planned};
use crate::gate::Latency;
use crate::host::{self, Cluster, node_name};
use crate::load::{self, Load};
use crate::machine::{End, Machine, Making};
use crate::plan::Plan;
use crate::random::Random;
use crate::trace;
use hapax_wire::status::ShardStatus;
use links::Wire;
use outage::Outage;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The host of the clients.
const CLIENTS: &str = "clients";
/// How long a machine takes to start its process again after it ended itself, ms.
const AGAIN_MS: u64 = 500;

/// What became of a fault.
#[derive(Clone, Debug)]
pub struct Struck {
    /// The fault.
    pub planned: Planned,
    /// What shows that it had an effect, if anything does.
    pub proved: Option<String>,
    /// Why it could not strike, if it could not: its node was down, or had nothing to strike.
    pub skipped: Option<&'static str>,
    /// From when to when it was there, ms.
    pub span_ms: Option<(u64, u64)>,
}

struct Active {
    number: usize,
    fault: Fault,
    from_ms: u64,
    /// It stays for so long, and until it had an effect.
    until_ms: u64,
    /// A count at the beginning, which an effect moves.
    mark: u64,
    /// The life of the process that it strikes.
    life: Option<(usize, u64)>,
}

/// The site.
pub struct Site<'a> {
    /// The simulation.
    pub sim: turmoil::Sim<'a>,
    /// The machines of the nodes.
    pub machines: Vec<Arc<Machine>>,
    /// Every planned fault and what became of it.
    pub struck: Vec<Struck>,
    /// How often each process ended itself, and how often in an orderly way.
    pub fatals: Vec<u64>,
    stops: Vec<u64>,
    /// What a process said when it refused to start or could not stop.
    pub complaints: Vec<String>,
    /// The log of the victim was damaged.
    pub log_damaged: bool,
    plan: Rc<Plan>,
    random: Random,
    wires: BTreeMap<(usize, usize), Wire>,
    down_until_ms: Vec<Option<u64>>,
    active: Vec<Active>,
    next: usize,
    waiting: Vec<usize>,
    outages: Vec<Outage>,
    /// Messages that only the loss of links can have swallowed, and what was counted when last looked.
    lost_by_chance: u64,
    seen: trace::Ways,
}

impl<'a> Site<'a> {
    /// Builds the site of a plan.
    #[must_use]
    pub fn build(plan: &Rc<Plan>, load: &Rc<Load>) -> Self {
        let mut sim = turmoil::Builder::new()
            .epoch(std::time::UNIX_EPOCH + Duration::from_secs(1_780_000_000))
            .rng_seed(plan.seed)
            .tick_duration(Duration::from_millis(plan.tick_ms))
            .simulation_duration(Duration::from_secs(86_400))
            .min_message_latency(Duration::ZERO)
            .max_message_latency(Duration::from_millis(plan.latency_ms))
            .tcp_capacity(1024)
            .enable_random_order()
            .build();
        let cluster = Cluster::of(plan);
        let mut machines = Vec::new();
        for (i, drift_permille) in plan.drifts.iter().enumerate() {
            let others = (0..plan.nodes).filter(|j| *j != i).map(node_name);
            let machine = Machine::new(Making {
                name: node_name(i),
                others: others.chain([CLIENTS.to_owned()]).collect(),
                seed: Random::of(plan.seed, &node_name(i)).next_u64(),
                drift_permille: *drift_permille,
                latency: Latency(0, plan.disk_ms),
                tuning: cluster.tuning(),
            });
            machines.push(Arc::clone(&machine));
            let config = cluster.config(i);
            sim.host(node_name(i), move || host::run(Arc::clone(&machine), config.clone()));
        }
        let (planned, shared) = (Rc::clone(plan), Rc::clone(load));
        sim.host(CLIENTS, move || load::run(Rc::clone(&planned), Rc::clone(&shared)));
        let struck = plan.faults.iter().map(|planned| Struck {
            planned: *planned,
            proved: None,
            skipped: None,
            span_ms: None,
        });
        Self {
            sim,
            struck: struck.collect(),
            fatals: vec![0; plan.nodes],
            stops: vec![0; plan.nodes],
            complaints: Vec::new(),
            log_damaged: false,
            random: Random::of(plan.seed, "faults"),
            wires: BTreeMap::new(),
            down_until_ms: vec![None; plan.nodes],
            active: Vec::new(),
            next: 0,
            waiting: Vec::new(),
            outages: Vec::new(),
            lost_by_chance: 0,
            seen: trace::Ways::default(),
            plan: Rc::clone(plan),
            machines,
        }
    }

    /// The time of the simulation, ms.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One tick of everything.
    ///
    /// # Errors
    /// When the simulation itself fails.
    pub fn step(&mut self) -> anyhow::Result<()> {
        self.sim.step().map_err(|error| anyhow::anyhow!("{error}"))?;
        let now = self.now_ms();
        self.count_losses();
        self.bury(now);
        self.revive(now);
        if !self.active.is_empty() {
            self.end_due(now);
        }
        self.strike_due(now);
        if self.active.iter().any(|active| matches!(active.fault, Fault::Partition { flap_ms: 1.., .. })) {
            self.join_wires();
        }
        Ok(())
    }

    /// Takes processes away that have ended.
    fn bury(&mut self, now: u64) {
        for i in 0..self.machines.len() {
            if self.down_until_ms[i].is_some() {
                continue;
            }
            // Power goes with any call of the disk, also one whose failure ends no process.
            let went = self.machines[i].disk.is_off().then(|| End::Fatal("the power went".to_owned()));
            let Some(end) = went.or_else(|| self.machines[i].end()) else { continue };
            trace::note(&format!("{now} {i} {end:?};"));
            match end {
                End::Stopped => {
                    self.stops[i] += 1;
                    self.is_down(i, now + AGAIN_MS);
                }
                End::StoppedBadly(why) => {
                    self.complaints.push(format!("node-{} stopped badly at {now} ms: {why}", i + 1));
                    self.is_down(i, now + AGAIN_MS);
                }
                End::Refused(why) => {
                    self.complaints.push(format!("node-{} did not start at {now} ms: {why}", i + 1));
                    self.is_down(i, now + AGAIN_MS);
                }
                End::Fatal(_) => {
                    self.fatals[i] += 1;
                    self.cut_power(i, now + AGAIN_MS);
                }
            }
        }
    }

    fn revive(&mut self, now: u64) {
        for i in 0..self.machines.len() {
            if self.down_until_ms[i].is_some_and(|until| until <= now) {
                self.down_until_ms[i] = None;
                self.sim.bounce(node_name(i));
            }
        }
    }

    fn is_up(&self, i: usize) -> bool {
        self.down_until_ms[i].is_none() && self.machines[i].node().is_some()
    }

    fn is_down(&mut self, i: usize, until_ms: u64) {
        self.outages.push(Outage { node: i, from_ms: self.now_ms(), until_ms });
        self.down_until_ms[i] = Some(until_ms);
    }

    /// Kills a process; its machine lives on.
    fn kill(&mut self, i: usize, until_ms: u64) {
        self.sim.crash(node_name(i));
        self.machines[i].kill();
        self.is_down(i, until_ms);
    }

    /// Takes the power from a machine: nothing that it has not sent yet is sent.
    fn cut_power(&mut self, i: usize, until_ms: u64) {
        for other in self.hosts().filter(|other| *other != node_name(i)).collect::<Vec<_>>() {
            self.sim.partition(node_name(i), other);
        }
        self.sim.crash(node_name(i));
        let seed = self.random.next_u64();
        self.machines[i].lose_power(seed, self.sim.elapsed());
        self.is_down(i, until_ms);
        for other in self.hosts().filter(|other| *other != node_name(i)).collect::<Vec<_>>() {
            self.sim.repair(node_name(i), other);
        }
        self.wires.retain(|pair, _| pair.0 != i && pair.1 != i);
        self.join_wires();
        self.look_away();
    }

    fn hosts(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.machines.len()).map(node_name).chain([CLIENTS.to_owned()])
    }

    /// Every replica of every shard that runs, by node.
    #[must_use]
    pub fn replicas(&self) -> Vec<(usize, ShardStatus)> {
        let nodes = self.machines.iter().enumerate();
        let nodes = nodes.filter_map(|(i, machine)| Some((i, machine.node()?)));
        nodes.flat_map(|(i, node)| node.status().shards.into_iter().map(move |shard| (i, shard))).collect()
    }
}

/// Free bytes below which the nodes refuse writes.
pub const RESERVE_BYTES: u64 = 64 << 10;
