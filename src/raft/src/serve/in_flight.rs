//! Which addresses have a command proposed and not yet applied.
//!
//! A call on such an address is never answered by a read at once: its commands are proposed behind
//! the earlier ones, and what may be read is parked until those that stood before it are applied. So
//! commands on one address take effect in the order in which they arrived, and a get behind them sees
//! them. What is parked waits for nothing that came after it: a steady stream of commands on one
//! address puts nothing off.

use crate::serve::pending::Pending;
use hapax_core::Address;
use hapax_store::address_map::AddressMap;
use std::collections::VecDeque;
use tokio::time::Instant;

/// One address. Both lines are in order of arrival.
#[derive(Default)]
struct Slot {
    /// The numbers of the commands that have not been answered.
    commands: VecDeque<u64>,
    /// What waits, and which command it waits for: that one and all before it.
    parked: VecDeque<(u64, Pending)>,
}

/// The addresses of commands in flight.
#[derive(Default)]
pub struct InFlight {
    slots: AddressMap<Slot>,
    /// Numbers rise for ever, over all addresses.
    last: u64,
    /// Calls parked, of all addresses.
    parked: usize,
    /// Commands, of all addresses.
    commands: usize,
}

impl InFlight {
    /// Whether a command on this address is in flight.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        self.slots.contains_key(address)
    }

    /// A command is about to be proposed; what is no command is left alone.
    pub fn add(&mut self, command: &mut Pending) {
        let Some(address) = command.address() else { return };
        self.last += 1;
        self.slots.entry(address.clone()).or_default().commands.push_back(self.last);
        command.number = self.last;
        self.commands += 1;
    }

    /// Parks a call behind the commands on its address; hands it back when there are none.
    pub fn park(&mut self, call: Pending) -> Option<Pending> {
        match call.address().and_then(|address| self.slots.get_mut(address)) {
            Some(slot) => {
                slot.parked.push_back((self.last, call));
                self.parked += 1;
                None
            }
            None => Some(call),
        }
    }

    /// A command was answered; returns what waited for it and for no other that is still in flight.
    pub fn remove(&mut self, command: &Pending) -> Vec<Pending> {
        let Some(address) = command.address() else { return Vec::new() };
        let Some(slot) = self.slots.get_mut(address) else { return Vec::new() };
        // Nearly always the first: entries are applied in order, and only what is late leaves the line early.
        if let Some(place) = slot.commands.iter().position(|number| *number == command.number) {
            slot.commands.remove(place);
            self.commands -= 1;
        }
        let first = slot.commands.front().copied().unwrap_or(u64::MAX);
        let free = slot.parked.partition_point(|(behind, _)| *behind < first);
        let freed: Vec<Pending> = slot.parked.drain(..free).map(|(_, call)| call).collect();
        if slot.commands.is_empty() {
            self.slots.remove(address);
        }
        self.parked -= freed.len();
        freed
    }

    /// Commands that have not been answered.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.commands
    }

    /// Whether anything is parked.
    #[must_use]
    pub fn has_parked(&self) -> bool {
        self.parked > 0
    }

    /// The parked calls whose deadline has passed: a command without a quorum may stay in flight for
    /// much longer.
    pub fn take_late(&mut self, now: Instant) -> Vec<Pending> {
        if self.parked == 0 {
            return Vec::new();
        }
        let mut late = Vec::new();
        for slot in self.slots.values_mut() {
            if slot.parked.iter().any(|(_, call)| call.deadline <= now) {
                let (gone, left) = slot.parked.drain(..).partition(|(_, call)| call.deadline <= now);
                slot.parked = left;
                let gone: VecDeque<(u64, Pending)> = gone;
                late.extend(gone.into_iter().map(|(_, call)| call));
            }
        }
        self.parked -= late.len();
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Caller, ReplySink};
    use crate::serve::pending::Work;
    use hapax_core::{Answer, Key, Operation, Principal, Tenant};
    use std::time::Duration;

    struct Nobody;

    impl ReplySink for Nobody {
        fn deliver(&self, _: Vec<(u64, Answer)>) {}
    }

    /// Only its address and its deadline count here.
    fn call(key: &str, id: u64, deadline: Instant) -> Pending {
        let (tenant, operation) = (Tenant::new("t").unwrap(), Operation::new("op").unwrap());
        let address = Address::new(&tenant, &operation, &Key::new(key).unwrap());
        Pending {
            caller: Caller::new(Principal::default(), Box::new(Nobody)),
            id,
            verb: "get",
            arrived: Instant::now(),
            deadline,
            wait_until: None,
            woken: false,
            number: 0,
            followers: None,
            work: Work::Get { address, fingerprint: None, is_reader: false },
        }
    }

    fn ids(calls: Vec<Pending>) -> Vec<u64> {
        calls.into_iter().map(|call| call.id).collect()
    }

    #[tokio::test]
    async fn what_is_parked_waits_for_all_commands_before_it_and_for_none_behind() {
        let (mut line, at) = (InFlight::default(), Instant::now() + Duration::from_secs(1));
        let mut commands: Vec<_> = (1..=4).map(|id| call("k", id, at)).collect();
        let mut elsewhere = call("other", 9, at);
        line.add(&mut commands[0]);
        line.add(&mut elsewhere);
        line.add(&mut commands[1]);
        assert!(line.park(call("k", 10, at)).is_none());
        line.add(&mut commands[2]);
        assert!(line.park(call("k", 11, at)).is_none());
        line.add(&mut commands[3]);
        assert_eq!(ids(line.remove(&elsewhere)), [0; 0]);
        // The third leaves early, as what is late does: it was not the one that the first get waits for.
        assert_eq!(ids(line.remove(&commands[2])), [0; 0]);
        assert_eq!(ids(line.remove(&commands[0])), [0; 0]);
        assert_eq!(ids(line.remove(&commands[1])), [10, 11]);
        assert!(!line.has_parked() && line.contains(commands[3].address().unwrap()));
        assert_eq!(ids(line.remove(&commands[3])), [0; 0]);
        assert_eq!(line.park(call("k", 12, at)).map(|call| call.id), Some(12));
        assert!(line.slots.is_empty());
    }

    #[tokio::test]
    async fn the_late_leave_and_the_others_keep_their_order() {
        let (mut line, now) = (InFlight::default(), Instant::now());
        let mut command = call("k", 1, now);
        line.add(&mut command);
        for (id, seconds) in [(2, 9), (3, 1), (4, 9)] {
            assert!(line.park(call("k", id, now + Duration::from_secs(seconds))).is_none());
        }
        assert_eq!(ids(line.take_late(now + Duration::from_secs(2))), [3]);
        assert_eq!(ids(line.remove(&command)), [2, 4]);
        assert!(!line.has_parked());
    }
}
