//! Entries are applied: their changes are collected and become visible together.

use super::keys::{Row, completed};
use super::store::{Stored, config};
use anyhow::{Result, ensure};
use hapax_store::records::EngineKind;
use std::time::{Duration, Instant};

/// Records that are changed in turn.
const ROWS: usize = 65_536;
/// Records that are applied before the writer takes them, untimed, as it does every half second in a node.
const SPAN_ROWS: usize = 4_096;

/// A store to which entries are applied.
pub struct Applies {
    stored: Stored,
    rows: Vec<Row>,
    changed: usize,
    next: usize,
}

impl Applies {
    /// For entries that change so many records.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(changed: usize) -> Result<Self> {
        let stored = Stored::open(config(EngineKind::Fjall, false))?;
        Ok(Self { stored, rows: completed(ROWS as u64), changed, next: 0 })
    }

    /// Applies so many entries and says how long that took.
    ///
    /// # Errors
    /// What the store says, or that an entry is not visible.
    pub fn run(&mut self, entries: u64) -> Result<Duration> {
        let span = (SPAN_ROWS / self.changed) as u64;
        let mut took = Duration::ZERO;
        let mut left = entries;
        while left > 0 {
            took += self.span(left.min(span))?;
            left -= left.min(span);
        }
        Ok(took)
    }

    fn span(&mut self, entries: u64) -> Result<Duration> {
        let entries: Vec<Vec<Row>> = (0..entries).map(|_| self.entry()).collect();
        let all: Vec<Row> = entries.iter().flatten().cloned().collect();
        let first = self.stored.index() + 1;
        let begun = Instant::now();
        for (index, rows) in (first..).zip(entries) {
            self.stored.apply(index, rows)?;
        }
        let took = begun.elapsed();
        ensure!(self.stored.shard().stats().pending_bytes > 0, "nothing waits for the writer");
        self.stored.check(&all)?;
        self.stored.write()?;
        Ok(took)
    }

    fn entry(&mut self) -> Vec<Row> {
        let rows = self.rows[self.next..self.next + self.changed].to_vec();
        self.next = (self.next + self.changed) % (ROWS - ROWS % self.changed);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_every_size_are_applied() {
        for changed in [1, 64, 512] {
            let mut applies = Applies::open(changed).unwrap();
            applies.run(20).unwrap();
            assert_eq!(applies.stored.index(), 20);
            applies.stored.check(&applies.rows[..20 * changed]).unwrap();
        }
    }
}
