//! How fast the writer goes through a batch.
//!
//! A batch of some seconds is tens of milliseconds of work for a core, and all replicas of a shard come to it at about
//! the same time. Done at once it doubles what callers wait; so the writer rests again and again while rows pass.

/// Rows between two rests: a quarter of a millisecond of work, where they are small.
const ROWS: usize = 64;

/// Counts rows, and rests.
pub(crate) struct Pace<'a> {
    rest: Option<&'a dyn Fn()>,
    rows: usize,
}

impl<'a> Pace<'a> {
    /// Never rests: the caller must not be held up.
    pub(crate) const fn steady() -> Self {
        Self { rest: None, rows: 0 }
    }

    /// Calls `rest` once in some rows.
    pub(crate) fn resting(rest: &'a dyn Fn()) -> Self {
        Self { rest: Some(rest), rows: 0 }
    }

    /// So many rows have passed.
    pub(crate) fn rows(&mut self, rows: usize) {
        let Some(rest) = self.rest else { return };
        self.rows += rows;
        if self.rows >= ROWS {
            rest();
            self.rows = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_comes_once_in_some_rows() {
        let rests = std::cell::Cell::new(0);
        let rest = || rests.set(rests.get() + 1);
        let mut pace = Pace::resting(&rest);
        (0..ROWS * 10).for_each(|_| pace.rows(1));
        assert_eq!(rests.get(), 10);
        pace.rows(ROWS * 3);
        assert_eq!(rests.get(), 11, "a part that passes at once is followed by one rest");
        (0..ROWS * 10).for_each(|_| Pace::steady().rows(1));
    }
}
