//! The simulated site: machines, the links between them, and the faults that strike both.

use crate::fault::{Cut, Fault, Planned, Whom};
use crate::host::{self, Cluster, node_name};
use crate::load::{self, Load};
use crate::machine::{End, Machine, Making};
use crate::plan::Plan;
use crate::random::Random;
use crate::{gate::Latency, trace};
use hapax_store::disk::Disk as _;
use hapax_store::records::MemoryEngine;
use hapax_wire::status::{ShardRole, ShardStatus};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The host of the clients.
const CLIENTS: &str = "clients";
/// The links' usual rate of loss.
const NO_LOSS: f64 = 0.0;
/// How long a machine takes to start its process again after it ended itself, ms.
const AGAIN_MS: u64 = 500;

/// How two nodes are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wire {
    held: bool,
    /// From the lower to the higher number, and back.
    cut: (bool, bool),
}

/// What became of a fault.
#[derive(Clone, Debug)]
pub struct Struck {
    /// The fault.
    pub planned: Planned,
    /// It was shown to have had an effect.
    pub proved: bool,
    /// It could not strike: its node was down the whole time.
    pub skipped: bool,
}

struct Active {
    number: usize,
    fault: Fault,
    from_ms: u64,
    until_ms: u64,
    /// A count at the beginning, which an effect moves.
    mark: u64,
    off_ms: u64,
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
    /// How often a process ended itself.
    pub fatals: Vec<u64>,
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
}

impl<'a> Site<'a> {
    /// Builds the site of a plan.
    #[must_use]
    pub fn build(plan: &Rc<Plan>, load: &Rc<Load>) -> Self {
        let mut sim = turmoil::Builder::new()
            .epoch(std::time::UNIX_EPOCH + Duration::from_secs(1_780_000_000))
            .rng_seed(plan.seed)
            .tick_duration(Duration::from_millis(TICK_MS))
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
        let struck =
            plan.faults.iter().map(|planned| Struck { planned: *planned, proved: false, skipped: false });
        Self {
            sim,
            struck: struck.collect(),
            fatals: vec![0; plan.nodes],
            complaints: Vec::new(),
            log_damaged: false,
            random: Random::of(plan.seed, "faults"),
            wires: BTreeMap::new(),
            down_until_ms: vec![None; plan.nodes],
            active: Vec::new(),
            next: 0,
            waiting: Vec::new(),
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
            let Some(mut end) = self.machines[i].end() else { continue };
            if self.machines[i].disk.is_off() {
                end = End::Fatal("the power went".to_owned());
            }
            trace::note(&format!("{now} {i} {end:?};"));
            match end {
                End::Stopped => self.down_until_ms[i] = Some(now + AGAIN_MS),
                End::StoppedBadly(why) => {
                    self.complaints.push(format!("node-{} stopped badly at {now} ms: {why}", i + 1));
                    self.down_until_ms[i] = Some(now + AGAIN_MS);
                }
                End::Refused(why) => {
                    self.complaints.push(format!("node-{} did not start at {now} ms: {why}", i + 1));
                    self.down_until_ms[i] = Some(now + AGAIN_MS);
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

    /// Kills a process; its machine lives on.
    fn kill(&mut self, i: usize, until_ms: u64) {
        self.sim.crash(node_name(i));
        self.machines[i].kill();
        self.down_until_ms[i] = Some(until_ms);
    }

    /// Takes the power from a machine: nothing that it has not sent yet is sent.
    fn cut_power(&mut self, i: usize, until_ms: u64) {
        for other in self.hosts().filter(|other| *other != node_name(i)).collect::<Vec<_>>() {
            self.sim.partition(node_name(i), other);
        }
        self.sim.crash(node_name(i));
        let seed = self.random.next_u64();
        self.machines[i].lose_power(seed, self.sim.elapsed());
        self.down_until_ms[i] = Some(until_ms);
        for other in self.hosts().filter(|other| *other != node_name(i)).collect::<Vec<_>>() {
            self.sim.repair(node_name(i), other);
        }
        self.wires.retain(|pair, _| pair.0 != i && pair.1 != i);
        self.join_wires();
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

    fn leader_of(&self, shard: u32) -> Option<usize> {
        let leads = |status: &ShardStatus| status.shard == shard && status.role == ShardRole::Leader;
        let leaders = self.replicas().into_iter().filter(|(_, status)| leads(status));
        leaders.max_by_key(|(_, status)| status.term).map(|(i, _)| i)
    }

    fn targets(&self, whom: Whom) -> Vec<usize> {
        let up = |i: &usize| self.is_up(*i);
        match whom {
            Whom::Node(i) => [i].into_iter().filter(up).collect(),
            Whom::LeaderOf(shard) => self.leader_of(shard).into_iter().filter(up).collect(),
            Whom::All => (0..self.machines.len()).filter(up).collect(),
        }
    }

    fn strike_due(&mut self, now: u64) {
        while let Some(planned) = self.plan.faults.get(self.next)
            && planned.at_ms <= now
        {
            self.waiting.push(self.next);
            self.next += 1;
        }
        if now >= self.plan.heal_at_ms || (self.waiting.is_empty()) || !now.is_multiple_of(20) {
            return;
        }
        for number in std::mem::take(&mut self.waiting) {
            if !self.strike(number, now) {
                self.waiting.push(number);
            }
        }
    }

    /// Lets a fault strike; says whether it could.
    fn strike(&mut self, number: usize, now: u64) -> bool {
        let Planned { for_ms, fault, .. } = self.struck[number].planned;
        let until_ms = match fault {
            // They strike when the disk is next used.
            Fault::PowerAtOp(..) | Fault::WriteError(..) | Fault::SyncError(..) => self.plan.heal_at_ms,
            _ => (now + for_ms).min(self.plan.heal_at_ms),
        };
        let mut active = Active { number, fault, from_ms: now, until_ms, mark: 0, off_ms: 0, life: None };
        let network = trace::network();
        match fault {
            Fault::Kill(whom) | Fault::Power(whom) | Fault::Restart(whom) => {
                let targets = self.targets(whom);
                if targets.is_empty() {
                    return false;
                }
                for i in targets {
                    match fault {
                        Fault::Kill(_) => self.kill(i, until_ms),
                        Fault::Power(_) => self.cut_power(i, until_ms),
                        _ => self.machines[i].request_stop(),
                    }
                }
                self.struck[number].proved = true;
            }
            Fault::Partition { .. } | Fault::Lossy { .. } => active.mark = network.dropped + network.held,
            Fault::Slow(..) => active.mark = network.delivered,
            Fault::RecordsWiped(i) | Fault::RecordsRot(i) | Fault::LogDamage(i) => {
                if !self.is_up(i) {
                    return false;
                }
                self.cut_power(i, until_ms);
                // A disk may have nothing yet that could be damaged.
                self.struck[number].proved = self.damage(i, fault);
                self.struck[number].skipped = !self.struck[number].proved;
            }
            Fault::PowerAtOp(i, _)
            | Fault::WriteError(i, _)
            | Fault::SyncError(i, _)
            | Fault::SlowDisk(i, _)
            | Fault::DiskFull(i)
            | Fault::ClockStep(i, _)
            | Fault::ClockFrozen(i) => {
                if !self.is_up(i) {
                    return false;
                }
                self.arm(i, fault, &mut active);
            }
        }
        trace::note(&format!("{now} {fault:?};"));
        tracing::warn!(target: "sim", at_ms = now, for_ms, ?fault, "strikes");
        self.active.push(active);
        self.join_wires();
        self.set_links();
        true
    }

    fn arm(&mut self, i: usize, fault: Fault, active: &mut Active) {
        use hapax_store::disk::DiskOp;
        let machine = &self.machines[i];
        active.off_ms = machine.clock.off_ms();
        active.life = Some((i, machine.life()));
        let other = || std::io::ErrorKind::Other;
        match fault {
            Fault::PowerAtOp(_, op) => machine.disk.power_off_at(machine.disk.ops() + op),
            Fault::WriteError(_, passes) => machine.disk.fail_after(DiskOp::Write, passes, other()),
            Fault::SyncError(_, passes) => machine.disk.fail_after(DiskOp::Sync, passes, other()),
            Fault::DiskFull(_) => {
                let room = self.random.below(RESERVE_BYTES);
                machine.disk.limit_capacity(Some(machine.disk.used() + room));
            }
            Fault::SlowDisk(_, latency) => machine.pace.set(Some(latency)),
            Fault::ClockStep(_, ms) => machine.clock.step_wall(ms),
            Fault::ClockFrozen(_) => machine.clock.freeze_wall(true, self.sim.elapsed()),
            _ => {}
        }
        active.mark = match fault {
            Fault::SlowDisk(..) => machine.pace.held_up(),
            Fault::PowerAtOp(..) => self.fatals[i],
            _ => machine.disk.refused(),
        };
    }

    fn damage(&mut self, i: usize, fault: Fault) -> bool {
        let machine = &self.machines[i];
        match fault {
            Fault::RecordsWiped(_) => {
                let had = machine.engine().rot(0);
                machine.replace_engine(MemoryEngine::new());
                had
            }
            Fault::RecordsRot(_) => machine.engine().rot(self.random.next_u64()),
            _ => {
                let damaged = damage_log(machine, self.random.next_u64());
                self.log_damaged |= damaged;
                damaged
            }
        }
    }

    fn end_due(&mut self, now: u64) {
        let mut ended = Vec::new();
        for active in std::mem::take(&mut self.active) {
            self.look_for_effect(&active, now);
            if active.until_ms <= now { ended.push(active) } else { self.active.push(active) }
        }
        for active in &ended {
            self.mend(active);
        }
        if !ended.is_empty() {
            self.join_wires();
            self.set_links();
        }
    }

    fn look_for_effect(&mut self, active: &Active, now: u64) {
        if self.struck[active.number].proved {
            return;
        }
        let network = trace::network();
        let machine = |i: usize| &self.machines[i];
        let proved = match active.fault {
            Fault::Partition { .. } | Fault::Lossy { .. } => network.dropped + network.held > active.mark,
            Fault::Slow(..) => network.delivered > active.mark,
            Fault::PowerAtOp(i, _) => self.fatals[i] > active.mark,
            Fault::WriteError(i, _) | Fault::SyncError(i, _) => machine(i).disk.refused() > active.mark,
            Fault::DiskFull(i) => {
                machine(i).disk.refused() > active.mark
                    || (self.is_up(i)
                        && machine(i).disk.free_bytes(Path::new("/node")).unwrap_or(0) < RESERVE_BYTES)
            }
            Fault::SlowDisk(i, _) => machine(i).pace.held_up() > active.mark,
            Fault::ClockStep(i, _) => machine(i).clock.off_ms() != active.off_ms,
            Fault::ClockFrozen(i) => now > active.from_ms + 100 && machine(i).clock.off_ms() > active.off_ms,
            _ => false,
        };
        // Another fault came first, and took with it what this one was waiting for.
        let overtaken = active.life.is_some_and(|(i, life)| machine(i).life() != life || !self.is_up(i));
        let struck = &mut self.struck[active.number];
        struck.proved = proved;
        struck.skipped |= overtaken && !proved;
    }

    fn mend(&mut self, active: &Active) {
        match active.fault {
            Fault::SlowDisk(i, _) => self.machines[i].pace.set(None),
            Fault::DiskFull(i) => self.machines[i].disk.limit_capacity(None),
            Fault::ClockFrozen(i) => self.machines[i].clock.freeze_wall(false, self.sim.elapsed()),
            _ => {}
        }
    }

    /// Ends every fault and puts everything right that can be.
    pub fn heal(&mut self) {
        for active in std::mem::take(&mut self.active) {
            self.look_for_effect(&active, u64::MAX);
            self.mend(&active);
        }
        for number in std::mem::take(&mut self.waiting) {
            self.struck[number].skipped = true;
        }
        for machine in &self.machines {
            machine.clock.right_wall();
            machine.disk.disarm();
        }
        let now = self.now_ms();
        for until in &mut self.down_until_ms {
            *until = until.map(|until| until.min(now + AGAIN_MS));
        }
        self.join_wires();
        self.set_links();
    }

    /// Makes the links what the partitions of the moment say.
    fn join_wires(&mut self) {
        let now = self.now_ms();
        for a in 0..self.machines.len() {
            for b in a + 1..self.machines.len() {
                let wire = self.wanted(a, b, now);
                let before = self.wires.insert((a, b), wire).unwrap_or_default();
                if wire != before {
                    self.rewire(a, b, before, wire);
                }
            }
        }
    }

    fn wanted(&self, a: usize, b: usize, now: u64) -> Wire {
        let mut wire = Wire::default();
        for active in &self.active {
            let Fault::Partition { cut, held, flap_ms } = active.fault else { continue };
            let phase = (now - active.from_ms).checked_div(flap_ms).unwrap_or(0);
            if !phase.is_multiple_of(2) {
                continue;
            }
            let (forth, back) = separates(cut, a, b, self.machines.len());
            if held {
                wire.held |= forth || back;
            } else {
                wire.cut = (wire.cut.0 || forth, wire.cut.1 || back);
            }
        }
        wire.held &= wire.cut == (false, false);
        wire
    }

    fn rewire(&mut self, a: usize, b: usize, before: Wire, wire: Wire) {
        let (a, b) = (node_name(a), node_name(b));
        if before.held {
            self.sim.release(a.as_str(), b.as_str());
        }
        if before.cut != (false, false) {
            self.sim.repair(a.as_str(), b.as_str());
        }
        match wire.cut {
            (true, true) => self.sim.partition(a, b),
            (true, false) => self.sim.partition_oneway(a, b),
            (false, true) => self.sim.partition_oneway(b, a),
            (false, false) if wire.held => self.sim.hold(a, b),
            (false, false) => {}
        }
    }

    /// Sets the delay and the loss of every link that is not cut.
    fn set_links(&mut self) {
        let usual = self.plan.latency_ms;
        for a in 0..self.machines.len() {
            for b in a + 1..self.machines.len() {
                let (mut delay, mut loss) = (usual, NO_LOSS);
                for active in &self.active {
                    match active.fault {
                        Fault::Slow(i, ms) if i == a || i == b => delay = delay.max(ms),
                        Fault::Lossy { of_10_000 } => {
                            loss = f64::from(u32::try_from(of_10_000).unwrap_or(0)) / 10_000.0;
                        }
                        _ => {}
                    }
                }
                // A random loss would mend a partition.
                let partitioned =
                    self.active.iter().any(|active| matches!(active.fault, Fault::Partition { .. }));
                let loss = if partitioned { NO_LOSS } else { loss };
                self.sim.set_link_max_message_latency(
                    node_name(a),
                    node_name(b),
                    Duration::from_millis(delay),
                );
                self.sim.set_link_fail_rate(node_name(a), node_name(b), loss);
            }
        }
    }
}

/// One tick, ms.
pub const TICK_MS: u64 = 1;
/// Free bytes below which the nodes refuse writes.
pub const RESERVE_BYTES: u64 = 64 << 10;

/// Whether a cut stops what `a` sends to `b`, and what `b` sends to `a`.
fn separates(cut: Cut, a: usize, b: usize, nodes: usize) -> (bool, bool) {
    match cut {
        Cut::Isolate(i) => (a == i || b == i, a == i || b == i),
        Cut::Mute(i) => (a == i, b == i),
        Cut::Deafen(i) => (b == i, a == i),
        Cut::Halves(first) => ((a < first) != (b < first), (a < first) != (b < first)),
        Cut::Ring => {
            let neighbours = b - a == 1 || b - a == nodes - 1;
            (!neighbours, !neighbours)
        }
    }
}

/// Flips bytes in what was written long enough ago to be known as synced. Says whether there was any.
fn damage_log(machine: &Machine, pick: u64) -> bool {
    let dir = Path::new("/node/log");
    let names = machine.disk.list(dir).unwrap_or_default();
    let first = usize::try_from(pick % names.len().max(1) as u64).unwrap_or(0);
    let all = names.iter().skip(first).chain(names.iter().take(first));
    all.into_iter().any(|name| damage_file(machine, &dir.join(name), pick))
}

fn damage_file(machine: &Machine, path: &Path, pick: u64) -> bool {
    let mut done = false;
    machine.disk.tamper(path, |bytes| {
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let old = written / 10 * 7;
        if old > 2048 {
            let at = 1024 + usize::try_from((pick >> 8) % (old as u64 - 1024)).unwrap_or(0);
            for byte in bytes.iter_mut().skip(at).take(16) {
                *byte ^= 0x5a;
            }
            done = true;
        }
    });
    done
}
