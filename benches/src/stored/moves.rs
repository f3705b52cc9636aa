//! The background writer moves one batch after another into the engine.

use super::keys::{Row, completed};
use super::store::{Stored, config};
use anyhow::{Context as _, Result, ensure};
use hapax_store::records::EngineKind;
use std::time::{Duration, Instant};

/// Records in a batch.
pub const BATCH_ROWS: usize = 4_096;
/// Batches of different records: the next one writes those of the first again.
const BATCHES: usize = 16;

/// A store into which batches are moved.
pub struct Moves {
    stored: Stored,
    rows: Vec<Row>,
    next: usize,
}

impl Moves {
    /// Into an engine, with a sync behind each batch or without any.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(kind: EngineKind, synced: bool) -> Result<Self> {
        let stored = Stored::open(config(kind, synced))?;
        Ok(Self { stored, rows: completed((BATCHES * BATCH_ROWS) as u64), next: 0 })
    }

    /// Moves so many batches and says how long that took.
    ///
    /// # Errors
    /// What the store says, or that a batch was not moved.
    pub fn run(&mut self, batches: u64) -> Result<Duration> {
        let mut took = Duration::ZERO;
        for _ in 0..batches {
            let rows = self.rows[self.next * BATCH_ROWS..][..BATCH_ROWS].to_vec();
            self.stored.apply(self.stored.index() + 1, rows)?;
            let begun = Instant::now();
            self.stored.write()?;
            took += begun.elapsed();
            self.next = (self.next + 1) % BATCHES;
        }
        Ok(took)
    }

    /// Opens the store again and looks whether the engine has all that was moved.
    ///
    /// # Errors
    /// It has not.
    pub fn finish(self) -> Result<()> {
        let Self { stored, rows, .. } = self;
        let index = stored.index();
        let moved = usize::try_from(index).map_or(BATCHES, |batches| batches.min(BATCHES));
        let stored = stored.reopened().context("opened again")?;
        ensure!(stored.index() == index, "entry {} is the last instead of {index}", stored.index());
        stored.check(&rows[..moved * BATCH_ROWS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_is_found_by_who_opens_the_store_again() {
        for (kind, synced) in
            [(EngineKind::Fjall, true), (EngineKind::Fjall, false), (EngineKind::Sled, true)]
        {
            let mut moves = Moves::open(kind, synced).unwrap();
            moves.run(2).unwrap();
            moves.finish().unwrap();
        }
    }

    #[test]
    fn a_batch_that_was_not_moved_is_missed() {
        let mut moves = Moves::open(EngineKind::Fjall, true).unwrap();
        moves.run(1).unwrap();
        let lost = moves.rows[BATCH_ROWS..2 * BATCH_ROWS].to_vec();
        moves.stored.apply(2, lost).unwrap();
        assert!(moves.finish().is_err());
    }
}
