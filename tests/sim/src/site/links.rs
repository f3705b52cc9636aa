//! Who reaches whom, how fast and how surely.

use super::Site;
use crate::fault::{Cut, Fault};
use crate::host::node_name;
use crate::trace;
use std::time::Duration;

/// The links' usual rate of loss.
const NO_LOSS: f64 = 0.0;

/// How two nodes are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wire {
    held: bool,
    /// From the lower to the higher number, and back.
    cut: (bool, bool),
}

impl Site<'_> {
    /// Makes the links what the partitions of the moment say.
    pub(super) fn join_wires(&mut self) {
        let now = self.now_ms();
        let mut changed = false;
        for a in 0..self.machines.len() {
            for b in a + 1..self.machines.len() {
                let wire = self.wanted(a, b, now);
                let before = self.wires.insert((a, b), wire).unwrap_or_default();
                if wire != before {
                    self.rewire(a, b, before, wire);
                    changed = true;
                }
            }
        }
        if changed {
            self.set_links();
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
    pub(super) fn set_links(&mut self) {
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
                // The simulation would mend a cut link after a random loss.
                let loss = if self.is_whole(a, b) { loss } else { NO_LOSS };
                self.sim.set_link_max_message_latency(
                    node_name(a),
                    node_name(b),
                    Duration::from_millis(delay),
                );
                self.sim.set_link_fail_rate(node_name(a), node_name(b), loss);
            }
        }
    }

    fn is_whole(&self, a: usize, b: usize) -> bool {
        self.wires.get(&(a, b)).is_none_or(|wire| *wire == Wire::default())
    }

    /// Counts what was lost on links that nothing cuts, while some may lose messages.
    pub(super) fn count_losses(&mut self) {
        if !self.active.iter().any(|active| matches!(active.fault, Fault::Lossy { .. })) {
            return;
        }
        let ways = trace::ways();
        for a in 0..self.machines.len() {
            for b in a + 1..self.machines.len() {
                if self.is_whole(a, b) && self.is_up(a) && self.is_up(b) {
                    for (from, to) in [(a, b), (b, a)] {
                        self.lost_by_chance += ways.way(from, to).lost - self.seen.way(from, to).lost;
                    }
                }
            }
        }
        self.seen = ways;
    }

    /// What was lost up to now was not lost by chance.
    pub(super) fn look_away(&mut self) {
        self.seen = trace::ways();
    }
}

/// Whether a cut stops what `a` sends to `b`, and what `b` sends to `a`.
pub(super) fn separates(cut: Cut, a: usize, b: usize, nodes: usize) -> (bool, bool) {
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
