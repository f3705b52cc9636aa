//! One run: warm-up, measured span, read back.

use super::draw::{Draw, Mix};
use super::progress::Progress;
use super::report::Report;
use super::store::{Claimed, Store};
use super::tally::Tally;
use super::work::Work;
use super::worker::{Schedule, Worker};
use crate::servers::usage::{Servers, Usage};
use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Tallies that workers share. A worker with its own makes its histograms when its first measured call ends; those of a
/// thousand, at that one moment, held up all calls for a third of a second.
const TALLIES: usize = 8;

/// Workers that work.
pub(super) struct Workers {
    tasks: JoinSet<()>,
    tallies: Vec<Arc<Mutex<Tally>>>,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Callers at once.
    pub workers: usize,
    /// Calls begun a second, of all workers; as many as they can where absent.
    pub rate: Option<f64>,
    /// Before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub measured: Duration,
    /// What is asked.
    pub mix: Mix,
    /// The sizes of results.
    pub value_bytes: RangeInclusive<usize>,
    /// Draws the calls.
    pub seed: u64,
    /// Completed keys that are read back at the end.
    pub read_back: usize,
    /// Say each second how it goes.
    pub tell: bool,
}

/// Loads a store through some handles on it, which workers share evenly, and measures what its processes use.
///
/// # Errors
/// When a worker or the system fails; what the store does wrong is in the report.
pub async fn run<S: Store>(stores: &[S], servers: &Servers, options: &Options) -> Result<Report> {
    run_on(stores, servers, options, &keys(options)?).await
}

/// Keys of this run's own, for as many workers as the options have.
///
/// # Errors
/// Never, in truth: the name of a run is long enough.
pub fn keys(options: &Options) -> Result<Arc<Work>> {
    let run = Draw::new(options.mix, options.seed, u64::from(std::process::id())).caller();
    let run = u64::from_le_bytes(run[..8].try_into().context("eight bytes")?) ^ now_ns();
    Ok(Arc::new(Work::new(run, options.value_bytes.clone(), options.workers)))
}

/// As [`run`], on keys that earlier runs have used: replays ask for those too. No more workers take part than the keys
/// were made for.
///
/// # Errors
/// As [`run`].
pub async fn run_on<S: Store>(
    stores: &[S],
    servers: &Servers,
    options: &Options,
    work: &Arc<Work>,
) -> Result<Report> {
    let begin = Instant::now();
    let measured_from = begin + options.warm_up;
    let end = measured_from + options.measured;
    let every = options.rate.map(|rate| Duration::from_secs_f64(1.0 / rate.max(1e-3)));
    let turns = AtomicU64::new(0);
    let schedule = Arc::new(Schedule { begin, measured_from, end, every, calls: None, turns });
    let progress = Arc::new(Progress::default());
    let workers = begin_all(stores, options, work, &schedule, &progress)?;
    let measuring = async {
        let (tally, usage) = tokio::join!(workers.collect(), measure(servers, &schedule));
        anyhow::Ok((tally?, usage?))
    };
    let (tally, usage) = tokio::select! {
        done = measuring => done?,
        () = progress.tell(options.warm_up + options.measured), if options.tell => anyhow::bail!("never ends"),
    };
    if options.tell {
        Progress::end_line();
    }
    let mut report = Report::new(options, &tally, &usage);
    report.read_back(read_back(stores, work, options).await);
    Ok(report)
}

/// Starts every worker.
pub(super) fn begin_all<S: Store>(
    stores: &[S],
    options: &Options,
    work: &Arc<Work>,
    schedule: &Arc<Schedule>,
    progress: &Arc<Progress>,
) -> Result<Workers> {
    let mut tasks = JoinSet::new();
    let tallies: Vec<_> = (0..TALLIES).map(|_| Arc::<Mutex<Tally>>::default()).collect();
    for number in 0..options.workers.min(work.workers()) {
        let worker = Worker {
            number,
            store: stores.get(number % stores.len().max(1)).context("no store")?.clone(),
            work: Arc::clone(work),
            schedule: Arc::clone(schedule),
            draw: Draw::new(options.mix, options.seed, number as u64),
            progress: Arc::clone(progress),
            tally: Arc::clone(&tallies[number % TALLIES]),
        };
        tasks.spawn(worker.run());
    }
    Ok(Workers { tasks, tallies })
}

impl Workers {
    /// What all of them have seen, at their end.
    pub(super) async fn collect(mut self) -> Result<Tally> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a worker failed")?;
        }
        let mut all = Tally::default();
        self.tallies.iter().for_each(|tally| all.merge(std::mem::take(&mut *tally.lock())));
        Ok(all)
    }
}

/// What the servers and this process use over the measured span.
async fn measure(servers: &Servers, schedule: &Schedule) -> Result<Usage> {
    sleep_until(schedule.measured_from).await;
    let before = servers.read()?;
    sleep_until(schedule.end).await;
    Ok(servers.read()?.since(&before))
}

/// Asks for some completed keys once more; what is not there as it was kept is told.
pub async fn read_back<S: Store>(stores: &[S], work: &Work, options: &Options) -> (u64, Vec<String>) {
    let mut draw = Draw::new(Mix { skew: 0.0, ..options.mix }, options.seed, u64::MAX);
    let (mut read, mut lost) = (0, Vec::new());
    for at in 0..options.read_back {
        let Some((worker, n)) = work.completed(|count| draw.index(count)) else { continue };
        let Some(store) = stores.get(at % stores.len().max(1)) else { break };
        let key = work.key(worker, n);
        read += 1;
        match store.replay(&key, draw.caller()).await {
            Ok(Claimed::Done(value)) if value == work.value(worker, n) => {}
            Ok(Claimed::Done(_)) => lost.push(format!("{key}: other bytes were read back than were kept")),
            Ok(_) => lost.push(format!("{key}: its result was lost")),
            Err(failure) => lost.push(format!("{key}: could not be read back: {}", failure.text)),
        }
    }
    (read, lost)
}

fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos() & u128::from(u64::MAX)).unwrap_or_default()
}
