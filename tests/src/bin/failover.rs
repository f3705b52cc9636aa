//! Kills nodes that lead, and measures how long their shards take to acknowledge a write again.
//!
//! `failover --samples 200 --seed 7` ends with status 0 when the target is met and nothing was lost:
//! over all kills and shards p50 at most 1 s, p99 at most 3 s.

use anyhow::{Context as _, Result};
use clap::Parser;
use hapax_tests::failover::{Options, Report, percentile, run};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Half of all figures are at most so long.
const P50: Duration = Duration::from_secs(1);
/// And 99 of a hundred so long.
const P99: Duration = Duration::from_secs(3);

/// Kills nodes that lead, and measures how long their shards take to acknowledge a write again.
#[derive(Debug, Parser)]
struct Arguments {
    /// Kills.
    #[arg(long, default_value_t = 200)]
    samples: u32,
    /// What the victims are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nodes: 3, 5 or 7.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// The figures as JSON.
    #[arg(long)]
    json: bool,
    /// Ends with status 0 whatever the figures are; a loss still fails.
    #[arg(long)]
    no_target: bool,
}

fn main() -> ExitCode {
    // A node is this program too, so that one build makes both.
    if std::env::args_os().nth(1).is_some_and(|first| first == "server") {
        return hapax_server::cli::run(std::env::args_os()).into();
    }
    let arguments = Arguments::parse();
    match measure(&arguments) {
        Ok(report) => {
            tell(&report, arguments.json);
            if is_met(&report.worst) || arguments.no_target { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            hapax_tests::note!("FAILED (seed {}): {error:#}", arguments.seed);
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<Report> {
    let program = std::env::current_exe()?;
    let options = Options {
        program: program.to_str().context("the program's path is not UTF-8")?.to_owned(),
        nodes: arguments.nodes,
        samples: arguments.samples,
        seed: arguments.seed,
    };
    tokio::runtime::Runtime::new().context("no runtime")?.block_on(run(&options))
}

/// The stricter way to count: by the slowest shard of each kill.
fn is_met(worst: &[Duration]) -> bool {
    percentile(worst, 50) <= P50 && percentile(worst, 99) <= P99
}

fn figures(list: &[Duration]) -> Value {
    let ms = |percent| percentile(list, percent).as_millis().to_string().parse::<u64>().unwrap_or(u64::MAX);
    json!({ "count": list.len(), "p50_ms": ms(50), "p90_ms": ms(90), "p99_ms": ms(99), "max_ms": ms(100) })
}

fn tell(report: &Report, as_json: bool) {
    let (worst, shards) = (figures(&report.worst), figures(&report.shards));
    let is_met = is_met(&report.worst);
    if as_json {
        let all = json!({ "worst_of_each_kill": worst, "each_shard": shards, "is_met": is_met,
            "acknowledged": report.acknowledged, "lost": 0, "errors": report.errors });
        return hapax_tests::note!("{all}");
    }
    hapax_tests::note!("slowest shard of each kill: {worst}");
    hapax_tests::note!("each shard:                 {shards}");
    hapax_tests::note!(
        "0 of {} acknowledged results lost, {} errors reached the probes; p50 <= 1 s and p99 <= 3 s: {}",
        report.acknowledged,
        report.errors,
        if is_met { "met" } else { "MISSED" }
    );
}
