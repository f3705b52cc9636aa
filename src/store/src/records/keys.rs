//! The reserved keys of a shard's space: what must agree with its records and is written in the same batches.

use super::engine::RESERVED_FROM;
use bytes::Bytes;
use hapax_core::Address;

/// The applied position and what belongs to it.
pub(crate) const META: &[u8] = &[0xFD];

/// The number of the last batch and the record counts after it.
pub(crate) const LEDGER: &[u8] = &[0xFB];

/// One row a recent batch: see `ledger`.
const RING: u8 = 0xFC;

/// One row an address that is in doubt or would be if its lease lapsed: see `doubt`.
const DOUBT: u8 = 0xFE;

const _: () = assert!(LEDGER[0] >= RESERVED_FROM && RING >= RESERVED_FROM);

/// The key of a slot of the ring.
pub(crate) fn ring(slot: u16) -> Bytes {
    let [high, low] = slot.to_be_bytes();
    Bytes::copy_from_slice(&[RING, high, low])
}

/// The bounds of the ring.
pub(crate) const RING_RANGE: (&[u8], &[u8]) = (&[RING], &[RING + 1]);

/// The key of an address's row among the doubtful.
pub(crate) fn doubt(address: &Address) -> Bytes {
    let canonical = address.canonical();
    let mut key = Vec::with_capacity(canonical.len() + 1);
    key.push(DOUBT);
    key.extend_from_slice(canonical);
    key.into()
}

/// The bounds of the doubtful.
pub(crate) const DOUBT_RANGE: (&[u8], &[u8]) = (&[DOUBT], &[DOUBT + 1]);
