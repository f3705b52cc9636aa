//! The generator behind every choice of a simulation: the history checker's, the same on every machine.

use hapax_checker::generate::Rng;

/// A stream of numbers that only its seed decides.
#[derive(Clone, Debug)]
pub struct Random(Rng);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// A stream for one purpose, so that drawing more for one does not move another.
    #[must_use]
    pub fn of(seed: u64, purpose: &str) -> Self {
        Self::new(xxhash_rust::xxh3::xxh3_64_with_seed(purpose.as_bytes(), seed))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number below `bound`, which must not be 0. The bias is of no account at these sizes.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// A number of a range, its end excluded.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from).max(1))
    }

    /// An index into something of this length, which must not be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.0.index(len)
    }

    /// True in so many of 1000 cases.
    pub fn permille(&mut self, of_1000: u64) -> bool {
        self.0.per_mille(of_1000)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}
