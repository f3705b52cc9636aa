//! Many targets, some at a time, each in a worker process.
//!
//! A worker that dies, or that has spent too long over one input or taken too much memory, has its input saved
//! like any other finding.

use super::worker::{left_behind, save};
use crate::targets::Target;
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No input may take longer.
const INPUT_TIME_MAX: Duration = Duration::from_secs(20);
/// No worker may take more.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// How often workers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a campaign is told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The targets, in order.
    pub targets: Vec<Target>,
    /// How many at a time.
    pub jobs: usize,
    /// How long each.
    pub seconds: u64,
    /// Where the random numbers of the first one begin.
    pub seed: u64,
    /// The folder with a corpus for each target.
    pub corpus: PathBuf,
    /// Where failing inputs go.
    pub findings: PathBuf,
    /// Whether what reached something new is kept in the corpus.
    pub keep: bool,
}

struct Running {
    target: Target,
    process: Child,
    current: PathBuf,
    last_input: Vec<u8>,
    since: Instant,
}

/// Runs them all; gives the findings that killed a worker: a worker tells the others itself. Says also whether
/// all workers came to a good end.
///
/// # Errors
/// When a worker cannot be started or watched.
pub fn run(plan: &Plan) -> Result<(Vec<String>, bool)> {
    let scratch = tempfile::tempdir()?;
    let mut waiting: VecDeque<_> = (0..).zip(plan.targets.iter().copied()).collect();
    let mut running: Vec<Running> = Vec::new();
    let (mut findings, mut good) = (Vec::new(), true);
    while !waiting.is_empty() || !running.is_empty() {
        while running.len() < plan.jobs.max(1)
            && let Some((number, target)) = waiting.pop_front()
        {
            running.push(start(plan, target, plan.seed.wrapping_add(number), scratch.path())?);
        }
        // Nobody wakes it: the processes are looked at again after this time.
        std::thread::park_timeout(LOOK_EVERY);
        let mut still = Vec::new();
        for mut worker in running {
            match look(&mut worker)? {
                Look::Runs => still.push(worker),
                Look::Ended { good: ended } => good &= ended,
                Look::Killed(why) => {
                    let path = save(&plan.findings, worker.target.name, &left_behind(&worker.current)?)?;
                    findings.push(format!(
                        "{}: {why}\n{}",
                        worker.target.name,
                        replay_with(worker.target, &path)
                    ));
                    good = false;
                }
            }
        }
        running = still;
    }
    Ok((findings, good))
}

/// The command that runs a finding again.
#[must_use]
pub fn replay_with(target: Target, path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    format!("replay with: cargo run --release -p hapax-fuzz -- replay {} {}", target.name, path.display())
}

fn start(plan: &Plan, target: Target, seed: u64, scratch: &Path) -> Result<Running> {
    let current = scratch.join(target.name);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("work").args(["--target", target.name]);
    command.args(["--seconds", &plan.seconds.to_string(), "--seed", &seed.to_string()]);
    command.arg("--corpus").arg(&plan.corpus).arg("--findings").arg(&plan.findings);
    command.arg("--current").arg(&current).stdin(Stdio::null());
    if plan.keep {
        command.arg("--keep");
    }
    let process = command.spawn().context("a worker cannot be started")?;
    Ok(Running { target, process, current, last_input: Vec::new(), since: Instant::now() })
}

enum Look {
    Runs,
    /// By itself, and it has told what it found.
    Ended {
        good: bool,
    },
    Killed(String),
}

fn look(worker: &mut Running) -> Result<Look> {
    if let Some(status) = worker.process.try_wait()? {
        return Ok(match status.code() {
            Some(code @ (0 | 1)) => Look::Ended { good: code == 0 },
            _ => Look::Killed(format!("the process ended with {status}")),
        });
    }
    let input = fs::read(&worker.current).unwrap_or_default();
    if input != worker.last_input {
        (worker.last_input, worker.since) = (input, Instant::now());
    }
    let why = if worker.since.elapsed() > INPUT_TIME_MAX {
        Some(format!("one input takes more than {} s", INPUT_TIME_MAX.as_secs()))
    } else if memory_bytes(worker.process.id()) > MEMORY_BYTES_MAX {
        Some(format!("it takes more than {} MiB of memory", MEMORY_BYTES_MAX >> 20))
    } else {
        None
    };
    if why.is_some() {
        worker.process.kill()?;
        worker.process.wait()?;
    }
    Ok(why.map_or(Look::Runs, Look::Killed))
}

/// What a process has in memory; 0 when it cannot be told.
fn memory_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}
