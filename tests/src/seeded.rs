//! Shows that the suites notice mistakes: each seeded bug must make the test fail that is named for
//! it, and without a bug the same tests must pass.
//!
//! The suites are built once with the feature `seeded-bugs` and run with one bug switched on at a
//! time. A test that hangs has not caught anything: it must fail, and by itself.

pub mod catches;
pub mod load;
pub mod suite;

use hapax_core::seeded::Bug;
use std::time::Duration;
use suite::Ended;

/// What became of one bug.
#[derive(Debug)]
pub struct Verdict {
    /// The bug; none for the run without any.
    pub bug: Option<Bug>,
    /// The suite and the test that were run, or that failed first.
    pub test: Option<(String, String)>,
    /// How that ended.
    pub ended: Ended,
    /// From the start of the first test binary to the failure, or to the end of the last.
    pub took: Duration,
}

impl Verdict {
    /// Whether it ended as it must: a bug is caught by a test that fails, and none fails without one.
    #[must_use]
    pub fn is_right(&self) -> bool {
        match self.ended {
            Ended::Failed(_) => self.bug.is_some(),
            Ended::Passed(_) => self.bug.is_none(),
            Ended::Hung | Ended::Died(_) => false,
        }
    }
}

/// The table of bugs and of what became of each.
#[must_use]
pub fn table(verdicts: &[Verdict]) -> String {
    let mut lines = vec![row(&["bug", "verdict", "suite", "test", "after"])];
    for verdict in verdicts {
        let bug = verdict.bug.map_or("(none)", Bug::name);
        let word = match (&verdict.ended, verdict.bug.is_some()) {
            (Ended::Failed(_), true) => "caught",
            (Ended::Failed(_), false) => "FAILS",
            (Ended::Passed(_), true) => "NOT CAUGHT",
            (Ended::Passed(_), false) => "passes",
            (Ended::Hung, _) => "HUNG",
            (Ended::Died(_), _) => "DIED",
        };
        let (suite, test) = verdict.test.as_ref().map_or(("", ""), |(suite, test)| (suite, test));
        lines.push(row(&[bug, word, suite, test, &format!("{:.2} s", verdict.took.as_secs_f64())]));
    }
    lines.join("\n")
}

fn row(cells: &[&str; 5]) -> String {
    let [bug, word, suite, test, after] = cells;
    format!("{bug:<28} {word:<10} {suite:<28} {test:<78} {after:>9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_test_that_fails_by_itself_catches_a_bug() {
        let verdict =
            |bug: Option<Bug>, ended: Ended| Verdict { bug, test: None, ended, took: Duration::ZERO };
        let bug = Some(Bug::NonceIgnored);
        assert!(verdict(bug, Ended::Failed("it".into())).is_right());
        assert!(verdict(None, Ended::Passed(1)).is_right());
        for ended in [Ended::Passed(1), Ended::Hung, Ended::Died("signal: 6".into())] {
            assert!(!verdict(bug, ended).is_right());
        }
        for ended in [Ended::Failed("it".into()), Ended::Hung, Ended::Died("signal: 6".into())] {
            assert!(!verdict(None, ended).is_right());
        }
    }
}
