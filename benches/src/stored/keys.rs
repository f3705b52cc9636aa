//! Records of many keys, as commands leave them.

use crate::micro::commands::{address, claim, complete};
use crate::micro::records::{at, stored};
use hapax_core::{Address, Record};
use std::sync::Arc;

/// A record under its address.
pub type Row = (Address, Arc<Record>);

/// The records of `count` completed operations, whose keys come in no order, each under a token of its own.
#[must_use]
pub fn completed(count: u64) -> Vec<Row> {
    (1..=count).map(row).collect()
}

/// The addresses of `count` keys that no record of [`completed`] has.
#[must_use]
pub fn absent(count: u64) -> Vec<Address> {
    (1..=count).map(|n| address(!scattered(n))).collect()
}

fn row(n: u64) -> Row {
    let key = scattered(n);
    let held = stored(None, &claim(key, n), at(n));
    (address(key), stored(Some(&held), &complete(key, held.token), at(n)))
}

/// Neighbours in number are far apart in order, as callers' keys are, and no two are the same. The upper half is for
/// what is absent.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1
}
