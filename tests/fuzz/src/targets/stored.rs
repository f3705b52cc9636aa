//! Values as they stand in the record store and in the log: records, applied states, batches.
//!
//! Input: what it is, then the value from behind its checksum on, which is made to fit. What is taken must be the
//! same after another round, and can be looked at for any time.

use crate::seen::Seen;
use hapax_core::{Access, LogTime, Record, content_digest};
use hapax_store::codec::batch::{batch_time, decode_batch, encode_batch};
use hapax_store::codec::meta::{decode_meta, encode_meta};
use hapax_store::codec::record::{decode_record, encode_record};

/// Under which key a meta row stands is no part of the input.
const PLACE: &[u8] = b"meta";

/// Records in every state, an applied state and a batch.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut store = super::samples::Store::new();
    let history = super::samples::history(12, 20);
    store.fill(&history);
    let rows = store.shard.scan(&[], None, 100).unwrap().rows;
    let of = |kind: u8, value: &[u8], head: usize| [&[kind][..], &value[head..]].concat();
    let records = rows.iter().map(|(address, record)| of(0, &encode_record(address, record), 5));
    let meta = of(1, &encode_meta(&store.shard.applied(), PLACE), 5);
    let batches = history.iter().map(|batch| of(2, &encode_batch(batch), 1));
    records.chain([meta]).chain(batches).collect()
}

/// Runs the target.
pub(super) fn stored_value(input: &[u8], seen: &mut Seen) -> usize {
    let Some((kind, rest)) = input.split_first() else { return 0 };
    let taken = match kind % 4 {
        0 => record(rest, seen),
        1 => meta(rest, seen),
        2 => batch(rest, seen),
        _ => unsealed(rest),
    };
    usize::from(taken.is_some())
}

/// Puts a version and the checksum in front of what stands at the fifth byte and behind.
pub(super) fn seal(value: &mut [u8], place: &[u8]) {
    value[0] = 1;
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(place), &value[..1]), &value[5..]);
    value[1..5].copy_from_slice(&sum.to_le_bytes());
}

fn sealed(body: &[u8], place: &[u8]) -> Vec<u8> {
    let mut value = [&[0; 5], body].concat();
    seal(&mut value, place);
    value
}

fn record(body: &[u8], seen: &mut Seen) -> Option<()> {
    let address = super::samples::address(5);
    let decoded = decode_record(address.canonical(), &sealed(body, address.canonical()));
    seen.shape(&decoded);
    let record = decoded.ok()?;
    let again = decode_record(address.canonical(), &encode_record(&address, &record));
    assert_eq!(again.as_ref(), Ok(&record));
    look(&record, seen);
    let _digest = content_digest(&address, &record, LogTime(1_000));
    Some(())
}

/// A record can be looked at for any time, and what it has become stays what it is.
fn look(record: &Record, seen: &mut Seen) {
    for time in [0, 1_000, 1_001, 100_000, u64::MAX - 1, u64::MAX].map(LogTime) {
        let kind = record.kind_at(time);
        seen.note(("kind", kind.name()));
        for access in [Access::Outline, Access::Summary, Access::Full] {
            assert_eq!(record.view(time, access).state, kind);
        }
        if let Some(settled) = record.settle(time) {
            let once = settled.into_owned();
            let twice = once.settle(time).map(|settled| settled.into_owned());
            assert_eq!(twice.as_ref(), Some(&once), "settling twice is not settling once");
        }
    }
}

fn meta(body: &[u8], seen: &mut Seen) -> Option<()> {
    let decoded = decode_meta(&sealed(body, PLACE), PLACE);
    seen.shape(&decoded);
    let meta = decoded.ok()?;
    assert_eq!(decode_meta(&encode_meta(&meta, PLACE), PLACE).as_ref(), Ok(&meta));
    Some(())
}

fn batch(body: &[u8], seen: &mut Seen) -> Option<()> {
    let value = [&[1], body].concat();
    let decoded = decode_batch(&value);
    seen.shape(&decoded);
    let batch = decoded.ok()?;
    assert_eq!(batch_time(&value), Some(batch.time));
    assert_eq!(decode_batch(&encode_batch(&batch)).as_ref(), Ok(&batch));
    Some(())
}

/// Without a checksum that fits, nothing is taken.
fn unsealed(value: &[u8]) -> Option<()> {
    let address = super::samples::address(5);
    assert!(decode_record(address.canonical(), value).is_err());
    assert!(decode_meta(value, PLACE).is_err());
    let _time = batch_time(value);
    None
}
