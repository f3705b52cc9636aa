//! Completed results kept here for a short while.
//!
//! Off unless configured. An entry answers only a claim with the same address **and** the same
//! fingerprint, is kept at most as long as configured (never over 60 s) and never past its
//! retention, and what it answers is labelled `cached`. It cannot see that a record was forgotten
//! through another client: for as long as it keeps one, this client goes on replaying it.

use crate::config::CacheConfig;
use crate::env::Instant;
use hapax_core::reply::Replayed;
use hapax_core::{Address, Fingerprint, Witness};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What an entry costs beside its payload: the maps' own bytes, roughly and on the high side.
const ENTRY_BYTES: usize = 256;

/// The cache; without a configuration it keeps nothing.
pub(crate) struct Cache {
    bounds: Option<CacheConfig>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Address, Entry>,
    /// By age, oldest first: what goes when there is no room.
    order: BTreeMap<u64, Address>,
    last: u64,
    bytes: usize,
}

struct Entry {
    number: u64,
    bytes: usize,
    fingerprint: Fingerprint,
    until: Instant,
    replayed: Replayed,
    witness: Option<Witness>,
}

impl Cache {
    pub(crate) fn new(bounds: Option<CacheConfig>) -> Self {
        Self { bounds, kept: Mutex::default() }
    }

    /// What is kept for this very request.
    pub(crate) fn get(
        &self,
        address: &Address,
        fingerprint: Option<Fingerprint>,
        now: Instant,
    ) -> Option<(Replayed, Option<Witness>)> {
        self.bounds?;
        let mut kept = self.kept.lock();
        let entry = kept.entries.get(address)?;
        if now >= entry.until {
            kept.remove(address);
            return None;
        }
        let same = fingerprint == Some(entry.fingerprint);
        same.then(|| (entry.replayed.clone(), entry.witness))
    }

    /// Keeps a replayed result that was asked for at `asked` (before its reply was made).
    pub(crate) fn put(
        &self,
        address: &Address,
        fingerprint: Option<Fingerprint>,
        replayed: &Replayed,
        witness: Option<Witness>,
        asked: Instant,
        wall_ms: u64,
    ) {
        let (Some(bounds), Some(fingerprint), Some(seen)) = (self.bounds, fingerprint, witness) else {
            return;
        };
        // The witness may be the time of a write long before this read, so the wall clock has a
        // say too: whichever leaves less.
        let left_ms = replayed.expires_at.0.saturating_sub(seen.time.0.max(wall_ms));
        let until = asked + bounds.keep.min(Duration::from_millis(left_ms));
        let metadata = &replayed.metadata;
        let bytes =
            ENTRY_BYTES + 2 * address.canonical().len() + replayed.result.len() + metadata.size_bytes();
        let mut kept = self.kept.lock();
        kept.remove(address);
        if left_ms == 0 || bytes > bounds.bytes || bounds.entries == 0 {
            return;
        }
        kept.make_room(bounds.entries - 1, bounds.bytes - bytes);
        kept.last += 1;
        let number = kept.last;
        kept.bytes += bytes;
        kept.order.insert(number, address.clone());
        let entry = Entry { number, bytes, fingerprint, until, replayed: replayed.clone(), witness };
        kept.entries.insert(address.clone(), entry);
    }

    /// Drops what is kept for an address.
    pub(crate) fn forget(&self, address: &Address) {
        if self.bounds.is_some() {
            self.kept.lock().remove(address);
        }
    }
}

impl Kept {
    fn make_room(&mut self, entries: usize, bytes: usize) {
        while self.entries.len() > entries || self.bytes > bytes {
            let Some((_, oldest)) = self.order.first_key_value() else { return };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, address: &Address) {
        if let Some(entry) = self.entries.remove(address) {
            self.order.remove(&entry.number);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hapax_core::{LogTime, Metadata, OutcomeClass};

    fn address(key: &str) -> Address {
        crate::address("t", "o", key).expect("well formed")
    }

    fn replayed(result: &str, expires_at: u64) -> Replayed {
        Replayed {
            class: OutcomeClass::Success,
            result: result.into(),
            metadata: Metadata::default(),
            completed_at: LogTime(500),
            expires_at: LogTime(expires_at),
            attempt: 1,
            first_trace: None,
        }
    }

    fn witness(time: u64) -> Option<Witness> {
        Some(Witness { shard: 0, index: 1, position: 0, time: LogTime(time), basis: hapax_core::Basis::Read })
    }

    fn print(byte: u8) -> Option<Fingerprint> {
        Some(Fingerprint { algorithm: 1, digest: [byte; 32] })
    }

    fn cache(entries: usize, bytes: usize) -> (Cache, Instant) {
        let bounds = CacheConfig { entries, bytes, keep: Duration::from_secs(10) };
        (Cache::new(Some(bounds)), Instant::now())
    }

    #[test]
    fn it_answers_the_same_request_only() {
        let (cache, now) = cache(10, 1 << 20);
        cache.put(&address("a"), print(1), &replayed("r", 90_000), witness(1000), now, 1000);
        assert_eq!(cache.get(&address("a"), print(1), now).map(|(r, _)| r), Some(replayed("r", 90_000)));
        assert!(cache.get(&address("a"), print(2), now).is_none());
        assert!(cache.get(&address("a"), None, now).is_none());
        assert!(cache.get(&address("b"), print(1), now).is_none());
        cache.forget(&address("a"));
        assert!(cache.get(&address("a"), print(1), now).is_none());
    }

    #[test]
    fn it_keeps_nothing_past_its_time_or_its_retention() {
        let (cache, now) = cache(10, 1 << 20);
        let held = |expires_at, seen, wall_ms, after_ms| {
            cache.put(&address("a"), print(1), &replayed("r", expires_at), witness(seen), now, wall_ms);
            cache.get(&address("a"), print(1), now + Duration::from_millis(after_ms)).is_some()
        };
        assert!(held(90_000, 1000, 1000, 9_999));
        assert!(!held(90_000, 1000, 1000, 10_000));
        assert!(held(3000, 1000, 1000, 1_999));
        assert!(!held(3000, 1000, 1000, 2_000));
        assert!(!held(3000, 1000, 2500, 500));
        assert!(!held(3000, 2500, 1000, 500));
        assert!(!held(3000, 3000, 0, 0));
    }

    #[test]
    fn it_stays_within_its_bounds_and_drops_the_oldest() {
        let (cache, now) = cache(3, 10_000);
        for i in 0..50 {
            cache.put(&address(&format!("{i}")), print(1), &replayed("r", 90_000), witness(1), now, 1);
        }
        let kept = |i: u32| cache.get(&address(&format!("{i}")), print(1), now).is_some();
        assert_eq!((0..50).filter(|i| kept(*i)).collect::<Vec<_>>(), [47, 48, 49]);
        let big = "x".repeat(9_000);
        cache.put(&address("big"), print(1), &replayed(&big, 90_000), witness(1), now, 1);
        assert!(cache.get(&address("big"), print(1), now).is_some());
        let held = cache.kept.lock();
        assert!(held.bytes <= 10_000 && held.entries.len() == held.order.len());
        drop(held);
        cache.put(&address("big"), print(1), &replayed(&"x".repeat(10_000), 90_000), witness(1), now, 1);
        assert!(cache.get(&address("big"), print(1), now).is_none());
    }

    #[test]
    fn without_a_configuration_it_keeps_nothing() {
        let (cache, now) = (Cache::new(None), Instant::now());
        cache.put(&address("a"), print(1), &replayed("r", 90_000), witness(1), now, 1);
        assert!(cache.get(&address("a"), print(1), now).is_none());
    }
}
