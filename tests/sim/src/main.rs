//! The deterministic simulator: whole clusters of whole nodes over a simulated network, simulated
//! disks and simulated clocks, on one thread a seed.
//!
//! What is simulated: sockets (turmoil), disks (`SimDisk`, with an engine in memory that loses what
//! was not synced), clocks, timers and randomness. What is real: everything of the product from the
//! configuration upwards (`Running::start`). The load is that of the whole-system tests, judged by the
//! history checker, and callers with the product's own client beside it. A seed decides everything;
//! running it twice gives the same trace, which `determinism` checks.

#[cfg(feature = "seeded-bugs")]
mod bugs;
mod clock;
mod entropy;
mod fault;
mod gate;
mod host;
mod judge;
mod load;
mod machine;
mod network;
mod oracle;
mod plan;
mod random;
mod replay;
mod run;
mod runner;
mod site;
mod trace;

#[cfg(not(tokio_unstable))]
compile_error!("build it in its own directory, whose .cargo/config.toml sets what it needs: cd tests/sim");

use clap::{Parser, Subcommand};
use runner::Work;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Runs clusters under simulated faults.
#[derive(Debug, Parser)]
#[command(name = "hapax-sim")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs seeds, and fails if one of them does, or proves nothing.
    Run {
        /// Which, `from..to`.
        #[arg(long, value_parser = seeds)]
        seeds: (u64, u64),
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Simulated seconds of load for each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// No seed is begun after so long, `15m` or `240s`.
        #[arg(long, value_parser = span)]
        budget: Option<Duration>,
    },
    /// Runs each seed twice, and fails if it is not the same twice, to the byte.
    Determinism {
        /// Which, `from..to`.
        #[arg(long, value_parser = seeds)]
        seeds: (u64, u64),
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Simulated seconds of load for each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Puts each mistake that there is into the product, and runs seeds until one of them fails.
    #[cfg(feature = "seeded-bugs")]
    Bugs {
        /// Which, `from..to`.
        #[arg(long, value_parser = seeds)]
        seeds: (u64, u64),
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Simulated seconds of load for each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Runs one seed and shows what happens.
    Replay {
        /// The seed.
        seed: u64,
        /// Simulated seconds of load, as in the run that failed.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Where its history goes, for `hapax-check`.
        #[arg(long)]
        history: Option<PathBuf>,
    },
    /// Runs one seed and writes its verdict as JSON: what the others start for each seed.
    #[command(hide = true)]
    One {
        /// The seed.
        seed: u64,
        /// Simulated seconds of load.
        #[arg(long)]
        seconds: u64,
        /// Every byte and every event of the product's log counts for the trace.
        #[arg(long)]
        exact: bool,
        /// Where the events go.
        #[arg(long)]
        events: Option<PathBuf>,
    },
    /// Runs seeds until it is stopped, each told in a ledger.
    Soak {
        /// One JSON line a seed is added to this file.
        #[arg(long)]
        ledger: PathBuf,
        /// The first seed.
        #[arg(long, default_value_t = 1_000_000)]
        from: u64,
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Simulated seconds of load for each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("not from..to")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok((number(from)?, number(to)?))
}

fn span(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or("neither 15m nor 240s")?;
    let number = number.parse::<u64>().map_err(|error| error.to_string())?;
    match unit {
        "m" => Ok(Duration::from_secs(number * 60)),
        "s" => Ok(Duration::from_secs(number)),
        _ => Err("neither 15m nor 240s".to_owned()),
    }
}

fn main() -> anyhow::Result<ExitCode> {
    run::keep_panics();
    let work = match Arguments::parse().command {
        Command::Replay { seed, seconds, history } => {
            return replay::replay(seed, seconds, history.as_deref());
        }
        Command::One { seed, seconds, exact, events } => return one(seed, seconds, exact, events),
        #[cfg(feature = "seeded-bugs")]
        Command::Bugs { seeds, jobs, seconds } => {
            bugs::run(seeds, seconds, jobs);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Run { seeds: (from, to), jobs, seconds, budget } => {
            Work { from, to, jobs, seconds, budget, twice: false, ledger: None }
        }
        Command::Determinism { seeds: (from, to), jobs, seconds } => {
            Work { from, to, jobs, seconds, budget: None, twice: true, ledger: None }
        }
        Command::Soak { ledger, from, jobs, seconds } => {
            let ledger = Some(OpenOptions::new().create(true).append(true).open(ledger)?);
            Work { from, to: u64::MAX, jobs, seconds, budget: None, twice: false, ledger }
        }
    };
    let mut summary = runner::run(work)?;
    summary.tell();
    let is_good = summary.failed.is_empty() && !summary.is_void();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "the verdict is for the process that started this one")]
fn one(seed: u64, seconds: u64, exact: bool, events: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    tracing::subscriber::set_global_default(trace::Watch { exact })?;
    let verdict = run::seed(seed, seconds, exact);
    if let Some(path) = events {
        let lines: Vec<String> =
            verdict.events.iter().map(|(hash, text)| format!("{hash:x} {text}")).collect();
        std::fs::write(path, lines.join("\n"))?;
    }
    println!("{}", serde_json::to_string(&verdict)?);
    Ok(ExitCode::SUCCESS)
}
