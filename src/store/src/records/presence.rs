//! Which addresses the engine surely does not hold.
//!
//! Most claims are of fresh keys, and each replica would search the engine only to learn that there is nothing. This
//! filter knows: it has a hash of every address that the engine may hold, in a few bits each.
//!
//! Contract:
//! - Once it is [complete](Presence::is_complete), an address for which [`Presence::is_absent`] says yes has no row in
//!   the engine, and had none since. It errs the other way for about one address in a hundred, and for more when it is
//!   full.
//! - What is applied is [added](Presence::add) before the engine can have it. What the engine held before the shard was
//!   opened is read in the background, and until all of that was read nothing is called absent.
//! - Nothing is ever taken out. When the filter is full and most of what it has is gone, it begins anew
//!   ([`Presence::renew`]), with what is pending.
//! - It takes about 1.5 bytes an address, and never more than its bound.

use crate::address_map::FilterHash;
use bytes::Bytes;
use hapax_core::seeded::{self, Bug};
use std::hash::BuildHasher;

/// The bits of a block lie in one line of the processor's cache.
const BLOCK_BITS: usize = 512;
const WORDS: usize = BLOCK_BITS / 64;
/// Bits set for an address, all in one block: nine bits of the hash choose each.
const PROBES: u32 = 6;
const PROBE_BITS: u32 = 9;
/// Addresses a block is meant for: at 12 bits each, one look in a hundred is in vain.
const BLOCK_KEYS: usize = 42;
/// The blocks of the first layer (64 KiB), and how much larger each next one is.
const FIRST_BLOCKS: usize = 1024;
const GROWTH: usize = 4;

type Block = [u64; WORDS];

/// The filter.
pub(crate) struct Presence {
    hash: FilterHash,
    /// The last one is filled; together never more than `blocks_max`.
    layers: Vec<Layer>,
    blocks_max: usize,
    reading: Reading,
    /// Counts the times that it began anew.
    era: u64,
}

/// How far the engine's rows of before were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// From behind this key on they are still to be read; from the first where there is none.
    From(Option<Bytes>),
    /// All were.
    Done,
    /// They cannot be read. Whoever reads the damaged row by its address says so.
    GivenUp,
}

struct Layer {
    blocks: Vec<Block>,
    keys: usize,
}

impl Layer {
    fn new(blocks: usize) -> Self {
        Self { blocks: vec![[0; WORDS]; blocks], keys: 0 }
    }

    fn is_full(&self) -> bool {
        self.keys >= self.blocks.len() * BLOCK_KEYS
    }

    /// The block of a hash: its upper half, scaled to the number of blocks.
    fn place(&self, hash: u64) -> usize {
        let scaled = (u128::from(hash) * self.blocks.len() as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }

    fn holds(&self, hash: u64) -> bool {
        let mask = mask(hash);
        self.blocks.get(self.place(hash)).is_some_and(|block| block.iter().zip(mask).all(|(b, m)| b & m == m))
    }

    fn set(&mut self, hash: u64) {
        let place = self.place(hash);
        if let Some(block) = self.blocks.get_mut(place) {
            block.iter_mut().zip(mask(hash)).for_each(|(word, mask)| *word |= mask);
            self.keys += 1;
        }
    }
}

/// The bits of a hash within its block. The product's bits do not follow from the upper ones, which chose the block.
fn mask(hash: u64) -> Block {
    let mut bits =
        hash.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let mut mask = [0; WORDS];
    for _ in 0..PROBES {
        let bit = usize::try_from(bits & (BLOCK_BITS as u64 - 1)).unwrap_or(0);
        mask[bit / 64] |= 1 << (bit % 64);
        bits >>= PROBE_BITS;
    }
    mask
}

impl Presence {
    /// An empty filter over an engine of which nothing is known yet.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let blocks_max = (bytes_max / size_of::<Block>()).max(1);
        Self {
            hash: FilterHash::default(),
            layers: vec![Layer::new(FIRST_BLOCKS.min(blocks_max))],
            blocks_max,
            reading: Reading::From(None),
            era: 0,
        }
    }

    /// Whether all is known that the engine may hold.
    pub(crate) fn is_complete(&self) -> bool {
        self.reading == Reading::Done || seeded::active(Bug::FilterUnread)
    }

    /// How far the engine's rows of before were read.
    pub(crate) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Counts the times that it began anew: what was read for an earlier one says nothing for this one.
    pub(crate) fn era(&self) -> u64 {
        self.era
    }

    /// The engine's rows were read up to here.
    pub(crate) fn read(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// Whether the engine surely has no row for this canonical address.
    pub(crate) fn is_absent(&self, canonical: &[u8]) -> bool {
        self.is_complete() && !self.holds(self.hash.hash_one(canonical))
    }

    /// The newest layer is the largest, and holds most.
    fn holds(&self, hash: u64) -> bool {
        self.layers.iter().rev().any(|layer| layer.holds(hash))
    }

    /// The engine has, or may come to have, a row for this canonical address.
    pub(crate) fn add(&mut self, canonical: &[u8]) {
        let hash = self.hash.hash_one(canonical);
        if self.holds(hash) {
            return;
        }
        let used = self.blocks();
        if let Some(last) = self.layers.last()
            && last.is_full()
            && used < self.blocks_max
        {
            self.layers.push(Layer::new((last.blocks.len() * GROWTH).min(self.blocks_max - used)));
        }
        if let Some(last) = self.layers.last_mut() {
            last.set(hash);
        }
    }

    /// Whether it is full, though most of what it has is no longer there: `live` records are.
    pub(crate) fn is_stale(&self, live: u64) -> bool {
        let is_full = self.blocks() >= self.blocks_max && self.layers.last().is_some_and(Layer::is_full);
        is_full && live.saturating_mul(2) < self.layers.iter().map(|layer| layer.keys as u64).sum()
    }

    /// Begins anew: the engine is read again from its first row. `pending` is what it does not have yet.
    pub(crate) fn renew<'a>(&mut self, pending: impl Iterator<Item = &'a [u8]>) {
        *self = Self { era: self.era + 1, ..Self::new(self.blocks_max * size_of::<Block>()) };
        pending.for_each(|canonical| self.add(canonical));
    }

    fn blocks(&self) -> usize {
        self.layers.iter().map(|layer| layer.blocks.len()).sum()
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks() * size_of::<Block>()
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence")
            .field("bytes", &self.bytes())
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> [u8; 24] {
        let mut key = *b"a-tenant's order________";
        key[16..].copy_from_slice(&number.to_be_bytes());
        key
    }

    fn complete(bytes_max: usize) -> Presence {
        let mut presence = Presence::new(bytes_max);
        presence.read(Reading::Done);
        presence
    }

    #[test]
    fn nothing_is_absent_before_the_engine_was_read() {
        let mut presence = Presence::new(1 << 20);
        assert!(!presence.is_absent(&key(1)));
        presence.read(Reading::From(Some(Bytes::from_static(b"x"))));
        assert!(!presence.is_absent(&key(1)));
        presence.read(Reading::GivenUp);
        assert!(!presence.is_absent(&key(1)));
        presence.read(Reading::Done);
        assert!(presence.is_absent(&key(1)));
    }

    /// Over all its layers, and long after it was full.
    #[test]
    fn what_was_added_is_never_absent() {
        for bytes_max in [1, 64, 64 << 10, 400 << 10, 4 << 20] {
            let mut presence = complete(bytes_max);
            for number in 0..200_000 {
                presence.add(&key(number));
            }
            assert!(presence.bytes() <= bytes_max.max(64), "{} bytes of {bytes_max}", presence.bytes());
            assert!((0..200_000).all(|number| !presence.is_absent(&key(number))), "{bytes_max}");
        }
    }

    #[test]
    fn a_look_in_a_hundred_is_in_vain_and_an_address_takes_little() {
        let mut presence = complete(16 << 20);
        let keys = 300_000;
        (0..keys).for_each(|number| presence.add(&key(number)));
        let vain = (keys..2 * keys).filter(|number| !presence.is_absent(&key(*number))).count();
        assert!(vain < 9_000, "{vain} of {keys} looks in vain");
        let first = FIRST_BLOCKS * size_of::<Block>();
        assert_eq!(presence.bytes(), first + 4 * first + 16 * first, "three layers");
    }

    #[test]
    fn a_full_filter_of_what_is_gone_begins_anew_with_what_is_pending() {
        let mut presence = complete(64 << 10);
        (0..100_000).for_each(|number| presence.add(&key(number)));
        assert!(!presence.is_stale(90_000));
        assert!(presence.is_stale(1_000));
        presence.renew([key(7)].iter().map(|key| key.as_slice()));
        assert_eq!(presence.reading(), &Reading::From(None));
        presence.read(Reading::Done);
        assert!(!presence.is_absent(&key(7)));
        assert!(presence.is_absent(&key(8)));
    }
}
