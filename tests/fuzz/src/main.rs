//! `hapax-fuzz`: runs the fuzz targets, and replays what they found.
#![expect(clippy::print_stdout, reason = "it is a program of the command line")]

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use hapax_fuzz::Seen;
use hapax_fuzz::driver::campaign::{self, Plan, replay_with};
use hapax_fuzz::driver::worker::{self, Outcome, Task};
use hapax_fuzz::targets::{self, Target};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(about = "Runs the fuzz targets.")]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs targets, each for a while. Exits with 1 when one failed.
    Run {
        /// How long each, seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Which one, or `all`.
        #[arg(long, default_value = "all")]
        target: String,
        /// How many at a time.
        #[arg(long, default_value_t = 1)]
        jobs: usize,
        /// Where the random numbers begin; the time of day if absent.
        #[arg(long)]
        seed: Option<u64>,
        #[command(flatten)]
        folders: Folders,
        /// Adds inputs that reach something new to the corpus.
        #[arg(long)]
        keep: bool,
    },
    /// Runs a target over one file, and lets its failure be seen.
    Replay {
        /// Which target.
        target: String,
        /// The input.
        file: PathBuf,
    },
    /// Runs one target in this process; what `run` starts.
    #[command(hide = true)]
    Work {
        #[arg(long)]
        target: String,
        #[arg(long)]
        seconds: u64,
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        folders: Folders,
        #[arg(long)]
        current: PathBuf,
        #[arg(long)]
        keep: bool,
    },
}

#[derive(clap::Args)]
struct Folders {
    /// The folder with a corpus for each target.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"))]
    corpus: PathBuf,
    /// Where failing inputs go.
    #[arg(long, default_value = "target/fuzz-findings")]
    findings: PathBuf,
}

fn main() -> Result<ExitCode> {
    let good = match Arguments::parse().command {
        Verb::Run { seconds, target, jobs, seed, folders, keep } => {
            let Folders { corpus, findings } = folders;
            let seed = seed.map_or_else(time_of_day, Ok)?;
            run(&Plan { targets: chosen(&target)?, jobs, seconds, seed, corpus, findings, keep })?
        }
        Verb::Replay { target, file } => replay(one(&target)?, &file)?,
        Verb::Work { target, seconds, seed, folders, current, keep } => {
            let target = one(&target)?;
            let corpus = folders.corpus.join(target.name);
            let time = Duration::from_secs(seconds);
            work(&Task { target, time, seed, corpus, findings: folders.findings, current, keep })?
        }
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn time_of_day() -> Result<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())
}

fn one(name: &str) -> Result<Target> {
    let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
    ensure!(names.contains(&name), "there is no target {name}; there are {}", names.join(", "));
    Ok(targets::named(name))
}

fn chosen(name: &str) -> Result<Vec<Target>> {
    if name == "all" { Ok(targets::ALL.to_vec()) } else { Ok(vec![one(name)?]) }
}

fn run(plan: &Plan) -> Result<bool> {
    println!(
        "{} targets, {} s each, {} at a time, seed {}",
        plan.targets.len(),
        plan.seconds,
        plan.jobs,
        plan.seed
    );
    let begun = Instant::now();
    let (findings, good) = campaign::run(plan)?;
    for finding in &findings {
        println!("FAILED {finding}");
    }
    println!("{} in {} s", if good { "no finding" } else { "there are findings" }, begun.elapsed().as_secs());
    Ok(good)
}

fn work(task: &Task) -> Result<bool> {
    let Outcome { runs, time, pool, reached, taken, failure } = worker::work(task)?;
    let name = task.target.name;
    let rate = runs as f64 / time.as_secs_f64();
    println!(
        "{name:<14} {runs:>9} runs, {rate:>7.0} a second; {taken} inputs were taken, {pool} kept for {reached} features"
    );
    if let Some((failure, path)) = &failure {
        let message: String = failure.message.chars().take(2_000).collect();
        println!("FAILED {name}: {message}\n{}", replay_with(task.target, path));
    }
    Ok(failure.is_none())
}

fn replay(target: Target, file: &PathBuf) -> Result<bool> {
    let input = std::fs::read(file)?;
    let taken = (target.run)(&input, &mut Seen::default());
    println!("{}: {} values were taken, and nothing failed", target.name, taken);
    Ok(true)
}
