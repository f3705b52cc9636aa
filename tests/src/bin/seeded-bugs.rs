//! Switches on each seeded bug and shows which suite catches it.
//!
//! `seeded-bugs` runs, for each bug, the test that is known to catch it, and all of these tests
//! without a bug; it fails when a bug is not caught or a test fails without one. `seeded-bugs search
//! [bug]` runs all suites until one catches the bug, at most ten minutes a bug, and prints what it
//! found.

use anyhow::{Context, bail, ensure};
use hapax_core::seeded::Bug;
use hapax_tests::note;
use hapax_tests::seeded::catches::{Catch, catches};
use hapax_tests::seeded::suite::{Ended, Suite, build};
use hapax_tests::seeded::{Verdict, table};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long one test has to notice.
const TEST: Duration = Duration::from_secs(60);
/// How long all suites together have.
const SEARCH: Duration = Duration::from_secs(600);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => known(),
        ["search"] => search(Bug::ALL),
        ["search", bug] => search(&[Bug::parse(bug).context("there is no such bug")?]),
        _ => bail!("seeded-bugs [search [bug]]"),
    }
}

fn find<'a>(suites: &'a [Suite], name: &str) -> anyhow::Result<&'a Suite> {
    suites.iter().find(|suite| suite.name == name).with_context(|| format!("there is no suite {name}"))
}

/// Each bug against the test that is known to catch it; then the same tests without a bug.
fn known() -> anyhow::Result<()> {
    let catches = catches();
    let targets: BTreeSet<&str> =
        catches.iter().filter_map(|catch| catch.suite.split_once('/')).map(|(_, target)| target).collect();
    let suites = build(Some(&targets.into_iter().collect::<Vec<_>>()))?;
    let mut verdicts = Vec::new();
    for Catch { bug, suite, test } in &catches {
        let begun = Instant::now();
        let ended = find(&suites, suite)?.run(Some(test), Some(*bug), TEST)?;
        ensure!(ended != Ended::Passed(0), "there is no test {test} in {suite}");
        let caught = matches!(&ended, Ended::Failed(_)).then(|| ((*suite).to_owned(), (*test).to_owned()));
        verdicts.push(Verdict { bug: Some(*bug), caught, took: begun.elapsed() });
    }
    let begun = Instant::now();
    let mut without = None;
    let tests: BTreeSet<(&str, &str)> = catches.iter().map(|catch| (catch.suite, catch.test)).collect();
    for (suite, test) in &tests {
        let ended = find(&suites, suite)?.run(Some(test), None, TEST)?;
        if ended != Ended::Passed(1) {
            without.get_or_insert(((*suite).to_owned(), (*test).to_owned()));
        }
    }
    verdicts.push(Verdict { bug: None, caught: without, took: begun.elapsed() });
    note!("{}", table(&verdicts));
    let wrong = verdicts.iter().filter(|it| it.bug.is_some() != it.caught.is_some());
    let wrong: Vec<&str> = wrong.map(|it| it.bug.map_or("(none)", Bug::name)).collect();
    ensure!(wrong.is_empty(), "not as it must be: {}", wrong.join(", "));
    note!("{} seeded bugs, each caught", catches.len());
    Ok(())
}

/// All suites, until one fails.
fn search(bugs: &[Bug]) -> anyhow::Result<()> {
    let mut suites = build(None)?;
    // The suite over real sockets takes longer than all others together.
    suites.sort_by_key(|suite| (suite.name.ends_with("/cluster"), suite.name.clone()));
    for bug in bugs {
        let begun = Instant::now();
        let mut caught = None;
        for suite in &suites {
            let left = SEARCH.saturating_sub(begun.elapsed());
            match suite.run(None, Some(*bug), left)? {
                Ended::Failed(test) => caught = Some((suite.name.clone(), test)),
                Ended::Passed(_) | Ended::Hung => continue,
            }
            break;
        }
        let verdict = Verdict { bug: Some(*bug), caught, took: begun.elapsed() };
        note!("{}", table(&[verdict]));
    }
    Ok(())
}
