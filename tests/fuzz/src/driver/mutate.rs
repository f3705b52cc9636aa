//! Changes an input.

use super::random::Random;
use crate::targets::Target;

/// Numbers at which code changes its mind.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    1 << 32,
    i64::MAX.unsigned_abs(),
    u64::MAX - 1,
    u64::MAX,
];

/// A changed copy of an input. `other` is another input of the same target, to take pieces from.
#[must_use]
pub fn mutate(target: &Target, input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut changed = input.to_vec();
    for _ in 0..1 << random.below(4) {
        once(target, &mut changed, other, random);
    }
    changed.truncate(target.input_bytes_max);
    // Most inputs shall get past the checksums, some shall meet them.
    if random.below(4) != 0 {
        (target.repair)(&mut changed);
    }
    changed
}

fn once(target: &Target, input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(12) {
        0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[at] = random.byte(),
        2 if !input.is_empty() => input[at] = input[at].wrapping_add(random.byte() % 32).wrapping_sub(16),
        3 => overwrite(input, at, &edge(random)),
        4 => insert(input, at, &edge(random)),
        5 => {
            let bytes: Vec<u8> = (0..=random.below(16)).map(|_| random.byte()).collect();
            insert(input, at, &bytes);
        }
        6 => drop(input.drain(at..(at + 1 + random.below(16)).min(input.len()))),
        7 => input.truncate(at),
        8 => {
            let piece = piece(input, random).to_vec();
            insert(input, at, &piece);
        }
        9 => insert(input, at, piece(other, random)),
        10 => overwrite(input, at, piece(other, random)),
        _ => word(target, input, at, random),
    }
}

fn word(target: &Target, input: &mut Vec<u8>, at: usize, random: &mut Random) {
    match target.words {
        [] => input.push(random.byte()),
        words => insert(input, at, words[random.below(words.len())].as_bytes()),
    }
}

/// An edge, in one, two, four or eight bytes of either order, or as the decoders' variable-length number.
fn edge(random: &mut Random) -> Vec<u8> {
    let number = EDGES[random.below(EDGES.len())].wrapping_add([0, 1, u64::MAX][random.below(3)]);
    let little = number.to_le_bytes();
    match random.below(6) {
        width @ 0..4 => little[..1 << width].to_vec(),
        4 => number.to_be_bytes().to_vec(),
        _ => [&[253][..], &little].concat(),
    }
}

fn piece<'a>(of: &'a [u8], random: &mut Random) -> &'a [u8] {
    let start = random.below(of.len());
    let longest = if random.below(4) == 0 { 512 } else { 24 };
    let len = 1 + random.below(longest);
    of.get(start..(start + len).min(of.len())).unwrap_or_default()
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

fn overwrite(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = (at + bytes.len()).min(input.len());
    input.splice(at..end, bytes.iter().copied());
}
