//! Whatever decodes as a batch can be applied: a command on which apply fails would stop every replica of its shard,
//! and again after each restart.
//!
//! Input: batches, each with its length in two bytes before it. All replicas must come to the same, replies must
//! be as many as commands, log time and the tokens of an address only rise, and what is kept can be stored.

use crate::seen::Seen;
use hapax_core::{
    Address, Batch, ReadAt, Record, Records, Reply, ShardState, Token, apply_batch, read_get, read_verb,
};
use hapax_store::codec::batch::{decode_batch, encode_batch};
use hapax_store::codec::record::{decode_record, encode_record};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

/// The most batches of one input.
const BATCHES_MAX: usize = 16;

#[derive(Clone, Default)]
struct Replica {
    records: BTreeMap<Address, Arc<Record>>,
}

impl Records for Replica {
    type Error = Infallible;

    fn get(&mut self, address: &Address) -> Result<Option<Arc<Record>>, Infallible> {
        Ok(self.records.get(address).cloned())
    }

    fn put(&mut self, address: &Address, record: Option<Arc<Record>>) -> Result<(), Infallible> {
        match record {
            Some(record) => self.records.insert(address.clone(), record),
            None => self.records.remove(address),
        };
        Ok(())
    }
}

/// A history through every state, and each of its commands by itself.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let whole = super::samples::history(12, 20);
    let alone =
        |batch: &Batch, at: usize| Batch { time: batch.time, commands: vec![batch.commands[at].clone()] };
    let short = (0..6).map(|at| {
        let last = whole[1..].iter().filter(|batch| !batch.commands.is_empty());
        let last = last.map(|batch| alone(batch, at % batch.commands.len()));
        [alone(&whole[0], at)].into_iter().chain(last).collect::<Vec<_>>()
    });
    let input = |batches: &[Batch]| {
        let piece = |batch: &Batch| {
            let bytes = encode_batch(batch);
            [&u16::try_from(bytes.len()).unwrap().to_le_bytes()[..], &bytes].concat()
        };
        batches.iter().flat_map(piece).collect::<Vec<u8>>()
    };
    let short: Vec<_> = short.collect();
    short.iter().chain([&whole]).map(|batches| input(batches)).collect()
}

/// Runs the target.
pub(super) fn batch_apply(input: &[u8], seen: &mut Seen) -> usize {
    let (mut replica, mut state) = (Replica::default(), ShardState::new(3, 1));
    let mut tokens = BTreeMap::new();
    let mut applied = 0;
    for bytes in pieces(input) {
        match decode_batch(bytes) {
            Ok(batch) => applied += usize::from(apply(&mut replica, &mut state, &batch, &mut tokens, seen)),
            Err(error) => seen.text(&error),
        }
    }
    check_kept(&replica, state, seen);
    applied
}

/// Makes the lengths fit: the last piece takes what is left.
pub(super) fn repair(input: &mut [u8]) {
    let mut at = 0;
    while at + 2 <= input.len() {
        let left = u16::try_from(input.len() - at - 2).unwrap_or(u16::MAX);
        let length = u16::from_le_bytes([input[at], input[at + 1]]).min(left);
        input[at..at + 2].copy_from_slice(&length.to_le_bytes());
        if let Some(version) = input.get_mut(at + 2).filter(|_| length > 0) {
            *version = 1;
        }
        at += 2 + usize::from(length);
    }
}

fn pieces(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (piece, next) = behind.split_at(usize::from(u16::from_le_bytes(*length)).min(behind.len()));
        pieces.push(piece);
        rest = next;
        if pieces.len() == BATCHES_MAX {
            break;
        }
    }
    pieces
}

/// Applies a batch to two replicas; says whether its format is known.
fn apply(
    replica: &mut Replica,
    state: &mut ShardState,
    batch: &Batch,
    tokens: &mut BTreeMap<Address, Token>,
    seen: &mut Seen,
) -> bool {
    let (mut other, mut other_state) = (replica.clone(), *state);
    let (before, index) = (*state, state.index + 1);
    let Ok(replies) = apply_batch(state, batch, index, replica) else {
        seen.note("an unknown format");
        assert_eq!(*state, before, "a batch that was not applied moved the state");
        // What apply left half done is not served.
        *replica = other;
        return false;
    };
    assert_eq!(replies.len(), batch.commands.len());
    assert!(state.time >= before.time && state.index == index);
    assert_eq!(apply_batch(&mut other_state, batch, index, &mut other).as_ref(), Ok(&replies));
    assert_eq!((other_state, &other.records), (*state, &replica.records), "two replicas differ");
    for (command, reply) in batch.commands.iter().zip(&replies) {
        seen.note((command.verb.name(), reply.name()));
        seen.shape(reply);
        if let Reply::Granted(granted) = reply
            && !granted.token.is_none()
            && !granted.recovered
        {
            let last = tokens.insert(command.address.clone(), granted.token);
            assert!(last.is_none_or(|last| last < granted.token), "a token did not rise");
        }
        let at = ReadAt { applied: state.time, stamp: state.time };
        let found = replica.records.get(&command.address);
        if read_verb(found.map(|record| &**record), command, at).is_some() {
            seen.note(("read", command.verb.name()));
        }
    }
    true
}

/// What is kept can be stored and read back, and be asked for.
fn check_kept(replica: &Replica, state: ShardState, seen: &mut Seen) {
    let at = ReadAt { applied: state.time, stamp: state.time };
    for (address, record) in &replica.records {
        let stored = encode_record(address, record);
        assert_eq!(decode_record(address.canonical(), &stored).as_ref(), Ok(&**record));
        seen.note(("kept", record.kind_at(state.time).name()));
        assert!(read_get(Some(record), None, true, at).is_some(), "a record that cannot be read at one time");
    }
}
