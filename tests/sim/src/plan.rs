//! What a seed means: its cluster, its load, and its own mix of faults.
//!
//! Contract: everything follows from the seed. A seed first draws which kinds of faults it has at
//! all (a swarm: most have few, so that rare mixes come up), then when each of them strikes. Disks
//! are damaged on one node alone, which is a minority of every shard.

use crate::fault::{Cut, Fault, Planned, Whom};
use crate::gate::Latency;
use crate::random::Random;
use serde::Serialize;

/// One seed's plan.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Nodes of the cluster: 3 or 5, as a configuration may name.
    pub nodes: usize,
    /// Shards.
    pub shards: u32,
    /// One step of everything, ms: within it, hosts run one after the other.
    pub tick_ms: u64,
    /// Workers of the recorded load.
    pub workers: usize,
    /// The longest pause of a worker between two acts, ms.
    pub pause_ms: u64,
    /// Keys that the workers meet on.
    pub live_keys: usize,
    /// Deadlines of the load's policies, against their shortest.
    pub scale: u64,
    /// Callers that use the product's client.
    pub callers: usize,
    /// The pause of a caller between two operations, ms: up to.
    pub think_ms: u64,
    /// Keys of all callers.
    pub keys: u64,
    /// Log entries kept for followers: few, so that snapshots and purges come up.
    pub log_kept: u64,
    /// The largest delay of a message, ms.
    pub latency_ms: u64,
    /// What a disk usually takes, ms: up to.
    pub disk_ms: u64,
    /// The drift of each node's clocks, permille.
    pub drifts: Vec<i64>,
    /// When the first fault strikes.
    pub faults_from_ms: u64,
    /// When everything is healed.
    pub heal_at_ms: u64,
    /// When the load ends.
    pub end_ms: u64,
    /// The one node whose disk may be damaged.
    pub victim: usize,
    /// The faults, by time.
    pub faults: Vec<Planned>,
    /// From when to when none strikes, ms, also none that waited.
    pub rest_ms: (u64, u64),
}

/// When faults begin, ms.
const FIRST_FAULT_MS: u64 = 6_000;
/// Half way through the faults no new one strikes for so long after those before should be over, ms: time to
/// elect leaders and to answer something, where faults are so many that no quorum is left among them.
const BREATH_MS: u64 = 5_000;

impl Plan {
    /// The plan of a seed for so much simulated time.
    #[must_use]
    pub fn draw(seed: u64, seconds: u64) -> Self {
        let mut random = Random::of(seed, "plan");
        let nodes = if random.permille(750) { 3 } else { 5 };
        let end_ms = seconds * 1000;
        let heal_at_ms = end_ms * 2 / 3;
        let mut plan = Self {
            seed,
            nodes,
            shards: [1, 1, 2, 3, 4, 6][random.index(6)],
            tick_ms: [1, 2, 4, 5][random.index(4)],
            workers: usize::try_from(random.between(2, 7)).unwrap_or(2),
            pause_ms: [150, 400, 1000][random.index(3)],
            live_keys: [20, 60, 150][random.index(3)],
            scale: [1, 2, 5][random.index(3)],
            callers: usize::try_from(random.between(1, 3)).unwrap_or(1),
            think_ms: [200, 400, 1000][random.index(3)],
            keys: [8, 400, 4000][random.index(3)],
            log_kept: [16, 40, 200, 2000][random.index(4)],
            latency_ms: [1, 5, 10, 40][random.index(4)],
            disk_ms: [0, 2, 6, 20][random.index(4)],
            drifts: (0..nodes).map(|_| drift(&mut random)).collect(),
            faults_from_ms: FIRST_FAULT_MS,
            heal_at_ms,
            end_ms,
            victim: random.index(nodes),
            faults: Vec::new(),
            rest_ms: (0, 0),
        };
        (plan.faults, plan.rest_ms) = plan.draw_faults(&mut random);
        plan
    }

    fn draw_faults(&self, random: &mut Random) -> (Vec<Planned>, (u64, u64)) {
        let kinds: Vec<u64> = (0..KINDS).filter(|_| random.permille(250)).collect();
        if kinds.is_empty() {
            return (Vec::new(), (0, 0));
        }
        let pace_ms = [600, 1500, 4000][random.index(3)];
        let mut faults: Vec<Planned> = Vec::new();
        let mut at_ms = self.faults_from_ms;
        let half_ms = (self.faults_from_ms + self.heal_at_ms) / 2;
        let mut rest_ms = (0, 0);
        // The last ones must have begun, and shown an effect, before everything is healed.
        while at_ms + 3_000 < self.heal_at_ms {
            let fault = match self.draw_fault(kinds[random.index(kinds.len())], random) {
                // It takes a node out for good: early, the other faults would strike a cluster without quorums.
                Fault::LogDamage(victim) if at_ms < self.heal_at_ms * 3 / 4 => Fault::RecordsRot(victim),
                fault => fault,
            };
            let for_ms = random.between(300, 6_000).min(self.heal_at_ms - at_ms - 500);
            faults.push(Planned { at_ms, for_ms, fault });
            at_ms += random.between(pace_ms / 2, pace_ms * 2);
            if at_ms >= half_ms && rest_ms.1 == 0 {
                let over = faults.iter().map(|planned| planned.at_ms + planned.for_ms).max();
                let last = faults.last().map_or(0, |planned| planned.at_ms);
                at_ms = at_ms.max(over.unwrap_or(0) + BREATH_MS);
                rest_ms = (last + 1, at_ms);
            }
        }
        (faults, rest_ms)
    }

    fn draw_fault(&self, kind: u64, random: &mut Random) -> Fault {
        let node = random.index(self.nodes);
        let whom = match random.below(10) {
            0 => Whom::All,
            1..=5 => Whom::LeaderOf(u32::try_from(random.below(u64::from(self.shards))).unwrap_or(0)),
            _ => Whom::Node(node),
        };
        match kind {
            0 => Fault::Kill(whom),
            1 => Fault::Power(whom),
            2 => Fault::PowerAtOp(node, random.below(40)),
            3 => Fault::Restart(Whom::Node(node)),
            4 => Fault::Partition { cut: self.cut(node, random), held: false, flap_ms: 0 },
            5 => Fault::Partition { cut: self.two_way(node, random), held: true, flap_ms: 0 },
            6 => {
                let one_way = if random.permille(500) { Cut::Mute(node) } else { Cut::Deafen(node) };
                Fault::Partition { cut: one_way, held: false, flap_ms: 0 }
            }
            7 => {
                let flap_ms = random.between(50, 900);
                Fault::Partition { cut: self.cut(node, random), held: false, flap_ms }
            }
            8 => Fault::Lossy { of_10_000: random.between(100, 500) },
            9 => Fault::Slow(node, random.between(20, 400)),
            10 => {
                let (from, to) = [(20, 200), (200, 900), (2_000, 6_000)][random.index(3)];
                Fault::SlowDisk(node, Latency(from, to))
            }
            11 => Fault::WriteError(node, random.below(4)),
            12 => Fault::SyncError(node, random.below(4)),
            13 => Fault::DiskFull(node),
            14 => {
                let step = i64::try_from(random.between(60_000, 3_600_001)).unwrap_or(0);
                Fault::ClockStep(node, if random.permille(500) { step } else { -step })
            }
            15 => Fault::ClockFrozen(node),
            16 => Fault::RecordsWiped(self.victim),
            17 => Fault::RecordsRot(self.victim),
            _ => Fault::LogDamage(self.victim),
        }
    }

    fn cut(&self, node: usize, random: &mut Random) -> Cut {
        match random.below(4) {
            0 if self.nodes > 3 => Cut::Ring,
            1 => Cut::Mute(node),
            _ => self.two_way(node, random),
        }
    }

    fn two_way(&self, node: usize, random: &mut Random) -> Cut {
        if random.permille(300) { Cut::Halves(1 + random.index(self.nodes - 1)) } else { Cut::Isolate(node) }
    }
}

/// The number of kinds that [`Plan::draw_fault`] knows.
const KINDS: u64 = 19;

/// Most clocks are nearly right; some are as wrong as the protocol allows for.
fn drift(random: &mut Random) -> i64 {
    match random.below(4) {
        0 => i64::try_from(random.below(101)).unwrap_or(0) - 50,
        1 => i64::try_from(random.below(3)).unwrap_or(0) - 1,
        _ => 0,
    }
}
