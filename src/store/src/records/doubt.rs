//! Which records are in doubt, and since when.
//!
//! A marked claim comes to be in doubt by the mere passing of its deadline, without any write. So the index holds
//! every record that is in doubt *or would be* if its lease lapsed, with the time from which that counts; what is
//! in doubt at a log time is everything up to it. Its rows are stored with the records, so that opening a shard
//! need not read all records.

use super::engine::EngineView;
use super::error::StoreError;
use super::keys;
use hapax_core::{Address, LogTime, Record, State, StateKind};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The index of one shard. As large as the number of records in doubt and of marked claims.
#[derive(Debug, Default)]
pub(crate) struct DoubtIndex {
    since: BTreeMap<Address, LogTime>,
    by_time: BTreeSet<(LogTime, Address)>,
}

/// From when the record is in doubt, if it is or comes to be when it is left alone.
pub(crate) fn doubtful_since(record: &Record) -> Option<LogTime> {
    match &record.state {
        State::InDoubt(doubt) => Some(doubt.since),
        State::Claimed(claimed) if record.kind_at(claimed.deadline) == StateKind::InDoubt => {
            Some(claimed.deadline)
        }
        _ => None,
    }
}

impl DoubtIndex {
    /// Reads the index of a view.
    pub(crate) fn load(view: &dyn EngineView) -> Result<Self, StoreError> {
        let mut index = Self::default();
        let (from, to) = keys::DOUBT_RANGE;
        for row in view.rows(Bound::Included(from), Bound::Excluded(to)) {
            let (key, value) = row?;
            let address = Address::from_canonical(&key[1..])
                .map_err(|error| StoreError::damaged("a row of the in-doubt index", error))?;
            index.set(&address, Some(decode(&key, &value)?));
        }
        Ok(index)
    }

    /// All addresses of the index.
    pub(crate) fn addresses(&self) -> BTreeSet<Address> {
        self.since.keys().cloned().collect()
    }

    /// Notes from when an address is in doubt, or that it is not.
    pub(crate) fn set(&mut self, address: &Address, since: Option<LogTime>) {
        if let Some(old) = self.since.remove(address) {
            self.by_time.remove(&(old, address.clone()));
        }
        if let Some(since) = since {
            self.since.insert(address.clone(), since);
            self.by_time.insert((since, address.clone()));
        }
    }

    /// What is in doubt at a log time: how many, and since when the oldest.
    pub(crate) fn summary(&self, now: LogTime) -> (usize, Option<LogTime>) {
        let mut doubtful = self.until(now);
        let oldest = doubtful.next().map(|(since, _)| *since);
        (doubtful.count() + usize::from(oldest.is_some()), oldest)
    }

    /// Up to `limit` of them, oldest first.
    pub(crate) fn list(&self, now: LogTime, limit: usize) -> Vec<(Address, LogTime)> {
        self.until(now).take(limit).map(|(since, address)| (address.clone(), *since)).collect()
    }

    fn until(&self, now: LogTime) -> impl Iterator<Item = &(LogTime, Address)> {
        self.by_time.iter().take_while(move |(since, _)| since.has_passed_at(now))
    }
}

/// The value of a row.
pub(crate) fn encode(key: &[u8], since: LogTime) -> Vec<u8> {
    crate::codec::encode_number(since.0, key)
}

fn decode(key: &[u8], value: &[u8]) -> Result<LogTime, StoreError> {
    Ok(LogTime(crate::codec::decode_number(value, key, "a row of the in-doubt index")?))
}
