//! A snapshot stream is damaged as the input says, and received.
//!
//! Input: the number of a stream, then the damages. A stream that is not the one that was sent is refused, and
//! the receiving shard is as it was; so it is, too, when the checksums of single chunks were made to fit. Where
//! the totals were made to fit as well, what was installed must be readable and give the same stream again.

use super::samples::{self, ID, Store};
use super::script::Script;
use crate::seen::Seen;
use bytes::Bytes;
use hapax_core::{Address, LogTime, Record, content_digest};
use hapax_store::codec::meta::decode_meta;
use hapax_store::codec::record::decode_record;
use hapax_store::records::{ShardRecords, StoreError};
use std::cell::RefCell;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

type Contents = BTreeMap<Address, Record>;
type Row<'a> = (&'a [u8], &'a [u8]);

/// The most damages of one input.
const DAMAGES_MAX: usize = 8;
const FRAME_BYTES: usize = 14;
const ROWS: u8 = 2;

thread_local! {
    static STREAMS: Vec<Vec<Bytes>> = streams();
    static TARGET: RefCell<Option<Store>> = const { RefCell::new(None) };
}

fn streams() -> Vec<Vec<Bytes>> {
    let of = |records, result_bytes| {
        let mut store = Store::new();
        store.fill(&samples::history(records, result_bytes));
        store.shard.view().unwrap().chunks().map(Result::unwrap).collect()
    };
    // Of a few records, of one, and of enough bytes for several chunks of rows.
    vec![of(24, 40), of(1, 0), of(60, 120_000)]
}

/// Where the installation of a damaged stream is tried, with a record of its own that must not suffer.
fn target() -> Store {
    let mut store = Store::new();
    store.fill(&samples::history(2, 3)[..1]);
    store
}

/// Each stream as it is, and each kind of damage once.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let plain = (0..3).map(|number| vec![number]);
    let damaged = (0..9).map(|kind| vec![2, kind, 1, 0, 20, 0, 0, 4, 1, 2, 3]);
    plain.chain(damaged).collect()
}

/// Runs the target.
pub(super) fn snapshot_open(input: &[u8], seen: &mut Seen) -> usize {
    let mut script = Script::new(input);
    // The long stream is for one input in sixteen: it is slow.
    let number = match script.byte() % 16 {
        0 => 2,
        number => usize::from(number % 2),
    };
    let original = STREAMS.with(|streams| streams[number].clone());
    let other = STREAMS.with(|streams| streams[1 - number % 2].clone());
    let mut stream = original.clone();
    let mut sealed = false;
    for _ in 0..DAMAGES_MAX {
        if script.is_over() {
            break;
        }
        let kind = script.byte() % 9;
        seen.note(("damage", kind));
        sealed |= damage(&mut stream, &other, kind, &mut script);
    }
    if sealed {
        seal(&mut stream);
    }
    let store = TARGET.take().unwrap_or_else(target);
    let before = contents(&store.shard);
    let outcome = receive(&store.shard, &stream);
    match outcome {
        Err(StoreError::BadSnapshot(why)) => {
            seen.note(why);
            assert_ne!(stream, original, "what was sent is refused: {why}");
            assert_eq!(contents(&store.shard), before, "a refused snapshot changed the shard");
            TARGET.set(Some(store));
            0
        }
        Err(error) => panic!("a bad snapshot is called something else: {error}"),
        Ok(()) => {
            // Chunk by chunk, one stream may have become the other.
            let is_whole = stream == original || stream == other;
            assert!(is_whole || sealed, "a damaged snapshot was installed");
            let again: Vec<Bytes> =
                store.shard.view().unwrap().chunks().map(|chunk| chunk.expect("a readable shard")).collect();
            let kept = contents(&store.shard);
            seen.magnitude("kept", kept.len() as u64);
            assert!(!is_whole || again == stream, "a snapshot of a snapshot is another");
            1
        }
    }
}

fn receive(shard: &std::sync::Arc<ShardRecords>, stream: &[Bytes]) -> Result<(), StoreError> {
    let mut sink = shard.install().expect("a sink");
    stream.iter().try_for_each(|chunk| sink.write(chunk))?;
    sink.finish().map(|_| ())
}

fn contents(shard: &ShardRecords) -> Contents {
    let page = shard.scan(&[], None, 1_000).expect("a readable shard");
    page.rows.into_iter().map(|(address, record)| (address, (*record).clone())).collect()
}

/// Does one damage; says whether the whole stream is to be made to fit afterwards.
fn damage(stream: &mut Vec<Bytes>, other: &[Bytes], kind: u8, script: &mut Script<'_>) -> bool {
    if stream.is_empty() {
        return false;
    }
    let at = usize::from(script.byte()) % stream.len();
    match kind {
        0 => drop(stream.remove(at)),
        1 => stream.insert(at, stream[at].clone()),
        2 => {
            let with = usize::from(script.byte()) % stream.len();
            stream.swap(at, with);
        }
        3 => stream[at] = other[at % other.len()].clone(),
        4 => stream[at] = stream[at].slice(..script.below(stream[at].len())),
        5 => edit(&mut stream[at], script),
        6 => {
            edit(&mut stream[at], script);
            seal_chunk(&mut stream[at]);
        }
        _ => {
            // Anywhere but in the frame, whose fields are made to fit anyway.
            edit(&mut stream[at], script);
            return true;
        }
    }
    false
}

/// Changes one place of a chunk: a bit, a number, or its length.
fn edit(chunk: &mut Bytes, script: &mut Script<'_>) {
    let mut bytes = chunk.to_vec();
    // Records begin with short fields, so half of the edits are near the front.
    let bound = if script.byte().is_multiple_of(2) { bytes.len() } else { bytes.len().min(400) };
    let at = script.below(bound);
    match script.byte() % 5 {
        0 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= script.byte().max(1)),
        1 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xFF),
        2 => bytes.insert(at, script.byte()),
        3 if at < bytes.len() => drop(bytes.remove(at)),
        _ => {
            let value = script.number().to_le_bytes();
            bytes[at..].iter_mut().zip(value).for_each(|(byte, value)| *byte = value);
        }
    }
    *chunk = bytes.into();
}

/// Makes a chunk's checksum fit.
fn seal_chunk(chunk: &mut Bytes) {
    let mut bytes = chunk.to_vec();
    if bytes.len() >= FRAME_BYTES {
        let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..10]), &bytes[FRAME_BYTES..]);
        bytes[10..FRAME_BYTES].copy_from_slice(&sum.to_le_bytes());
    }
    *chunk = bytes.into();
}

/// Makes numbers, checksums and totals fit, as a sender with a fault of its own would.
fn seal(stream: &mut [Bytes]) {
    let Some((end, before)) = stream.split_last_mut() else { return };
    let mut sums = Xxh3::new();
    let (mut rows, mut content, mut time) = (0u64, 0u128, LogTime(0));
    for (number, chunk) in (0u32..).zip(before.iter_mut()) {
        frame(chunk, number);
        sums.update(chunk);
        let Some(body) = chunk.get(FRAME_BYTES..) else { continue };
        if number == 0 {
            time = header_time(body).unwrap_or(time);
        }
        for (key, record) in split(body).filter(|_| chunk[1] == ROWS).unwrap_or_default() {
            let Some((address, record)) = decode(key, record) else { continue };
            rows += 1;
            content = content.wrapping_add(content_digest(&address, &record, time));
        }
    }
    let mut bytes = vec![1, 3];
    bytes.resize(FRAME_BYTES, 0);
    bytes.extend_from_slice(&rows.to_le_bytes());
    bytes.extend_from_slice(&content.to_le_bytes());
    bytes.extend_from_slice(&sums.digest128().to_le_bytes());
    *end = bytes.into();
    frame(end, u32::try_from(before.len()).unwrap());
}

fn frame(chunk: &mut Bytes, number: u32) {
    let mut bytes = chunk.to_vec();
    if bytes.len() >= FRAME_BYTES {
        bytes[0] = 1;
        bytes[2..6].copy_from_slice(&ID.shard.to_le_bytes());
        bytes[6..10].copy_from_slice(&number.to_le_bytes());
    }
    if number == 0 && bytes.len() >= FRAME_BYTES + 5 {
        // The header has a checksum of its own.
        super::stored::seal(&mut bytes[FRAME_BYTES..], b"snapshot");
    }
    *chunk = bytes.into();
    seal_chunk(chunk);
}

fn header_time(body: &[u8]) -> Option<LogTime> {
    decode_meta(body, b"snapshot").ok().map(|meta| meta.time)
}

/// A row as the store itself reads it: the plain record behind a head that fits.
fn decode(key: &[u8], record: &[u8]) -> Option<(Address, Record)> {
    let address = Address::from_canonical(key).ok()?;
    let mut value = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    value.extend_from_slice(record);
    super::stored::seal(&mut value, key);
    Some((address, decode_record(key, &value).ok()?))
}

fn split(mut body: &[u8]) -> Option<Vec<Row<'_>>> {
    let mut rows = Vec::new();
    while !body.is_empty() {
        let (key_len, rest) = body.split_first_chunk::<2>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u16::from_le_bytes(*key_len).into())?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        rows.push((key, record));
        body = rest;
    }
    Some(rows)
}
