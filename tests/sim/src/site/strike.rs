//! How a fault strikes, and how it is mended.
//!
//! Contract: a fault waits while nothing is there for it to strike, or another one is in its way. It
//! stays for its time, and longer until it had an effect: a little beyond all others if it must be.

use super::{AGAIN_MS, Active, RESERVE_BYTES, Site};
use crate::fault::Fault::{PowerAtOp, Restart, SyncError, WriteError};
use crate::fault::{Fault, Planned, Whom};
use crate::machine::Machine;
use crate::trace;
use hapax_store::disk::{Disk as _, DiskOp};
use hapax_store::records::MemoryEngine;
use hapax_wire::status::{ShardRole, ShardStatus};
use std::path::Path;

impl Site<'_> {
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

    pub(super) fn strike_due(&mut self, now: u64) {
        while let Some(planned) = self.plan.faults.get(self.next)
            && planned.at_ms <= now
        {
            self.waiting.push(self.next);
            self.next += 1;
        }
        let (from, to) = self.plan.rest_ms;
        let rests = now >= self.plan.heal_at_ms || (from..to).contains(&now);
        if rests || self.waiting.is_empty() || !now.is_multiple_of(20) {
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
        if self.is_in_the_way(&fault) {
            return false;
        }
        let until_ms = (now + for_ms).min(self.plan.heal_at_ms);
        let mark = self.count(&fault);
        let mut active = Active { number, fault, from_ms: now, until_ms, mark, life: None };
        match fault {
            Fault::Kill(whom) | Fault::Power(whom) | Fault::Restart(whom) => {
                let targets = self.targets(whom);
                let Some(first) = targets.first() else { return false };
                active.life = Some((*first, self.machines[*first].life()));
                for i in targets {
                    match fault {
                        Fault::Kill(_) => self.kill(i, until_ms),
                        Fault::Power(_) => self.cut_power(i, until_ms),
                        _ => self.machines[i].request_stop(),
                    }
                }
                if !matches!(fault, Fault::Restart(_)) {
                    self.struck[number].proved = Some("its process ran and is gone".to_owned());
                }
            }
            Fault::Partition { .. } | Fault::Slow(..) => {}
            Fault::Lossy { .. } => self.look_away(),
            Fault::RecordsWiped(i) | Fault::RecordsRot(i) | Fault::LogDamage(i) => {
                if !self.is_up(i) {
                    return false;
                }
                self.cut_power(i, until_ms);
                if self.damage(i, fault) {
                    self.struck[number].proved = Some("stored bytes were changed".to_owned());
                } else {
                    self.struck[number].skipped = Some("nothing was stored yet");
                }
            }
            _ => {
                let Some(i) = fault.machine().filter(|i| self.is_up(*i)) else { return false };
                active.life = Some((i, self.machines[i].life()));
                self.arm(i, fault);
            }
        }
        trace::note(&format!("{now} {fault:?};"));
        tracing::warn!(target: "sim", at_ms = now, for_ms, ?fault, "strikes");
        self.active.push(active);
        self.join_wires();
        self.set_links();
        true
    }

    /// Whether a fault is there whose effect could not be told from this one's, or that it would undo.
    fn is_in_the_way(&self, fault: &Fault) -> bool {
        let place = fault.place();
        place.is_some() && self.active.iter().any(|active| active.fault.place() == place)
    }

    fn arm(&mut self, i: usize, fault: Fault) {
        let machine = &self.machines[i];
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

    pub(super) fn end_due(&mut self, now: u64) {
        let mut ended = Vec::new();
        for active in std::mem::take(&mut self.active) {
            self.look_for_effect(&active);
            let is_over = active.until_ms <= now && self.struck[active.number].proved.is_some();
            if is_over || self.is_overtaken(&active) {
                ended.push(active);
            } else {
                self.active.push(active);
            }
        }
        for active in &ended {
            self.end(active);
        }
        if !ended.is_empty() {
            self.join_wires();
            self.set_links();
        }
    }

    /// Whether the process that it waits for has ended for another reason.
    fn is_overtaken(&self, active: &Active) -> bool {
        let (PowerAtOp(..) | WriteError(..) | SyncError(..) | Restart(_)) = active.fault else {
            return false;
        };
        active.life.is_some_and(|(i, life)| self.machines[i].life() != life)
    }

    fn end(&mut self, active: &Active) {
        self.look_for_effect(active);
        self.excuse(active);
        self.struck[active.number].span_ms = Some((active.from_ms, self.now_ms()));
        self.mend(active);
    }

    fn mend(&mut self, active: &Active) {
        match active.fault {
            PowerAtOp(i, _) | WriteError(i, _) | SyncError(i, _)
                if self.struck[active.number].proved.is_none() =>
            {
                self.machines[i].disk.disarm();
            }
            Fault::SlowDisk(i, _) => self.machines[i].pace.set(None),
            Fault::DiskFull(i) => self.machines[i].disk.limit_capacity(None),
            Fault::ClockFrozen(i) => self.machines[i].clock.freeze_wall(false, self.sim.elapsed()),
            _ => {}
        }
    }

    /// Ends every fault that has shown an effect, and lets no more strike: what has not goes on without the
    /// others, of which some may have kept it from having any. Says whether there is such a fault.
    pub fn heal_proved(&mut self) -> bool {
        for number in std::mem::take(&mut self.waiting) {
            self.struck[number].skipped = Some("it found no moment to strike");
        }
        let now = self.now_ms();
        for until in &mut self.down_until_ms {
            *until = until.map(|until| until.min(now + AGAIN_MS));
        }
        self.end_due(now);
        !self.active.is_empty()
    }

    /// Whether a fault is still there.
    #[must_use]
    pub fn is_struck(&self) -> bool {
        !self.active.is_empty()
    }

    /// Ends every fault and puts everything right that can be.
    pub fn heal(&mut self) {
        self.heal_proved();
        for active in std::mem::take(&mut self.active) {
            self.end(&active);
        }
        for machine in &self.machines {
            machine.clock.right_wall();
            machine.disk.disarm();
        }
        self.join_wires();
        self.set_links();
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
