//! A cluster under measurement, with the keys that it holds.

use super::report::Figures;
use crate::load::draw::Mix;
use crate::load::fill::{Filled, fill};
use crate::load::hapax::Hapax;
use crate::load::run::{keys, read_back, run_on};
use crate::load::work::Work;
use crate::load::{Options, Report};
use crate::servers::hapax::Plan;
use crate::servers::nodes::Nodes;
use crate::servers::usage::Servers;
use anyhow::{Context as _, Result, bail};
use std::sync::Arc;
use std::time::Duration;

/// After which a call counts as failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Completed keys that are read back.
const READ_BACK: usize = 1000;

/// A cluster, a way to it, and the keys of all loads so far.
pub struct Bench {
    /// Its nodes.
    pub nodes: Nodes,
    stores: Vec<Hapax>,
    work: Arc<Work>,
    value_bytes: usize,
    /// Another for each load, because a caller's name belongs to one call.
    seed: u64,
}

/// What is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Callers at once.
    pub workers: usize,
    /// Percent of calls that ask for a completed key.
    pub replays: f64,
    /// Calls a second; as many as the callers can where absent.
    pub rate: Option<f64>,
    /// How long.
    pub lasts: Duration,
}

impl Bench {
    /// Starts one for up to so many callers, who keep results of one size.
    ///
    /// # Errors
    /// When the nodes cannot be started or reached.
    pub async fn start(plan: &Plan, workers: usize, value_bytes: usize) -> Result<Self> {
        let nodes = Nodes::begin(plan).await?;
        let load = Load { workers, replays: 0.0, rate: None, lasts: Duration::ZERO };
        let work = keys(&options(load, value_bytes, 0))?;
        let mut bench = Self { nodes, stores: Vec::new(), work, value_bytes, seed: 1 };
        bench.connect().await?;
        Ok(bench)
    }

    /// Connects, also anew after nodes were started again.
    ///
    /// # Errors
    /// When no node can be reached.
    pub async fn connect(&mut self) -> Result<()> {
        let nodes = self.nodes.addresses();
        let store = Hapax::connect(&nodes, TIMEOUT).await;
        self.stores = vec![store.with_context(|| format!("cannot connect to {nodes}"))?];
        Ok(())
    }

    /// The way to it.
    ///
    /// # Errors
    /// When it is not connected.
    pub fn store(&self) -> Result<&Hapax> {
        self.stores.first().context("not connected")
    }

    /// How many completed keys it holds.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.work.count()
    }

    /// Completes keys until it holds so many.
    ///
    /// # Errors
    /// When that does not go on.
    pub async fn fill(&mut self, records: u64, tell: impl FnMut(u64)) -> Result<Filled> {
        let load = Load { workers: self.work.workers(), replays: 0.0, rate: None, lasts: Duration::ZERO };
        let options = self.options(load);
        // Further rounds of a fill count their seeds on from here.
        self.seed += 1 << 32;
        fill(&self.stores, &options, &self.work, records, tell).await
    }

    /// Loads it, without a warm-up and without reading back.
    ///
    /// # Errors
    /// When the load cannot be run.
    pub async fn load(&mut self, load: Load) -> Result<Report> {
        let options = self.options(load);
        run_on(&self.stores, &self.nodes.servers(), &options, &self.work).await
    }

    /// A load that goes on while nodes are killed, so that nothing is told of what they use.
    ///
    /// # Errors
    /// When it is not connected.
    pub fn aside(&mut self, load: Load) -> Result<impl Future<Output = Result<Report>> + use<>> {
        let (stores, work) = (vec![self.store()?.clone()], Arc::clone(&self.work));
        let options = self.options(load);
        Ok(async move { run_on(&stores, &Servers::default(), &options, &work).await })
    }

    /// Warms it up, loads it, and reads back; tells what the logs took meanwhile.
    ///
    /// # Errors
    /// When the load cannot be run, or nothing was answered.
    pub async fn measure(&mut self, warm_up: Duration, load: Load) -> Result<(Report, Figures)> {
        let warm = self.load(Load { lasts: warm_up, ..load }).await?;
        let before = self.log().await?;
        let mut report = self.load(load).await?;
        let after = self.log().await?;
        report.wrong += warm.wrong;
        report.wrong_examples.extend(warm.wrong_examples);
        report.read_back(self.read_back(load).await);
        if report.all.ops == 0 {
            let why = report.errors.values().next().map(|errors| errors.example.as_str());
            bail!("nothing was answered: {}", why.unwrap_or_default());
        }
        let mut figures = figures(&report);
        for (name, before, after) in
            [("log_entries_per_op", before.0, after.0), ("log_bytes_per_op", before.1, after.1)]
        {
            figures.insert(name, (after - before) / as_f64(report.all.ops));
        }
        Ok((report, figures))
    }

    /// Reads some completed keys back: how many, and what was lost.
    pub async fn read_back(&mut self, load: Load) -> (u64, Vec<String>) {
        let options = Options { read_back: READ_BACK, ..self.options(load) };
        read_back(&self.stores, &self.work, &options).await
    }

    /// Entries and bytes that all nodes have written into their logs.
    async fn log(&self) -> Result<(f64, f64)> {
        let (mut entries, mut bytes) = (0.0, 0.0);
        for index in 0..self.nodes.count() {
            let metrics = self.nodes.metrics(index).await?;
            entries += metrics.sum("hapax_log_entries_total");
            bytes += metrics.sum("hapax_log_bytes_total");
        }
        Ok((entries, bytes))
    }

    fn options(&mut self, load: Load) -> Options {
        self.seed += 1;
        options(load, self.value_bytes, self.seed)
    }
}

fn options(load: Load, value_bytes: usize, seed: u64) -> Options {
    Options {
        workers: load.workers,
        rate: load.rate,
        warm_up: Duration::ZERO,
        measured: load.lasts,
        mix: Mix { replays: load.replays, duplicates: 0.0, skew: 0.0 },
        value_bytes: value_bytes..=value_bytes,
        seed,
        read_back: 0,
        tell: false,
    }
}

/// What a report tells, by name.
#[must_use]
pub fn figures(report: &Report) -> Figures {
    // A call is one claim, of whichever kind, with the complete that follows from it.
    let calls = report.kinds.iter().filter(|row| row.kind != "complete").map(|row| row.ops_per_s).sum();
    let failed = report.errors.values().map(|errors| errors.count).sum();
    let mut figures = Figures::from([
        ("ops", as_f64(report.all.ops)),
        ("ops_per_s", report.all.ops_per_s),
        ("calls_per_s", calls),
        ("p50_us", as_f64(report.all.p50_us)),
        ("p90_us", as_f64(report.all.p90_us)),
        ("p99_us", as_f64(report.all.p99_us)),
        ("p999_us", as_f64(report.all.p999_us)),
        ("max_us", as_f64(report.all.max_us)),
        ("errors", as_f64(failed)),
        ("server_cores", report.server_cores.iter().sum()),
        ("load_cores", report.load_cores),
    ]);
    figures.extend(report.server_cpu_us_per_op.map(|cpu| ("cpu_us_per_op", cpu)));
    figures.extend(report.bytes_written_per_op.map(|bytes| ("bytes_written_per_op", bytes)));
    figures
}

/// A count.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}
