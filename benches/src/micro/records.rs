//! Records as commands find them, each made by the commands that lead to it.

use super::commands::{BEGIN, LEASE_MS, claim, complete, doubtful_claim};
use hapax_core::{At, Change, Command, LogTime, Record, Transition, transition};
use std::sync::Arc;

/// The place of an entry with one command, a millisecond after the one before it.
#[must_use]
pub fn at(index: u64) -> At {
    At { shard: 0, epoch: 0, index, position: 0, time: LogTime(BEGIN.0 + index) }
}

/// Where the lease of a first claim has lapsed.
#[must_use]
pub fn lapsed() -> At {
    at(LEASE_MS + 2)
}

/// A running claim of the first key.
#[must_use]
pub fn claimed() -> Arc<Record> {
    stored(None, &claim(1, 1), at(1))
}

/// A claim of the first key that is in doubt once its lease has lapsed.
#[must_use]
pub fn doubtful() -> Arc<Record> {
    stored(None, &doubtful_claim(1, 1), at(1))
}

/// The first key, completed.
#[must_use]
pub fn completed() -> Arc<Record> {
    let record = claimed();
    stored(Some(&record), &complete(1, record.token), at(2))
}

/// The record that a grant or a completion leaves.
pub(crate) fn stored(found: Option<&Record>, command: &Command, at: At) -> Arc<Record> {
    match transition(found, command, at).expect("a known format") {
        Transition { change: Change::Put(record), .. } => record,
        other => unreachable!("a grant and a completion store a record, got {other:?}"),
    }
}
