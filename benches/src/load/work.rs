//! The keys of a run and what is kept under them.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// All workers' keys: each has its own, numbered from 0 without a gap.
#[derive(Debug)]
pub struct Work {
    /// Sets this run's keys apart from those of every other.
    run: u64,
    value_bytes: RangeInclusive<usize>,
    /// How many keys each worker has used.
    used: Vec<AtomicU64>,
    /// Keys whose calls failed: nobody knows what is under them.
    unknown: Mutex<HashSet<(usize, u64)>>,
    any_unknown: AtomicBool,
}

impl Work {
    /// For so many workers.
    #[must_use]
    pub fn new(run: u64, value_bytes: RangeInclusive<usize>, workers: usize) -> Self {
        let used = (0..workers).map(|_| AtomicU64::new(0)).collect();
        Self { run, value_bytes, used, unknown: Mutex::default(), any_unknown: AtomicBool::new(false) }
    }

    /// For how many workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.used.len()
    }

    /// How many keys are completed; those of which nobody knows do not count.
    #[must_use]
    pub fn count(&self) -> u64 {
        let used: u64 = self.used.iter().map(|used| used.load(Ordering::Acquire)).sum();
        let unknown = self.unknown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len();
        used.saturating_sub(unknown as u64)
    }

    /// The name of a worker's `n`th key.
    #[must_use]
    pub fn key(&self, worker: usize, n: u64) -> String {
        format!("{:016x}-{worker:04x}-{n:012x}", self.run)
    }

    /// What is kept under it.
    #[must_use]
    pub fn value(&self, worker: usize, n: u64) -> Bytes {
        let seed = self.run ^ (worker as u64).rotate_left(48) ^ n;
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut value = vec![0; rng.random_range(self.value_bytes.clone())];
        rng.fill_bytes(&mut value);
        value.into()
    }

    /// The number of a worker's next new key. It can be asked for once [`Work::done`] or
    /// [`Work::failed`] was told of it.
    #[must_use]
    pub fn next(&self, worker: usize) -> u64 {
        self.used.get(worker).map_or(0, |used| used.load(Ordering::Relaxed))
    }

    /// The worker's next key is completed.
    pub fn done(&self, worker: usize) {
        if let Some(used) = self.used.get(worker) {
            used.fetch_add(1, Ordering::Release);
        }
    }

    /// The worker's next key came to nothing, or nobody knows.
    pub fn failed(&self, worker: usize) {
        self.any_unknown.store(true, Ordering::Release);
        let n = self.next(worker);
        self.unknown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert((worker, n));
        self.done(worker);
    }

    /// A completed key of any worker, chosen by `index`, which is given a count and tells a place below it.
    pub fn completed(&self, mut index: impl FnMut(u64) -> u64) -> Option<(usize, u64)> {
        let worker = usize::try_from(index(self.used.len() as u64)).ok()?;
        let used = self.used.get(worker)?.load(Ordering::Acquire);
        if used == 0 {
            return None;
        }
        let n = index(used);
        let is_known = !self.any_unknown.load(Ordering::Acquire)
            || !self.unknown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&(worker, n));
        is_known.then_some((worker, n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_functions_of_their_key() {
        let work = Work::new(7, 10..=20, 3);
        let values: HashSet<_> = (0..3).flat_map(|worker| (0..50).map(move |n| (worker, n))).collect();
        let distinct: HashSet<_> = values.iter().map(|(worker, n)| work.value(*worker, *n)).collect();
        assert_eq!(distinct.len(), 150);
        assert!(distinct.iter().all(|value| (10..=20).contains(&value.len())));
        assert_eq!(work.value(1, 2), Work::new(7, 10..=20, 9).value(1, 2));
        assert_ne!(work.value(1, 2), Work::new(8, 10..=20, 3).value(1, 2));
    }

    #[test]
    fn only_what_is_completed_is_replayed() {
        let work = Work::new(1, 1..=1, 2);
        assert_eq!(work.completed(|_| 0), None);
        work.done(0);
        assert_eq!((work.next(0), work.count(), work.workers()), (1, 1, 2));
        work.failed(0);
        assert_eq!((work.next(0), work.count()), (2, 1));
        assert_eq!(work.completed(|_| 0), Some((0, 0)));
        assert_eq!(work.completed(|count| if count == 2 { 1 } else { 0 }), None, "the other worker has none");
        let mut places = [0, 1].into_iter();
        assert_eq!(work.completed(|_| places.next().unwrap()), None, "nobody knows what is there");
    }
}
