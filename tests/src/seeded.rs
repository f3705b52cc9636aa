//! Shows that the suites notice mistakes: each seeded bug must make the test fail that is named for
//! it, and without a bug the same tests must pass.
//!
//! The suites are built once with the feature `seeded-bugs` and run with one bug switched on at a
//! time. A test that hangs has not caught anything: it must fail, and by itself.

pub mod catches;
pub mod suite;

use hapax_core::seeded::Bug;
use std::time::Duration;

/// What became of one bug.
#[derive(Debug)]
pub struct Verdict {
    /// The bug; none for the run without any.
    pub bug: Option<Bug>,
    /// The suite and the test that failed first, if any did.
    pub caught: Option<(String, String)>,
    /// From the start of the first test binary to the failure, or to the end of the last.
    pub took: Duration,
}

/// The table of bugs and of what caught each.
#[must_use]
pub fn table(verdicts: &[Verdict]) -> String {
    let mut lines = vec![row(&["bug", "caught by", "test", "after"])];
    for verdict in verdicts {
        let bug = verdict.bug.map_or("(none)", Bug::name);
        let (suite, test) = match (&verdict.caught, verdict.bug) {
            (Some((suite, test)), _) => (suite.as_str(), test.as_str()),
            (None, Some(_)) => ("NOTHING", ""),
            (None, None) => ("nothing, as it must be", ""),
        };
        lines.push(row(&[bug, suite, test, &format!("{:.2} s", verdict.took.as_secs_f64())]));
    }
    lines.join("\n")
}

fn row(cells: &[&str; 4]) -> String {
    format!("{:<28} {:<28} {:<78} {:>9}", cells[0], cells[1], cells[2], cells[3])
}
