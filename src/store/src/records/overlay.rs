//! What apply has changed and the engine may not have yet, and a cache of what was read or written lately.
//!
//! Contract:
//! - [`Overlay::put`] makes a change visible at once and never waits.
//! - [`Overlay::take`] hands everything changed so far to the writer as one job; until
//!   [`Overlay::retire`] ends it, the job's records stay visible. So at every moment the truth for an address is
//!   the first hit in: changes, the job being written, the cache, the engine.
//! - The cache never holds anything but what the engine holds: see [`Overlay::fill`].
//!
//! The changes are bounded by whoever proposes (see `ShardRecords::overfull`), the cache by bytes.

use super::cache::Cache;
use super::scan::{ByteRange, PendingRows, merge_newest};
use crate::address_map::AddressMap;
use hapax_core::seeded::{self, Bug};
use hapax_core::{Address, Record};
use std::collections::hash_map::Entry;
use std::ops::RangeBounds;
use std::sync::Arc;

/// Changed records by address; `None` is a removal.
pub(crate) type Changed = AddressMap<Option<Arc<Record>>>;

/// An overlay.
#[derive(Debug)]
pub(crate) struct Overlay {
    changed: Changed,
    changed_bytes: usize,
    writing: Option<Arc<Changed>>,
    writing_bytes: usize,
    cache: Cache,
    /// Counts the jobs that have ended.
    retired: u64,
}

/// What the overlay knows of an address.
pub(crate) enum Found {
    /// The truth: a record or its absence.
    Known(Option<Arc<Record>>),
    /// Ask the engine; `fill` with this ticket.
    Unknown(Ticket),
}

/// Tells whether a job ended between a look into the overlay and now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Overlay {
    pub(crate) fn new(cache_bytes_max: usize) -> Self {
        Self {
            changed: Changed::default(),
            changed_bytes: 0,
            writing: None,
            writing_bytes: 0,
            cache: Cache::new(cache_bytes_max),
            retired: 0,
        }
    }

    /// Looks an address up.
    pub(crate) fn get(&mut self, address: &Address) -> Found {
        if let Some(record) = self.pending(address) {
            return Found::Known(record.clone());
        }
        match self.cache.get(address) {
            Some(record) => Found::Known(Some(record)),
            None => Found::Unknown(self.ticket()),
        }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.retired)
    }

    fn pending(&self, address: &Address) -> Option<&Option<Arc<Record>>> {
        let writing = self.writing.as_ref().filter(|_| !seeded::active(Bug::OverlayLost));
        self.changed.get(address).or_else(|| writing?.get(address))
    }

    /// Remembers what the engine gave for an address, unless that may be old by now: a change of it is pending,
    /// or a job ended since the look that gave the ticket.
    pub(crate) fn fill(&mut self, address: &Address, record: &Arc<Record>, ticket: Ticket) {
        if ticket == self.ticket() && self.pending(address).is_none() {
            self.cache.insert(address.clone(), Arc::clone(record));
        }
    }

    /// Changes a record. Returns what was known of it before, if anything.
    pub(crate) fn put(
        &mut self,
        address: Address,
        record: Option<Arc<Record>>,
    ) -> Option<Option<Arc<Record>>> {
        self.changed_bytes += footprint(&address, record.as_deref());
        match self.changed.entry(address) {
            Entry::Occupied(mut entry) => {
                let old = entry.insert(record);
                let freed = footprint(entry.key(), old.as_deref());
                self.changed_bytes = self.changed_bytes.saturating_sub(freed);
                Some(old)
            }
            Entry::Vacant(entry) => {
                let writing = self.writing.as_ref().and_then(|job| job.get(entry.key()).cloned());
                let known = writing.or_else(|| self.cache.get(entry.key()).map(Some));
                entry.insert(record);
                known
            }
        }
    }

    /// Takes all changes as a job for the writer. There must be no job already.
    pub(crate) fn take(&mut self) -> Arc<Changed> {
        debug_assert!(self.writing.is_none(), "one job at a time");
        // The next job is likely to be as large.
        let next = Changed::with_capacity_and_hasher(self.changed.len(), self.changed.hasher().clone());
        let job = Arc::new(std::mem::replace(&mut self.changed, next));
        self.writing_bytes = std::mem::take(&mut self.changed_bytes);
        self.writing = Some(Arc::clone(&job));
        job
    }

    /// Moves a part of the written job into the cache. The job itself still hides it until [`Overlay::retire`].
    ///
    /// Of a job that would push out most of what readers have asked for, only what is cached already is: its rows are
    /// the engine's newest, which it holds in memory itself.
    pub(crate) fn keep_written<'a>(
        &mut self,
        part: impl Iterator<Item = (&'a Address, &'a Option<Arc<Record>>)>,
    ) {
        let takes_new = self.writing_bytes <= self.cache.bytes_max() / 2;
        for (address, record) in part {
            match record {
                Some(record) if takes_new || self.cache.holds(address) => {
                    self.cache.insert(address.clone(), Arc::clone(record));
                }
                Some(_) => {}
                None => self.cache.remove(address),
            }
        }
    }

    /// Ends the job: the engine holds it. Returns it, so that it can be dropped outside of any lock.
    pub(crate) fn retire(&mut self) -> Option<Arc<Changed>> {
        self.writing_bytes = 0;
        self.retired += 1;
        self.writing.take()
    }

    /// Goes on counting where another overlay stopped, so that none of its tickets is good here.
    pub(crate) fn follow(&mut self, other: &Self) {
        self.retired = other.retired + 1;
    }

    /// Bytes not yet in the engine.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.changed_bytes + self.writing_bytes
    }

    /// Bytes not yet given to the writer.
    pub(crate) fn changed_bytes(&self) -> usize {
        self.changed_bytes
    }

    /// Bytes of the cache.
    pub(crate) fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// The addresses of everything that the engine may not have yet.
    pub(crate) fn pending_addresses(&self) -> impl Iterator<Item = &Address> {
        self.changed.keys().chain(self.writing.iter().flat_map(|job| job.keys()))
    }

    /// Up to `rows_max` pending rows of a range in order, newest first per address, and whether there are more.
    /// Goes through everything that is pending, and sorts what it gives: what is pending is bounded, and asked for its
    /// order only by pages.
    pub(crate) fn range(&self, range: ByteRange<'_>, rows_max: usize) -> PendingRows {
        let first = |job: &Changed| first_rows(job, range, rows_max.saturating_add(1)).into_iter();
        let writing = self.writing.iter().flat_map(|job| first(job));
        let mut merged = merge_newest(first(&self.changed), writing);
        let rows = merged.by_ref().take(rows_max).collect();
        (rows, merged.next().is_some())
    }
}

/// The first `rows_max` rows of a range, in order.
fn first_rows(job: &Changed, range: ByteRange<'_>, rows_max: usize) -> Vec<(Address, Option<Arc<Record>>)> {
    let is_in = |address: &Address| RangeBounds::<[u8]>::contains(&range, address.canonical());
    let mut rows: Vec<_> = job.iter().filter(|(address, _)| is_in(address)).collect();
    if rows.len() > rows_max {
        rows.select_nth_unstable_by_key(rows_max, |(address, _)| *address);
        rows.truncate(rows_max);
    }
    rows.sort_unstable_by_key(|(address, _)| *address);
    rows.into_iter().map(|(address, record)| (address.clone(), record.clone())).collect()
}

/// An estimate of the memory that an entry takes, bytes.
pub(crate) fn footprint(address: &Address, record: Option<&Record>) -> usize {
    use hapax_core::State;
    let payload = record.map_or(0, |record| {
        512 + match &record.state {
            State::Claimed(claimed) => claimed.checkpoint.len(),
            State::Open(open) => open.checkpoint.len(),
            State::InDoubt(doubt) => doubt.checkpoint.len(),
            State::Completed(completed) => {
                completed.outcome.result.len() + completed.outcome.metadata.size_bytes()
            }
            State::Spent(_) => 0,
        } + record.fields.as_slice().len() * 64
    });
    128 + address.canonical().len() + payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use hapax_core::record::{Open, OpenCause};
    use hapax_core::{
        Blob, Fields, Fingerprint, Key, LogTime, Nonce, Operation, Policy, Principal, State, Tenant, Terms,
        Token,
    };
    use std::ops::Bound;

    fn address() -> Address {
        let (tenant, operation) = (Tenant::new("t").expect("valid"), Operation::new("o").expect("valid"));
        Address::new(&tenant, &operation, &Key::new("k").expect("valid"))
    }

    fn record(attempt: u32) -> Arc<Record> {
        let policy = Policy::default();
        let open = Open {
            cause: OpenCause::Released,
            since: LogTime(1),
            checkpoint: Blob::default(),
            marked: false,
        };
        Arc::new(Record {
            fingerprint: Fingerprint::EMPTY,
            fields: Fields::default(),
            incarnation: Token::from(1),
            token: Token::from(1),
            nonce: Nonce::try_from([1; 16]).expect("valid"),
            attempt,
            principal: Principal::default(),
            first_trace: None,
            value: None,
            label: None,
            terms: Terms {
                on_lapse: policy.on_lapse,
                mode: policy.mode,
                max_hold_ms: policy.max_hold_ms,
                abandoned_ms: policy.abandoned_ms,
                retention_success_ms: policy.retention_success_ms,
                memory_ms: policy.memory_ms,
            },
            resolution: None,
            state: State::Open(open),
        })
    }

    fn known(overlay: &mut Overlay) -> Option<Option<Arc<Record>>> {
        match overlay.get(&address()) {
            Found::Known(record) => Some(record),
            Found::Unknown(_) => None,
        }
    }

    fn write_all(overlay: &mut Overlay) {
        let job = overlay.take();
        overlay.keep_written(job.iter());
        overlay.retire();
    }

    #[test]
    fn what_was_read_from_the_engine_is_cached() {
        let mut overlay = Overlay::new(10_000);
        let ticket = overlay.ticket();
        overlay.fill(&address(), &record(1), ticket);
        assert_eq!(known(&mut overlay), Some(Some(record(1))));
    }

    /// A reader looked, found nothing, and read the engine; before it comes back, a change was applied and
    /// written. What the reader has is old.
    #[test]
    fn what_was_read_before_a_batch_ended_is_not_cached_after_it() {
        for removal in [false, true] {
            let mut overlay = Overlay::new(10_000);
            let ticket = overlay.ticket();
            overlay.put(address(), (!removal).then(|| record(2)));
            write_all(&mut overlay);
            overlay.fill(&address(), &record(1), ticket);
            let expected = if removal { None } else { Some(Some(record(2))) };
            assert_eq!(known(&mut overlay), expected);
        }
    }

    /// The same, while the batch is being written: the old value must not be there when the batch ends.
    #[test]
    fn what_was_read_while_a_change_is_pending_is_not_cached() {
        let mut overlay = Overlay::new(10_000);
        overlay.put(address(), None);
        let job = overlay.take();
        overlay.keep_written(job.iter());
        let ticket = overlay.ticket();
        overlay.fill(&address(), &record(1), ticket);
        overlay.retire();
        assert_eq!(known(&mut overlay), None, "the engine is asked again");
    }

    fn numbered(n: u32) -> Address {
        let (tenant, operation) = (Tenant::new("t").expect("valid"), Operation::new("o").expect("valid"));
        Address::new(&tenant, &operation, &Key::new(format!("k{n:03}")).expect("valid"))
    }

    #[test]
    fn a_page_is_the_first_of_all_that_is_pending_and_newest() {
        let mut overlay = Overlay::new(10_000);
        let mut expected = std::collections::BTreeMap::new();
        let mut put = |overlay: &mut Overlay, n: u32, record: Option<Arc<Record>>| {
            overlay.put(numbered(n), record.clone());
            expected.insert(numbered(n), record);
        };
        // Odd ones are being written, some of them are changed again, and there are others besides.
        (0..200).filter(|n| n % 2 == 1).for_each(|n| put(&mut overlay, n, Some(record(1))));
        let _job = overlay.take();
        (0..200).filter(|n| n % 3 == 0).for_each(|n| put(&mut overlay, n, (n % 4 != 0).then(|| record(2))));
        for (from, to) in [(0, 200), (10, 150), (50, 51), (60, 60)] {
            let (from, to) = (numbered(from), numbered(to));
            let range = (Bound::Excluded(from.canonical()), Bound::Excluded(to.canonical()));
            let all: Vec<_> = expected
                .iter()
                .filter(|(address, _)| **address > from && **address < to)
                .map(|(address, record)| (address.clone(), record.clone()))
                .collect();
            for rows_max in
                [0, 1, 2, 3, 10, all.len().saturating_sub(1), all.len(), all.len() + 1, usize::MAX]
            {
                let (rows, has_more) = overlay.range(range, rows_max);
                assert_eq!(rows, all[..rows_max.min(all.len())], "{rows_max} of {}", all.len());
                assert_eq!(has_more, rows_max < all.len());
            }
        }
    }

    /// What is cached must not stay as it was, however much was written with it; the rest of a large job does not push
    /// out what readers asked for.
    #[test]
    fn of_a_large_job_only_what_is_cached_enters_the_cache() {
        let other = numbered;
        let mut overlay = Overlay::new(20_000);
        let ticket = overlay.ticket();
        overlay.fill(&address(), &record(1), ticket);
        overlay.put(address(), Some(record(2)));
        (0..100).for_each(|n| drop(overlay.put(other(n), Some(record(1)))));
        write_all(&mut overlay);
        assert_eq!(known(&mut overlay), Some(Some(record(2))));
        assert!(matches!(overlay.get(&other(99)), Found::Unknown(_)), "the engine is asked for it");
        overlay.put(other(7), Some(record(3)));
        write_all(&mut overlay);
        assert!(matches!(overlay.get(&other(7)), Found::Known(Some(_))), "a small job is kept");
    }

    #[test]
    fn a_ticket_of_a_replaced_shard_is_no_good() {
        let mut old = Overlay::new(10_000);
        old.put(address(), None);
        write_all(&mut old);
        let (ticket, mut new) = (old.ticket(), Overlay::new(10_000));
        new.follow(&old);
        write_all(&mut new);
        new.fill(&address(), &record(1), ticket);
        assert_eq!(known(&mut new), None);
    }

    #[test]
    fn bytes_are_counted_once_and_come_down_again() {
        let mut overlay = Overlay::new(10_000);
        overlay.put(address(), Some(record(1)));
        let once = overlay.pending_bytes();
        overlay.put(address(), Some(record(2)));
        assert_eq!(overlay.pending_bytes(), once, "replaced, not added");
        overlay.take();
        overlay.put(address(), None);
        assert!(overlay.pending_bytes() > once, "the batch being written counts");
        overlay.retire();
        assert!((1..once).contains(&overlay.pending_bytes()));
        write_all(&mut overlay);
        assert_eq!(overlay.pending_bytes(), 0);
    }
}
