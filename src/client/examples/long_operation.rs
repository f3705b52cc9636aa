//! A long operation with recovery points: the worker is killed in the middle, and the next one goes
//! on from the last point instead of the beginning.
//!
//! Run against `cargo run --release -- dev`:
//! `cargo run -p hapax-client --example long_operation`
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

mod common;
#[path = "common/worker.rs"]
mod worker;

use anyhow::{Context, Result, bail, ensure};
use common::{check, connect, fresh_name};
use hapax_client::{Ending, Executed, Execution, address, fingerprint};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use worker::{die, run_worker, worker_job};

const STEPS: u32 = 8;
/// The step in the middle of which the first worker dies.
const DEADLY_STEP: u32 = 5;

/// The recovery point: what is done, and what has come of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    steps: u32,
    sum: u64,
}

/// The report: where this attempt began, and the whole result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    began_at_step: u32,
    attempt: u32,
    sum: u64,
}

async fn report(name: &str, dies: bool) -> Result<Executed<Report>> {
    let client = connect().await?;
    let work = |run: Execution| async move {
        let mut progress: Progress = run.last_checkpoint_json()?.unwrap_or_default();
        let began_at_step = progress.steps;
        println!("  attempt {} begins at step {began_at_step}", run.attempt());
        while progress.steps < STEPS {
            let step = progress.steps;
            if dies && step == DEADLY_STEP {
                println!("  the worker dies in the middle of step {step}");
                die();
            }
            // A lost lease ends the work: somebody else may be at it already.
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
                () = run.lost() => bail!("the lease was lost"),
            }
            progress = Progress { steps: step + 1, sum: progress.sum + u64::from(step) };
            run.checkpoint_json(&progress).await?;
        }
        Ok(Ending::Success(Report { began_at_step, attempt: run.attempt(), sum: progress.sum }))
    };
    let address = address("demo", "reports.build", name)?;
    let lease = Duration::from_secs(1);
    Ok(client.execute(address, fingerprint::bytes(name.as_bytes())).lease(lease).run(work).await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    if let Some(name) = worker_job() {
        report(&name, true).await?;
        bail!("the worker was to die");
    }
    let name = match std::env::args().nth(1) {
        Some(name) => name,
        None => fresh_name(&connect().await?, "report")?,
    };
    println!("a report of {STEPS} steps, {name}:");
    ensure!(!run_worker(&name).await?, "the first worker was to die");

    let executed = report(&name, false).await?;
    let (_, first) = executed.outcome().context("the report was not finished")?;
    check(first.began_at_step == DEADLY_STEP, "the next worker went on where the dead one had stopped")?;
    check(first.attempt == 2, "it took over as attempt 2")?;
    let whole: u64 = (0..u64::from(STEPS)).sum();
    check(first.sum == whole, "no step was lost or done twice")?;

    let again = report(&name, false).await?;
    let replayed = matches!(&again, Executed::Replayed(replay) if replay.value == *first);
    check(replayed, "asked for again, the report is replayed")
}
