//! Whether a fault was seen to have had an effect.
//!
//! Contract: a fault is proved by something that it alone can have caused, counted from its strike
//! on. One that was not is skipped only if a process that it concerns was down at a time, or had
//! nothing left that could be struck; else the seed is void.

use super::links::separates;
use super::{Active, RESERVE_BYTES, Site};
use crate::fault::Fault;
use crate::trace;
use hapax_store::disk::Disk as _;
use hapax_wire::status::ShardRole;
use std::path::Path;

/// Messages over slow links that must arrive until they count as slowed.
const SLOWED_MIN: u64 = 10;
/// A frozen clock must have fallen behind by more than this, ms.
const BEHIND_MS: u64 = 50;

impl Site<'_> {
    /// The count that an effect of the fault moves.
    pub(super) fn count(&self, fault: &Fault) -> u64 {
        let machine = |i: usize| &self.machines[i];
        match *fault {
            Fault::Partition { cut, held, .. } => self.count_ways(|a, b| {
                let (forth, back) = separates(cut, a, b, self.machines.len());
                (forth || held && back, back || held && forth)
            }),
            Fault::Lossy { .. } => self.lost_by_chance,
            Fault::Slow(i, _) => {
                let ways = trace::ways();
                let others = (0..self.machines.len()).filter(|other| *other != i);
                others.map(|other| ways.way(i, other).delivered + ways.way(other, i).delivered).sum()
            }
            Fault::PowerAtOp(i, _) => self.fatals[i],
            Fault::WriteError(i, _) | Fault::SyncError(i, _) | Fault::DiskFull(i) => {
                machine(i).disk.refused()
            }
            Fault::SlowDisk(i, _) => machine(i).pace.held_up(),
            Fault::ClockStep(i, _) | Fault::ClockFrozen(i) => machine(i).clock.off_ms(self.sim.elapsed()),
            Fault::Restart(_) => self.stops.iter().sum(),
            _ => 0,
        }
    }

    /// Messages lost on those ways between two nodes that `chosen` names.
    fn count_ways(&self, chosen: impl Fn(usize, usize) -> (bool, bool)) -> u64 {
        let ways = trace::ways();
        let mut lost = 0;
        for a in 0..self.machines.len() {
            for b in a + 1..self.machines.len() {
                let (forth, back) = chosen(a, b);
                lost += u64::from(forth) * ways.way(a, b).lost + u64::from(back) * ways.way(b, a).lost;
            }
        }
        lost
    }

    /// Notes what shows that the fault had an effect, if something does by now.
    pub(super) fn look_for_effect(&mut self, active: &Active) {
        if self.struck[active.number].proved.is_some() {
            return;
        }
        if let Fault::DiskFull(i) = active.fault {
            self.keep_full(i);
        }
        let (count, mark) = (self.count(&active.fault), active.mark);
        let more = count.saturating_sub(mark);
        let proof = match active.fault {
            Fault::Partition { .. } | Fault::Lossy { .. } if more > 0 => {
                format!("{more} messages lost or held")
            }
            Fault::Slow(..) if more >= SLOWED_MIN => format!("{more} messages over slow links"),
            Fault::PowerAtOp(..) if more > 0 => "the process ended itself".to_owned(),
            Fault::WriteError(..) | Fault::SyncError(..) if more > 0 => "the call failed".to_owned(),
            Fault::DiskFull(i) if more > 0 || self.is_short_of_room(i) => "the reserve is gone".to_owned(),
            Fault::SlowDisk(..) if more > 0 => format!("{more} batches waited"),
            Fault::ClockStep(..) if count != mark => format!("off by {count} ms, {mark} before"),
            Fault::ClockFrozen(..) if count.abs_diff(mark) > BEHIND_MS => {
                format!("off by {count} ms, {mark} before")
            }
            Fault::Restart(_) if more > 0 => "it stopped in an orderly way".to_owned(),
            _ => return,
        };
        self.struck[active.number].proved = Some(proof);
    }

    fn is_short_of_room(&self, i: usize) -> bool {
        self.is_up(i) && self.free_bytes(i) < RESERVE_BYTES
    }

    fn free_bytes(&self, i: usize) -> u64 {
        self.machines[i].disk.free_bytes(Path::new("/node")).unwrap_or(0)
    }

    /// What a node gives back, as when it makes its records again, others take: the disk is full until the fault is over.
    fn keep_full(&self, i: usize) {
        if self.free_bytes(i) >= RESERVE_BYTES {
            let disk = &self.machines[i].disk;
            disk.limit_capacity(Some(disk.used() + RESERVE_BYTES / 2));
        }
    }

    /// Says why a fault that is over and had no effect could not have had one, if so.
    pub(super) fn excuse(&mut self, active: &Active) {
        let struck = &self.struck[active.number];
        if struck.proved.is_some() || struck.skipped.is_some() {
            return;
        }
        let concerned = |i: usize| match active.fault {
            Fault::Restart(_) => active.life.is_some_and(|(on, _)| on == i),
            fault => fault.machine().is_none_or(|on| on == i),
        };
        let was_down = |i: usize| {
            let outage = self.outages.iter().rev().find(|outage| outage.node == i);
            !self.is_up(i) || outage.is_some_and(|outage| outage.until_ms > active.from_ms)
        };
        let nodes = || (0..self.machines.len()).filter(|i| concerned(*i));
        let why = if nodes().any(was_down) {
            "a process was down"
        } else if nodes().any(|i| self.has_no_replica(i)) {
            "no replica ran"
        } else {
            return;
        };
        self.struck[active.number].skipped = Some(why);
    }

    fn has_no_replica(&self, i: usize) -> bool {
        let runs = |(node, status): &(usize, _)| *node == i && runs(status);
        !self.replicas().iter().any(runs)
    }
}

fn runs(status: &hapax_wire::status::ShardStatus) -> bool {
    status.role != ShardRole::Stopped
}
