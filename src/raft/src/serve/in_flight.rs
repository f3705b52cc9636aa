//! Which addresses have a command proposed and not yet applied.
//!
//! A call on such an address is never answered by a read: its commands are proposed behind the
//! earlier one, and its gets are parked until that one is applied. So commands on one address take
//! effect in the order in which they arrived, and a get behind them sees them.

use crate::serve::pending::Pending;
use hapax_core::Address;
use std::collections::HashMap;
use tokio::time::Instant;

#[derive(Default)]
struct Slot {
    commands: usize,
    parked: Vec<Pending>,
}

/// The addresses of commands in flight, by count.
#[derive(Default)]
pub struct InFlight {
    slots: HashMap<Address, Slot>,
    /// Gets parked, of all addresses.
    parked: usize,
}

impl InFlight {
    /// Whether a command on this address is in flight.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        self.slots.contains_key(address)
    }

    /// A command on this address is about to be proposed.
    pub fn add(&mut self, address: &Address) {
        self.slots.entry(address.clone()).or_default().commands += 1;
    }

    /// Parks a get behind the commands on its address; hands it back when there are none.
    pub fn park(&mut self, pending: Pending) -> Option<Pending> {
        match pending.address().and_then(|address| self.slots.get_mut(address)) {
            Some(slot) => {
                slot.parked.push(pending);
                self.parked += 1;
                None
            }
            None => Some(pending),
        }
    }

    /// A command on this address was answered; returns the gets that waited for the last one.
    pub fn remove(&mut self, address: &Address) -> Vec<Pending> {
        let Some(slot) = self.slots.get_mut(address) else { return Vec::new() };
        slot.commands -= 1;
        if slot.commands > 0 {
            return Vec::new();
        }
        let parked = self.slots.remove(address).map(|slot| slot.parked).unwrap_or_default();
        self.parked -= parked.len();
        parked
    }

    /// Whether any get is parked.
    #[must_use]
    pub fn has_parked(&self) -> bool {
        self.parked > 0
    }

    /// The parked gets whose deadline has passed: a command without a quorum may stay in flight for
    /// much longer.
    pub fn take_late(&mut self, now: Instant) -> Vec<Pending> {
        if self.parked == 0 {
            return Vec::new();
        }
        let late =
            self.slots.values_mut().flat_map(|slot| slot.parked.extract_if(.., |get| get.deadline <= now));
        let late: Vec<Pending> = late.collect();
        self.parked -= late.len();
        late
    }
}
