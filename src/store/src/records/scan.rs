//! Merging what is pending with what the engine holds, in canonical order.

use super::engine::Rows;
use super::error::StoreError;
use crate::codec::record::decode_record;
use hapax_core::{Address, Record};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

/// One page of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage {
    /// Records as they are stored (not settled), in canonical order.
    pub rows: Vec<(Address, Arc<Record>)>,
    /// Where to go on (exclusive, canonical); none at the end. A page may be short and still go on.
    pub next: Option<Vec<u8>>,
}

/// Merges two ascending sequences; where both have a key, the first one's value is taken.
pub(crate) fn merge_newest<K: Ord, V>(
    newer: impl Iterator<Item = (K, V)>,
    older: impl Iterator<Item = (K, V)>,
) -> impl Iterator<Item = (K, V)> {
    let (mut newer, mut older) = (newer.peekable(), older.peekable());
    std::iter::from_fn(move || {
        let order = match (newer.peek(), older.peek()) {
            (Some(new), Some(old)) => new.0.cmp(&old.0),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, _) => std::cmp::Ordering::Greater,
        };
        match order {
            std::cmp::Ordering::Less => newer.next(),
            std::cmp::Ordering::Greater => older.next(),
            std::cmp::Ordering::Equal => {
                older.next();
                newer.next()
            }
        }
    })
}

/// A range of canonical bytes; never one on which `BTreeMap::range` panics.
pub(crate) type ByteRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The end of the range of keys that start with `prefix`: exclusive; none when it has no end.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Pending rows of a page and whether there are more behind the last of them.
pub(crate) type PendingRows = (Vec<(Address, Option<Arc<Record>>)>, bool);

/// Makes a page of at most `limit` records from what is pending and the engine's rows of the same range.
pub(crate) fn page(pending: PendingRows, stored: Rows, limit: usize) -> Result<ScanPage, StoreError> {
    let (pending, more_pending) = pending;
    // Behind the last pending row that was collected nothing is known of what is pending.
    let horizon = pending.last().filter(|_| more_pending).map(|(address, _)| address.clone());
    let mut pending = pending.into_iter().peekable();
    let mut stored = stored.peekable();
    let mut rows = Vec::new();
    let mut last = None;
    while rows.len() < limit {
        let row = next_row(&mut pending, &mut stored)?;
        let known = |key: &[u8]| horizon.as_ref().is_none_or(|horizon| key <= horizon.canonical());
        let Some((key, record)) = row.filter(|(key, _)| known(key)) else {
            return Ok(ScanPage { rows, next: horizon.map(|horizon| horizon.canonical().to_vec()) });
        };
        rows.extend(record);
        last = Some(key);
    }
    Ok(ScanPage { rows, next: last })
}

/// A key, and the record there unless it was removed.
type Merged = (Vec<u8>, Option<(Address, Arc<Record>)>);

fn next_row(
    pending: &mut Peekable<impl Iterator<Item = (Address, Option<Arc<Record>>)>>,
    stored: &mut Peekable<Rows>,
) -> Result<Option<Merged>, StoreError> {
    let take_pending = match (pending.peek(), stored.peek()) {
        (_, Some(Err(_))) => false,
        (Some((address, _)), Some(Ok((key, _)))) => address.canonical() <= key.as_ref(),
        (Some(_), None) => true,
        (None, _) => false,
    };
    if !take_pending {
        let Some(row) = stored.next() else { return Ok(None) };
        let (key, value) = row?;
        let (address, record) = decode_row(&key, &value)?;
        return Ok(Some((key.to_vec(), Some((address, Arc::new(record))))));
    }
    let Some((address, record)) = pending.next() else { return Ok(None) };
    if matches!(stored.peek(), Some(Ok((key, _))) if key.as_ref() == address.canonical()) {
        stored.next();
    }
    let key = address.canonical().to_vec();
    Ok(Some((key, record.map(|record| (address, record)))))
}

/// Reads a stored row.
pub(crate) fn decode_row(key: &[u8], value: &[u8]) -> Result<(Address, Record), StoreError> {
    let record = decode_record(key, value)?;
    let address = Address::from_canonical(key).map_err(|error| StoreError::damaged("a stored key", error))?;
    Ok((address, record))
}
