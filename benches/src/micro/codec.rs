//! What bytes cost: an entry is encoded once by the leader and decoded once by every replica; a record is encoded once
//! a batch of the record store, and decoded when it is read back.

use super::Case;
use super::commands::{address, batch};
use super::records::completed;
use hapax_store::codec::batch::{decode_batch, encode_batch};
use hapax_store::codec::record::{decode_record, encode_record};
use std::hint::black_box;

/// Commands in an entry: alone, under load, and as many as there may be.
const ENTRIES: [u64; 3] = [1, 32, 512];

/// Every case of the store's codec.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = ENTRIES.into_iter().flat_map(entry).collect();
    cases.extend(record());
    cases
}

fn entry(commands: u64) -> [Case; 2] {
    let batch = batch(commands);
    let bytes = encode_batch(&batch);
    [
        Case::new(format!("codec/encode an entry of {commands}"), commands, move || {
            encode_batch(black_box(&batch))
        }),
        Case::new(format!("codec/decode an entry of {commands}"), commands, move || {
            decode_batch(black_box(&bytes))
        }),
    ]
}

fn record() -> [Case; 2] {
    let (address, record) = (address(1), completed());
    let bytes = encode_record(&address, &record);
    let of = address.clone();
    [
        Case::new("codec/encode a record", 1, move || encode_record(black_box(&address), black_box(&record))),
        Case::new("codec/decode a record", 1, move || decode_record(of.canonical(), black_box(&bytes))),
    ]
}
