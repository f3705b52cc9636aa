//! `hapax run`: a command runs once per key, in the whole cluster.

use anyhow::{Context as _, Result, ensure};
use hapax_tests::{Hapax, Ran, Spec, TestCluster, program, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::time::Duration;

const RUNS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_runs_at_once_run_the_command_once() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let effects = cluster.path("effects");
    let line = format!("echo ran >> {}; echo to stdout; echo to stderr >&2; exit 3", effects.display());
    let arguments = ["run", "jobs.nightly", "2026-11-24", "--", "sh", "-c", &line];
    let started: Vec<_> =
        (0..RUNS).map(|_| cluster.command().command(&arguments).spawn()).collect::<Result<_, _>>()?;
    let ended = tokio::task::spawn_blocking(move || {
        started.into_iter().map(std::process::Child::wait_with_output).collect::<Result<Vec<_>, _>>()
    });
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await???;
    for output in &ended {
        ensure!(output.status.code() == Some(3), "{output:?}");
        ensure!(output.stdout == b"to stdout\n" && output.stderr == b"to stderr\n", "{output:?}");
    }
    ensure!(fs::read_to_string(&effects)? == "ran\n", "the command ran more than once");
    let again = cluster.command().run(&arguments).await?;
    ensure!(again.status == 3 && again.text() == "to stdout\n", "{again:?}");
    ensure!(fs::read_to_string(&effects)? == "ran\n");
    let other = cluster.command().run(&["run", "jobs.nightly", "2026-11-24", "--", "true"]).await?;
    ensure!(other.status == 13, "another command under the same key: {other:?}");
    cluster.finish()
}

/// Ends the command that a killed run has left behind.
struct LeftBehind<'a>(&'a Path);

impl LeftBehind<'_> {
    fn end(&self) -> Result<()> {
        let pid: i32 = fs::read_to_string(self.0)?.trim().parse()?;
        Ok(kill_process(Pid::from_raw(pid).context("no such process")?, Signal::KILL)?)
    }
}

impl Drop for LeftBehind<'_> {
    fn drop(&mut self) {
        let _gone = self.end();
    }
}

async fn state(hapax: &Hapax) -> Result<String> {
    hapax.run(&["get", "jobs.pay", "run-1", "--json"]).await?.field("state")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_is_in_doubt_until_somebody_decides() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let hapax = cluster.command();
    let pid = cluster.path("pid");
    let line = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", pid.display());
    let command = ["run", "jobs.pay", "run-1", "--lease", "2s", "--", "sh", "-c", &line];
    let mut run = hapax.command(&command).spawn()?;
    let left_behind = LeftBehind(&pid);
    until("the command to start", Duration::from_secs(20), async || match pid.exists() {
        true => Ok(()),
        false => Err("it does not run".to_owned()),
    })
    .await?;
    run.kill()?;
    run.wait()?;
    left_behind.end()?;
    let claim = hapax.run(&["claim", "jobs.pay", "run-1", "--body", "/dev/null"]).await?;
    ensure!(claim.status == 13, "another request under the same key: {claim:?}");
    // The mark was set before the command started: nobody takes over when the lease lapses.
    let doubt = hapax.run(&command).await?;
    ensure!(doubt.status == 12, "{doubt:?}");
    ensure!(state(&hapax).await? == "in_doubt");
    let token = in_doubt(&hapax).await?;
    let wrong = ["resolve", "jobs.pay", "run-1", "--token", "1", "--release", "--reason", "a guess"];
    let refused = hapax.run(&wrong).await?;
    ensure!([1, 15].contains(&refused.status), "{refused:?}");
    ensure!(state(&hapax).await? == "in_doubt");
    let reason = "the ledger has no such payment";
    let resolve = ["resolve", "jobs.pay", "run-1", "--token", &token, "--release", "--reason", reason];
    let resolved: Ran = hapax.run(&resolve).await?;
    ensure!(resolved.status == 0, "{resolved:?}");
    ensure!(state(&hapax).await? == "open");
    let line = "echo paid";
    let mismatch = hapax.run(&["run", "jobs.pay", "run-1", "--", "sh", "-c", line]).await?;
    ensure!(mismatch.status == 13, "the arguments are the fingerprint: {mismatch:?}");
    let next = hapax.command(&command).spawn()?;
    fs::remove_file(&pid)?;
    until("the command to start again", Duration::from_secs(20), async || match pid.exists() {
        true => Ok(()),
        false => Err("it does not run".to_owned()),
    })
    .await?;
    left_behind.end()?;
    let ended = tokio::task::spawn_blocking(move || next.wait_with_output()).await??;
    ensure!(ended.status.code() == Some(137), "a command ended by SIGKILL: {ended:?}");
    cluster.finish()
}

/// The token of the one record in doubt, as the listing shows it.
async fn in_doubt(hapax: &Hapax) -> Result<String> {
    let listed = hapax.run(&["list", "jobs.pay", "--state", "in_doubt", "--json"]).await?;
    let json = listed.json()?;
    let rows = json["rows"].as_array().context("no rows")?;
    ensure!(rows.len() == 1 && rows[0]["key"] == "run-1" && rows[0]["marked"] == true, "{json}");
    Ok(rows[0]["token"].as_str().context("no token")?.to_owned())
}
