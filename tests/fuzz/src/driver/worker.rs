//! One target for a while, in a process of its own.
//!
//! The input that is being run stands in a file, so that whoever started this process can tell what ended it.

use super::execute::{Failure, execute, note_panics};
use super::minimise::minimise;
use super::mutate::mutate;
use super::pool::Pool;
use super::random::Random;
use crate::seen::Seen;
use crate::targets::Target;
use anyhow::{Context, Result};
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a worker is told.
#[derive(Clone, Debug)]
pub struct Task {
    /// The target.
    pub target: Target,
    /// For how long.
    pub time: Duration,
    /// Where the random numbers begin.
    pub seed: u64,
    /// The inputs to begin with.
    pub corpus: PathBuf,
    /// Where failing inputs go.
    pub findings: PathBuf,
    /// Where the input that is being run stands.
    pub current: PathBuf,
    /// Whether what reached something new is kept in the corpus.
    pub keep: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// How many inputs were run.
    pub runs: u64,
    /// For how long.
    pub time: Duration,
    /// How many inputs reached something new, those of the corpus included.
    pub pool: usize,
    /// How many features were reached.
    pub reached: usize,
    /// How many inputs held something that was taken.
    pub taken: u64,
    /// The failure and where its input is.
    pub failure: Option<(Failure, PathBuf)>,
}

/// The inputs of a target's corpus, by name.
///
/// # Errors
/// When a file cannot be read.
pub fn corpus(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for file in fs::read_dir(folder).with_context(|| format!("there is no corpus {}", folder.display()))? {
        let path = file?.path();
        let input = fs::read(&path)?;
        inputs.push((path, input));
    }
    inputs.sort();
    Ok(inputs)
}

/// Runs a target until the time is over or it fails.
///
/// # Errors
/// When a file cannot be read or written.
pub fn work(task: &Task) -> Result<Outcome> {
    note_panics();
    let mut worker = Worker {
        task,
        random: Random::new(task.seed),
        pool: Pool::default(),
        seen: Seen::default(),
        current: File::options().write(true).create(true).truncate(false).open(&task.current)?,
        runs: 0,
        taken: 0,
        kept: 0,
    };
    let begun = Instant::now();
    let failure = worker.fuzz(begun)?;
    let failure = failure.map(|(failure, input)| worker.save(failure, &input)).transpose()?;
    let Worker { pool, runs, taken, .. } = worker;
    Ok(Outcome { runs, time: begun.elapsed(), pool: pool.len(), reached: pool.reached(), taken, failure })
}

struct Worker<'a> {
    task: &'a Task,
    random: Random,
    pool: Pool,
    seen: Seen,
    current: File,
    runs: u64,
    taken: u64,
    kept: usize,
}

/// The most inputs that one run adds to the corpus.
const KEPT_MAX: usize = 40;

impl Worker<'_> {
    fn fuzz(&mut self, begun: Instant) -> Result<Option<(Failure, Vec<u8>)>> {
        let kept = corpus(&self.task.corpus)?.into_iter().map(|(_, input)| input);
        for input in kept.chain((self.task.target.seeds)()) {
            if let Err(failure) = self.run(&input, false)? {
                return Ok(Some((failure, input)));
            }
        }
        while begun.elapsed() < self.task.time {
            let input = mutate(
                &self.task.target,
                self.pool.pick(&mut self.random.clone()),
                self.pool.pick(&mut Random::new(self.random.number())),
                &mut self.random,
            );
            if let Err(failure) = self.run(&input, self.task.keep)? {
                return Ok(Some((failure, input)));
            }
        }
        Ok(None)
    }

    fn run(&mut self, input: &[u8], keep: bool) -> Result<Result<(), Failure>> {
        // The length comes first: a shorter input leaves the end of a longer one behind it.
        let framed = [&(input.len() as u64).to_le_bytes(), input].concat();
        self.current.write_all_at(&framed, 0)?;
        self.runs += 1;
        let taken = match execute(&self.task.target, input, &mut self.seen) {
            Ok(taken) => taken,
            Err(failure) => return Ok(Err(failure)),
        };
        self.taken += u64::from(taken > 0);
        let is_new = self.pool.offer(input, &self.seen, &mut self.random);
        if is_new && keep && self.kept < KEPT_MAX {
            self.kept += 1;
            fs::write(self.task.corpus.join(name_of(input)), input)?;
        }
        Ok(Ok(()))
    }

    fn save(&self, failure: Failure, input: &[u8]) -> Result<(Failure, PathBuf)> {
        let small = minimise(&self.task.target, input, &failure);
        let path = save(&self.task.findings, self.task.target.name, &small)?;
        Ok((failure, path))
    }
}

fn name_of(input: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    format!("found_{:016x}", hasher.finish())
}

/// Puts a failing input aside.
///
/// # Errors
/// When it cannot be written.
pub fn save(findings: &Path, target: &str, input: &[u8]) -> Result<PathBuf> {
    fs::create_dir_all(findings)?;
    let path = findings.join(format!("{target}-{}", name_of(input)));
    fs::write(&path, input)?;
    Ok(path)
}

/// The input that a process left behind.
///
/// # Errors
/// When there is none.
pub fn left_behind(current: &Path) -> Result<Vec<u8>> {
    let framed = fs::read(current)?;
    let (length, rest) = framed.split_first_chunk::<8>().context("no input was run")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    Ok(rest.get(..length).unwrap_or(rest).to_vec())
}
