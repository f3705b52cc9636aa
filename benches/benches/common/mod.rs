//! How work that tells its own time is put to criterion.

use anyhow::Result;
use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use std::time::Duration;

/// Measures the work that `open` makes, of which `run` does so many rounds. Gives it back, to be looked at; none where
/// the command line left it out.
pub(crate) fn measure<W>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    open: impl Fn() -> Result<W>,
    run: impl Fn(&mut W, u64) -> Result<Duration>,
) -> Option<W> {
    let mut work = None;
    group.bench_function(name, |bencher| {
        let work = work.get_or_insert_with(|| open().expect("there is work"));
        bencher.iter_custom(|rounds| run(work, rounds).expect("every answer is right"));
    });
    work
}
