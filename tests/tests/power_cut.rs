//! Power cuts of a whole cluster over disks that keep only what was flushed: a few of them, by the
//! program that makes hundreds.

use anyhow::{Context as _, Result, ensure};
use hapax_tests::note;
use std::process::{Command, Output};

/// What the program ends with where mounting is not permitted.
const NOT_PERMITTED: i32 = 77;

/// None where this process may not mount.
fn cut(arguments: &[&str]) -> Result<Option<Output>> {
    let output = Command::new(env!("CARGO_BIN_EXE_power-cut")).args(arguments).output()?;
    if output.status.code() == Some(NOT_PERMITTED) {
        note!("{}", String::from_utf8_lossy(&output.stdout).trim());
        return Ok(None);
    }
    Ok(Some(output))
}

fn loses_nothing(arguments: &[&str]) -> Result<()> {
    let Some(output) = cut(arguments)? else { return Ok(()) };
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{said}\n{log}");
    let figures: serde_json::Value = serde_json::from_str(said.trim()).context("the figures")?;
    note!("{figures}");
    ensure!(figures["cuts"] == 2 && figures["acknowledged"].as_u64() > Some(100), "{figures}");
    Ok(())
}

#[test]
fn power_cuts_of_all_nodes_lose_nothing_that_was_acknowledged() -> Result<()> {
    loses_nothing(&["--cuts", "2", "--seed", "11", "--json"])
}

#[test]
fn power_cuts_of_all_nodes_over_sled_lose_nothing_that_was_acknowledged() -> Result<()> {
    loses_nothing(&["--cuts", "2", "--seed", "12", "--engine", "sled", "--json"])
}

/// The same run sees a loss where there is one.
#[test]
fn disks_that_only_say_that_they_flush_lose_results_and_the_run_says_so() -> Result<()> {
    let Some(output) = cut(&["--cuts", "20", "--seed", "13", "--disks-lie"])? else { return Ok(()) };
    let said = String::from_utf8_lossy(&output.stdout);
    note!("{}", said.trim());
    ensure!(output.status.code() == Some(1) && said.contains("FAILED"), "{}: {said}", output.status);
    Ok(())
}
