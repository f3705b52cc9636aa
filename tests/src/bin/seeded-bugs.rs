//! Switches on each seeded bug and shows which suite catches it.
//!
//! `seeded-bugs` runs, for each bug, the test that is known to catch it, and all of these tests
//! without a bug; it fails when a bug is not caught or a test fails without one. `seeded-bugs search
//! [bug]` runs all suites until one catches the bug, at most ten minutes a bug, and prints what it
//! found. `seeded-bugs load [bug]` runs the recorded load over three nodes with the bug and prints which
//! tiers of the checker reject its history; without a bug none may.

use anyhow::{Context, bail, ensure};
use hapax_core::seeded::Bug;
use hapax_tests::note;
use hapax_tests::seeded::catches::{Catch, catches};
use hapax_tests::seeded::suite::{Ended, Suite, build, build_node};
use hapax_tests::seeded::{Verdict, load, table};
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
        ["load"] => load(Bug::ALL),
        ["load", bugs @ ..] => {
            let bugs: Option<Vec<Bug>> = bugs.iter().map(|bug| Bug::parse(bug)).collect();
            load(&bugs.context("there is no such bug")?)
        }
        _ => bail!("seeded-bugs [search [bug] | load [bug...]]"),
    }
}

fn find<'a>(suites: &'a [Suite], name: &str) -> anyhow::Result<&'a Suite> {
    suites.iter().find(|suite| suite.name == name).with_context(|| format!("there is no suite {name}"))
}

/// One test; once more where it only hangs, since a busy machine may be the cause.
fn run(suites: &[Suite], suite: &str, test: &str, bug: Option<Bug>) -> anyhow::Result<Verdict> {
    let begun = Instant::now();
    let mut ended = find(suites, suite)?.run(Some(test), bug, TEST)?;
    if ended == Ended::Hung {
        note!("{suite} {test} did not end within {} s and is run again", TEST.as_secs());
        ended = find(suites, suite)?.run(Some(test), bug, TEST)?;
    }
    ensure!(ended != Ended::Passed(0), "there is no test {test} in {suite}");
    Ok(Verdict { bug, test: Some((suite.to_owned(), test.to_owned())), ended, took: begun.elapsed() })
}

/// Each bug against the test that is known to catch it; then the same tests without a bug.
fn known() -> anyhow::Result<()> {
    let catches = catches();
    let targets: BTreeSet<&str> =
        catches.iter().filter_map(|catch| catch.suite.split_once('/')).map(|(_, target)| target).collect();
    let suites = build(Some(&targets.into_iter().collect::<Vec<_>>()))?;
    let mut verdicts = Vec::new();
    for Catch { bug, suite, test } in &catches {
        verdicts.push(run(&suites, suite, test, Some(*bug))?);
    }
    let tests: BTreeSet<(&str, &str)> = catches.iter().map(|catch| (catch.suite, catch.test)).collect();
    for (suite, test) in &tests {
        verdicts.push(run(&suites, suite, test, None)?);
    }
    note!("{}", table(&verdicts));
    let wrong: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| !verdict.is_right())
        .map(|verdict| verdict.bug.map_or("(none)", Bug::name))
        .collect();
    ensure!(wrong.is_empty(), "not as it must be: {}", wrong.join(", "));
    note!("{} seeded bugs, each caught; {} tests pass without one", catches.len(), tests.len());
    Ok(())
}

/// All suites, until one fails.
fn search(bugs: &[Bug]) -> anyhow::Result<()> {
    let mut suites = build(None)?;
    // The suite over real sockets takes longer than all others together.
    suites.sort_by_key(|suite| (suite.name.ends_with("/cluster"), suite.name.clone()));
    for bug in bugs {
        let begun = Instant::now();
        let mut verdict =
            Verdict { bug: Some(*bug), test: None, ended: Ended::Passed(0), took: Duration::ZERO };
        for suite in &suites {
            let left = SEARCH.saturating_sub(begun.elapsed());
            let ended = suite.run(None, Some(*bug), left)?;
            if let Ended::Failed(test) = &ended {
                verdict.test = Some((suite.name.clone(), test.clone()));
                verdict.ended = ended;
                break;
            }
        }
        verdict.took = begun.elapsed();
        note!("{}", table(&[verdict]));
    }
    Ok(())
}

/// The load with each bug, and first without one.
fn load(bugs: &[Bug]) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let program = build_node(dir.path())?;
    let program = program.to_str().context("a path that is no text")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    note!("{}", load::head());
    for bug in std::iter::once(None).chain(bugs.iter().copied().map(Some)) {
        let judged = runtime.block_on(load::run(program, bug));
        note!("{}", load::row(bug, &judged));
        ensure!(
            bug.is_some() || judged.is_ok_and(|judged| judged.is_accepted()),
            "the load fails without a bug"
        );
    }
    Ok(())
}
