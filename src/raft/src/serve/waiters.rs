//! Callers that are held while somebody else runs.
//!
//! Nobody polls: a waiter leaves by the apply that ends the state it waits for, by the log time
//! that passes the lease's end, by the end of its own wait, or because this replica lost the lead.
//! Whoever leaves reads again. The registry lives under the lock of applied state, so that no
//! change can slip between the read that found a claim running and the registration.

use crate::serve::pending::Pending;
use hapax_core::{Address, LogTime};
use hapax_store::address_map::AddressMap;
use std::collections::{BTreeSet, VecDeque};
use tokio::time::Instant;

struct Waiter {
    serial: u64,
    lapses_at: LogTime,
    wait_until: Instant,
    pending: Pending,
}

/// All waiters of one shard, oldest first for each address.
#[derive(Default)]
pub struct Waiters {
    next_serial: u64,
    by_address: AddressMap<VecDeque<Waiter>>,
    by_lapse: BTreeSet<(LogTime, u64, Address)>,
    by_wait: BTreeSet<(Instant, u64, Address)>,
}

impl Waiters {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_wait.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_wait.is_empty()
    }

    /// How many wait on this address.
    #[must_use]
    pub fn len_at(&self, address: &Address) -> usize {
        self.by_address.get(address).map_or(0, VecDeque::len)
    }

    /// Holds a caller until the claim that lapses at `lapses_at` ends or `wait_until` has come. A
    /// caller that was woken before keeps its place: the order is that of arrival.
    pub fn register(&mut self, address: Address, lapses_at: LogTime, wait_until: Instant, pending: Pending) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_lapse.insert((lapses_at, serial, address.clone()));
        self.by_wait.insert((wait_until, serial, address.clone()));
        let queue = self.by_address.entry(address).or_default();
        let place = queue.partition_point(|waiter| waiter.pending.arrived <= pending.arrived);
        queue.insert(place, Waiter { serial, lapses_at, wait_until, pending });
    }

    /// Everyone who waits on this address, oldest first.
    pub fn take(&mut self, address: &Address) -> Vec<Pending> {
        let Some(queue) = self.by_address.remove(address) else { return Vec::new() };
        for waiter in &queue {
            self.by_lapse.remove(&(waiter.lapses_at, waiter.serial, address.clone()));
            self.by_wait.remove(&(waiter.wait_until, waiter.serial, address.clone()));
        }
        queue.into_iter().map(|waiter| Pending { woken: true, ..waiter.pending }).collect()
    }

    /// Everyone who waits for a lease that has lapsed at `now`.
    pub fn take_lapsed(&mut self, now: LogTime) -> Vec<Pending> {
        let mut taken = Vec::new();
        while let Some((lapses_at, _, address)) = self.by_lapse.first().cloned() {
            if !lapses_at.has_passed_at(now) {
                break;
            }
            taken.extend(self.take(&address));
        }
        taken
    }

    /// Those whose own wait is over; they read once more and are not held again.
    pub fn take_expired(&mut self, now: Instant) -> Vec<Pending> {
        let mut taken = Vec::new();
        while let Some((wait_until, serial, address)) = self.by_wait.first().cloned() {
            if wait_until > now {
                break;
            }
            taken.extend(self.remove(&address, serial));
        }
        taken
    }

    /// Everyone, for a replica that lost the lead.
    pub fn take_all(&mut self) -> Vec<Pending> {
        self.by_lapse.clear();
        self.by_wait.clear();
        self.by_address.drain().flat_map(|(_, queue)| queue).map(|waiter| waiter.pending).collect()
    }

    /// Those on this address whose connection is gone or who gave up.
    pub fn take_unwanted(&mut self, address: &Address) -> Vec<Pending> {
        let Some(queue) = self.by_address.get(address) else { return Vec::new() };
        let gone: Vec<u64> =
            queue.iter().filter(|waiter| !waiter.pending.is_wanted()).map(|waiter| waiter.serial).collect();
        gone.into_iter().filter_map(|serial| self.remove(address, serial)).collect()
    }

    /// The earliest lease end that somebody waits for.
    #[must_use]
    pub fn next_lapse(&self) -> Option<LogTime> {
        self.by_lapse.first().map(|(lapses_at, _, _)| *lapses_at)
    }

    /// The earliest end of a wait.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.by_wait.first().map(|(wait_until, _, _)| *wait_until)
    }

    fn remove(&mut self, address: &Address, serial: u64) -> Option<Pending> {
        let queue = self.by_address.get_mut(address)?;
        let place = queue.iter().position(|waiter| waiter.serial == serial)?;
        let waiter = queue.remove(place)?;
        if queue.is_empty() {
            self.by_address.remove(address);
        }
        self.by_lapse.remove(&(waiter.lapses_at, serial, address.clone()));
        self.by_wait.remove(&(waiter.wait_until, serial, address.clone()));
        Some(Pending { woken: true, wait_until: None, ..waiter.pending })
    }
}
