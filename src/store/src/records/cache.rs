//! A cache of records, bounded by bytes, that gives way to the second chance rule: what was asked for since it
//! last came up for eviction stays for another round.

use super::overlay::footprint;
use crate::address_map::AddressMap;
use hapax_core::{Address, Record};
use std::collections::VecDeque;
use std::sync::Arc;

/// The cache.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: AddressMap<Entry>,
    /// Every address in `entries` once, and those removed since: they are skipped when they come up.
    queue: VecDeque<(Address, u64)>,
    bytes: usize,
    bytes_max: usize,
    next_id: u64,
}

#[derive(Debug)]
struct Entry {
    record: Arc<Record>,
    bytes: usize,
    used: bool,
    /// Tells this entry from an earlier one of the same address that is still in the queue.
    id: u64,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { entries: AddressMap::default(), queue: VecDeque::new(), bytes: 0, bytes_max, next_id: 0 }
    }

    pub(crate) fn get(&mut self, address: &Address) -> Option<Arc<Record>> {
        let entry = self.entries.get_mut(address)?;
        entry.used = true;
        Some(Arc::clone(&entry.record))
    }

    pub(crate) fn holds(&self, address: &Address) -> bool {
        self.entries.contains_key(address)
    }

    pub(crate) fn insert(&mut self, address: Address, record: Arc<Record>) {
        let bytes = footprint(&address, Some(&record));
        if bytes > self.bytes_max {
            self.remove(&address);
            return;
        }
        if let Some(entry) = self.entries.get_mut(&address) {
            self.bytes = self.bytes + bytes - entry.bytes;
            (entry.record, entry.bytes, entry.used) = (record, bytes, true);
        } else {
            let id = self.next_id;
            self.next_id += 1;
            self.queue.push_back((address.clone(), id));
            self.entries.insert(address, Entry { record, bytes, used: false, id });
            self.bytes += bytes;
        }
        self.evict();
    }

    pub(crate) fn remove(&mut self, address: &Address) {
        if let Some(entry) = self.entries.remove(address) {
            self.bytes -= entry.bytes;
        }
        // What was removed leaves the queue when it comes up; if much was, that is now.
        if self.queue.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.queue.retain(|(address, id)| entries.get(address).is_some_and(|entry| entry.id == *id));
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max {
            let Some((address, id)) = self.queue.pop_front() else { return };
            match self.entries.get_mut(&address) {
                Some(entry) if entry.id == id && entry.used => {
                    entry.used = false;
                    self.queue.push_back((address, id));
                }
                Some(entry) if entry.id == id => {
                    self.bytes -= entry.bytes;
                    self.entries.remove(&address);
                }
                _ => {}
            }
        }
    }
}
