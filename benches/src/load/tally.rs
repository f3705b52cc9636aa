//! What one worker, or all of them, have seen.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longer is counted as this long, µs.
const LONGEST_US: u64 = 600_000_000;
/// Wrong answers of which the text is kept.
const WRONG_KEPT: usize = 10;

/// The kinds of operations, as figures name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A claim of a new key.
    Claim,
    /// A complete.
    Complete,
    /// A claim of a completed key.
    Replay,
    /// One of two claims of a new key at once.
    Duplicate,
}

impl Kind {
    /// All, in their order.
    pub const ALL: [Self; 4] = [Self::Claim, Self::Complete, Self::Replay, Self::Duplicate];

    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Complete => "complete",
            Self::Replay => "replay",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Counts and times. Only what began inside the measured span is in the histograms and counts.
#[derive(Debug, Default)]
pub struct Tally {
    times: BTreeMap<Kind, Histogram<u64>>,
    errors: BTreeMap<String, u64>,
    /// The first text of each error.
    error_texts: BTreeMap<String, String>,
    wrong: u64,
    wrong_texts: Vec<String>,
}

impl Tally {
    /// An operation that was answered as it must be.
    ///
    /// # Panics
    /// Never: the bounds of the histogram are valid.
    pub fn answered(&mut self, kind: Kind, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST_US);
        let empty = || Histogram::new_with_bounds(1, LONGEST_US, 3).expect("valid bounds");
        self.times.entry(kind).or_insert_with(empty).saturating_record(us);
    }

    /// One that failed.
    pub fn failed(&mut self, code: &str, text: &str) {
        *self.errors.entry(code.to_owned()).or_default() += 1;
        self.error_texts.entry(code.to_owned()).or_insert_with(|| text.to_owned());
    }

    /// One whose answer breaks the rules. Counted whenever it came.
    pub fn wrong(&mut self, text: String) {
        self.wrong += 1;
        if self.wrong_texts.len() < WRONG_KEPT {
            self.wrong_texts.push(text);
        }
    }

    /// Takes in what another has seen.
    pub fn merge(&mut self, other: Self) {
        for (kind, times) in other.times {
            match self.times.entry(kind) {
                std::collections::btree_map::Entry::Occupied(mut own) => {
                    // Both have the same bounds.
                    let _always_fits = own.get_mut().add(&times);
                }
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(times)),
            }
        }
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        for (code, text) in other.error_texts {
            self.error_texts.entry(code).or_insert(text);
        }
        self.wrong += other.wrong;
        let room = WRONG_KEPT.saturating_sub(self.wrong_texts.len());
        self.wrong_texts.extend(other.wrong_texts.into_iter().take(room));
    }

    /// The times of a kind.
    #[must_use]
    pub fn times(&self, kind: Kind) -> Option<&Histogram<u64>> {
        self.times.get(&kind)
    }

    /// The times of all kinds together.
    #[must_use]
    pub fn all_times(&self) -> Option<Histogram<u64>> {
        let mut each = self.times.values();
        let mut all = each.next()?.clone();
        for times in each {
            let _always_fits = all.add(times);
        }
        Some(all)
    }

    /// Operations answered.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.times.values().map(Histogram::len).sum()
    }

    /// Errors by their code.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// An example of an error.
    #[must_use]
    pub fn error_text(&self, code: &str) -> &str {
        self.error_texts.get(code).map_or("", String::as_str)
    }

    /// How many answers broke the rules, and the first few.
    #[must_use]
    pub fn wrongs(&self) -> (u64, &[String]) {
        (self.wrong, &self.wrong_texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut all = Tally::default();
        for worker in 0..3u64 {
            let mut own = Tally::default();
            own.answered(Kind::Claim, Duration::from_micros(100 * (worker + 1)));
            own.answered(Kind::Complete, Duration::from_secs(10_000));
            own.failed("overloaded", "too many");
            for n in 0..6 {
                own.wrong(format!("{worker}.{n}"));
            }
            all.merge(own);
        }
        assert_eq!(
            (all.operations(), all.errors()["overloaded"], all.error_text("overloaded")),
            (6, 3, "too many")
        );
        assert_eq!((all.wrongs().0, all.wrongs().1.len()), (18, WRONG_KEPT));
        let times = all.times(Kind::Claim).unwrap();
        assert_eq!((times.min(), times.len()), (100, 3));
        assert!(all.all_times().unwrap().max() >= LONGEST_US);
    }
}
