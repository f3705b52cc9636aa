//! The number of the last batch, the record counts after it, and the proof that no batch before it is missing.
//!
//! An engine that recovers from a damaged journal may come up with later batches but without some in the middle.
//! The applied position alone would not show that. So each batch also writes its own number into a slot of a
//! small ring; when a shard is opened, the ring must hold the last numbers without a gap.
//!
//! The counts are by stored state, kept from what was known of a record before its change, and corrected by
//! reclaiming only when the records are counted anew: good for metrics and quotas, not exact.

use super::engine::{BatchRow, EngineView};
use super::error::StoreError;
use super::keys;
use crate::codec;
use bytes::Bytes;
use hapax_core::{Record, StateKind};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Slots of the ring: how many batches back a gap is found.
const RING_SLOTS: u64 = 1024;

/// Records by stored state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Claimed, whether or not the lease has lapsed.
    pub claimed: u64,
    /// Open.
    pub open: u64,
    /// In doubt by a write; lapsed marked claims are counted as claimed.
    pub in_doubt: u64,
    /// Completed, whether or not retention has ended.
    pub completed: u64,
    /// Spent.
    pub spent: u64,
}

impl Counts {
    /// All records.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.claimed + self.open + self.in_doubt + self.completed + self.spent
    }

    fn of(&mut self, record: &Record) -> Option<&mut u64> {
        match record.state.kind() {
            StateKind::Absent => None,
            StateKind::Claimed => Some(&mut self.claimed),
            StateKind::Open => Some(&mut self.open),
            StateKind::InDoubt => Some(&mut self.in_doubt),
            StateKind::Completed => Some(&mut self.completed),
            StateKind::Spent => Some(&mut self.spent),
        }
    }

    /// Counts a record in.
    pub(crate) fn add(&mut self, record: &Record) {
        if let Some(count) = self.of(record) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts a record out.
    pub(crate) fn remove(&mut self, record: &Record) {
        if let Some(count) = self.of(record) {
            *count = count.saturating_sub(1);
        }
    }
}

/// The last batch of a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// Its number, from 1; 0 before the first.
    pub(crate) batch: u64,
    /// The counts after it.
    pub(crate) counts: Counts,
}

impl Ledger {
    /// The rows by which a batch writes this ledger, ascending.
    pub(crate) fn rows(&self) -> [BatchRow; 2] {
        let counts = self.counts;
        let numbers =
            [self.batch, counts.claimed, counts.open, counts.in_doubt, counts.completed, counts.spent];
        let ledger = codec::encode_numbers(&numbers, keys::LEDGER);
        let slot = slot(self.batch);
        let number = codec::encode_number(self.batch, &slot);
        [(Bytes::from_static(keys::LEDGER), Some(ledger.into())), (slot, Some(number.into()))]
    }

    /// Reads the ledger of a view and proves it complete.
    pub(crate) fn load(view: &dyn EngineView) -> Result<Self, StoreError> {
        let ledger = match view.get(keys::LEDGER)? {
            None => Self::default(),
            Some(value) => {
                let [batch, claimed, open, in_doubt, completed, spent] =
                    codec::decode_numbers(&value, keys::LEDGER, "the ledger")?;
                Self { batch, counts: Counts { claimed, open, in_doubt, completed, spent } }
            }
        };
        ledger.prove(view)?;
        Ok(ledger)
    }

    fn prove(&self, view: &dyn EngineView) -> Result<(), StoreError> {
        let mut found = BTreeMap::new();
        let (from, to) = keys::RING_RANGE;
        for row in view.rows(Bound::Included(from), Bound::Excluded(to)) {
            let (key, value) = row?;
            let number = codec::decode_number(&value, &key, "a row of the batch ring")?;
            found.insert(key, number);
        }
        let first = (self.batch + 1).saturating_sub(RING_SLOTS).max(1);
        let whole = (first..=self.batch).all(|number| found.get(&slot(number)) == Some(&number));
        if whole && found.len() as u64 == (self.batch + 1).saturating_sub(first) {
            return Ok(());
        }
        Err(StoreError::damaged("the batches of a shard", "some are missing before the last"))
    }
}

fn slot(batch: u64) -> Bytes {
    let slot = u16::try_from(batch % RING_SLOTS).expect("a remainder is below its divisor");
    keys::ring(slot)
}
