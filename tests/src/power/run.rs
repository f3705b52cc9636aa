//! The run: load, cut, start again on what is left, read everything back, and again.

use super::disk::{LazyDisk, Loss, Taken};
use super::shelf::Shelf;
use super::volume::{Lag, Volume, lag};
use crate::cluster::TestCluster;
use crate::ledger::{Ledger, replicas_agree};
use crate::load::{Caller, Load, Progress};
use crate::rng::Rng;
use crate::spec::Spec;
use crate::wait::until;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The room of each disk; only what is written takes memory.
const DISK_MIB: u64 = 512;
/// Fewer than 16, so that a start takes less of a run; more than one, so that they share the log.
const SHARDS: u32 = 4;
/// What the configuration says beyond the defaults: segments that fit the small disk.
const STORAGE: &str = "segment_bytes = 50331648\nreserve_bytes = 16777216";
/// Calls that must have ended well between two cuts.
const CALLS_BETWEEN: u32 = 100;
/// The load goes on for up to so long after those, ms: some cuts come behind a batch of the record store, which is written
/// every four seconds, some before the first.
const GO_ON_MS: u64 = 6_000;
/// How long the calls between two cuts may take; elections included.
const LOADED_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take until a disk has pages that it has not flushed.
const BUSY_WITHIN: Duration = Duration::from_secs(30);
/// Results read back after a cut although they were read after an earlier one.
const READ_AGAIN: usize = 300;
/// Of so many flushes a disk that lies obeys one.
const LIES: u64 = 400;

/// What is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program whose `server` is a node.
    pub program: PathBuf,
    /// Cuts.
    pub cuts: u32,
    /// No cut begins after so long.
    pub within: Option<Duration>,
    /// What the cuts are drawn from.
    pub seed: u64,
    /// `fjall` or `sled`.
    pub engine: &'static str,
    /// Where the disks of a failed run are kept.
    pub keep: Option<PathBuf>,
    /// Disks say of most flushes that they were done and do nothing: the run must fail.
    pub disks_lie: bool,
    /// One line for each cut.
    pub tell: bool,
}

/// What a run showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Cuts.
    pub cuts: u32,
    /// Cuts after which bytes that a process had written were not in its files.
    pub cuts_with_lag: u32,
    /// Those files.
    pub files_behind: u64,
    /// Those bytes.
    pub bytes_behind: u64,
    /// Cuts that took pages which the disk had taken and not flushed.
    pub cuts_with_drops: u32,
    /// Those pages.
    pub taken: Taken,
    /// Acknowledged results.
    pub acknowledged: usize,
    /// Results read back in all.
    pub read_back: usize,
    /// Replicas compared in all.
    pub compared: usize,
    /// Errors that the callers were handed.
    pub errors: u32,
    /// In all.
    pub took: Duration,
    /// From the cut to the last node's being ready, in all.
    pub starting: Duration,
}

/// Runs.
///
/// # Errors
/// When something acknowledged is lost, a key is granted twice, replicas differ, a node does not come
/// back, or the run has shown nothing.
pub async fn run(options: &Options) -> Result<Report> {
    let mut scene = Scene::set(options).await?;
    let report = match scene.play(options).await {
        Ok(report) => report,
        Err(error) => {
            if let Some(keep) = &options.keep {
                scene.keep(keep)?;
            }
            // The first error tells more than one of the end.
            let _less = scene.end();
            return Err(error);
        }
    };
    scene.end()?.finish()?;
    Ok(report)
}

/// A cluster over its disks.
struct Scene {
    cluster: TestCluster,
    dice: Rng,
    /// One a node: its disk's number on the shelf, and the file system over it.
    volumes: Vec<(u64, Volume)>,
    shelf: Shelf,
    generation: u32,
    /// What the last cut left, as it was before anybody touched it.
    left: Vec<LazyDisk>,
}

impl Scene {
    async fn set(options: &Options) -> Result<Self> {
        let spec = Spec { engine: options.engine, ..Spec::nodes(3) }.shards(SHARDS).extra(STORAGE);
        let program = options.program.to_str().context("the program's path is not UTF-8")?;
        let cluster = TestCluster::prepare(program, spec)?;
        let shelf = Shelf::mount(&cluster.path("shelf"))?;
        let fresh = LazyDisk::new(&Volume::format(DISK_MIB, &cluster.path(""))?);
        let fresh = fresh.obeying_every(if options.disks_lie { LIES } else { 1 });
        let (volumes, dice) = (Vec::new(), Rng::new(options.seed));
        let mut scene = Self { cluster, dice, volumes, shelf, generation: 0, left: Vec::new() };
        scene.volumes = scene.insert(vec![fresh; 3])?;
        scene.start().await?;
        Ok(scene)
    }

    /// Mounts a disk for each node, in place of those that it had.
    fn insert(&mut self, disks: Vec<LazyDisk>) -> Result<Vec<(u64, Volume)>> {
        self.generation += 1;
        let mut volumes = Vec::new();
        for (i, disk) in disks.into_iter().enumerate() {
            let number = self.shelf.put(disk);
            let at = self.cluster.node_dir(i).join(format!("disk-{}", self.generation));
            let volume = Volume::mount(&self.shelf.file(number), &at)?;
            let data = self.cluster.data_dir(i);
            let _first_time = std::fs::remove_file(&data);
            std::os::unix::fs::symlink(at.join("data"), &data)?;
            std::fs::create_dir_all(at.join("data"))?;
            volumes.push((number, volume));
        }
        Ok(volumes)
    }

    async fn start(&mut self) -> Result<()> {
        for i in 0..self.cluster.len() {
            self.cluster.launch(i)?;
        }
        self.cluster.all_ready().await
    }

    async fn play(&mut self, options: &Options) -> Result<Report> {
        let begun = Instant::now();
        let (ledger, progress) = (Arc::new(Ledger::new("orders.place")), Arc::new(Progress::default()));
        let load = Load { keys: 1 << 28, copies: 3, workers: 48, within: Duration::from_secs(24 * 3600) };
        let callers = Caller::of(&self.cluster).await?;
        let running = tokio::spawn(load.run(callers, Arc::clone(&ledger), Arc::clone(&progress)));
        let (mut report, mut read) = (Report::default(), BTreeSet::new());
        while report.cuts < options.cuts && options.within.is_none_or(|within| begun.elapsed() < within) {
            self.loaded(&progress).await?;
            self.cut(&mut report, options).await?;
            // Calls that were under way are ended by the cluster that came back.
            let paused = progress.pause().await;
            ensure!(!running.is_finished(), "the load has ended by itself");
            ledger.unbroken()?;
            let keys = self.unread(&ledger, &mut read);
            report.read_back += ledger.check_keys_on_every_node(&self.cluster, &keys).await?;
            report.compared += replicas_agree(&self.cluster.client().await?, 3).await?;
            drop(paused);
        }
        progress.no_more(load.copies);
        running.await??;
        ledger.check(ledger.keys(), load.copies)?;
        report.acknowledged = ledger.acknowledged_keys().len();
        report.read_back += ledger.check_on_every_node(&self.cluster).await?;
        report.errors = progress.errors();
        report.took = begun.elapsed();
        shown(&report)?;
        Ok(report)
    }

    /// Waits for some load and then a random while.
    async fn loaded(&mut self, progress: &Progress) -> Result<()> {
        let enough = progress.done() + CALLS_BETWEEN;
        until("some load", LOADED_WITHIN, async || match progress.done() {
            done if done >= enough => Ok(()),
            done => Err(format!("{done} calls done")),
        })
        .await?;
        sleep(Duration::from_millis(self.dice.below(GO_ON_MS))).await;
        Ok(())
    }

    /// Ends the power of all, and starts all again on what is left.
    async fn cut(&mut self, report: &mut Report, options: &Options) -> Result<()> {
        let loss = match self.dice.below(4) {
            // The first takes something for certain.
            _ if options.disks_lie || report.cuts == 0 => Loss::All,
            0 => Loss::All,
            1 => Loss::None,
            _ => Loss::Some(u8::try_from(self.dice.below(256))?),
        };
        let numbers: Vec<u64> = self.volumes.iter().map(|(number, _)| *number).collect();
        let at = Instant::now();
        // Nodes flush what they write at once, so that most moments find nothing to take.
        let cut = loop {
            match self.shelf.cut(&numbers, loss, &mut self.dice) {
                Some(cut) => break cut,
                None => ensure!(at.elapsed() < BUSY_WITHIN, "no disk is written to"),
            }
            tokio::task::yield_now().await;
        };
        for i in 0..self.cluster.len() {
            // Some have ended by themselves already, by a sync that failed.
            self.cluster.process(i)?.kill()?;
            self.cluster.forget(i);
        }
        let (left, taken): (Vec<_>, Vec<_>) = cut.into_iter().unzip();
        self.left.clone_from(&left);
        let new = self.insert(left)?;
        let old = std::mem::replace(&mut self.volumes, new);
        let mut behind = Lag::default();
        for ((_, live), (_, found)) in old.iter().zip(&self.volumes) {
            let lag = lag(live.at(), found.at())?;
            behind.files += lag.files;
            behind.bytes += lag.bytes;
        }
        for (number, volume) in old {
            drop(volume);
            self.shelf.remove(number);
        }
        report.counts(behind, &taken);
        self.start().await.with_context(|| format!("cut {} ({loss:?})", report.cuts))?;
        report.starting += at.elapsed();
        if options.tell {
            let took = at.elapsed();
            crate::note!("cut {}: {loss:?}, {behind:?}, ready after {took:?}", report.cuts);
        }
        Ok(())
    }

    /// What was acknowledged and not read yet, and some of the rest.
    fn unread(&mut self, ledger: &Ledger, read: &mut BTreeSet<u32>) -> Vec<u32> {
        let (mut keys, known): (Vec<u32>, Vec<u32>) =
            ledger.acknowledged_keys().into_iter().partition(|key| !read.contains(key));
        read.extend(&keys);
        if !known.is_empty() {
            keys.extend((0..READ_AGAIN).map(|_| known[self.dice.index(known.len())]));
        }
        keys
    }

    /// Ends the nodes and takes their disks away.
    fn end(mut self) -> Result<TestCluster> {
        let mut ended = Ok(());
        for i in (0..self.cluster.len()).filter(|i| self.cluster.runs(*i)).collect::<Vec<_>>() {
            ended = ended.and(self.cluster.kill(i));
        }
        self.volumes.clear();
        drop(self.shelf);
        ended?;
        Ok(self.cluster)
    }

    /// Writes down what the last cut left.
    fn keep(&self, at: &Path) -> Result<()> {
        std::fs::create_dir_all(at)?;
        for (i, disk) in self.left.iter().enumerate() {
            std::fs::write(at.join(format!("node-{}.img", i + 1)), disk.read(0, disk.len()))?;
            std::fs::write(at.join(format!("node-{}.log", i + 1)), self.cluster.log(i))?;
        }
        Ok(())
    }
}

impl Report {
    fn counts(&mut self, behind: Lag, taken: &[Taken]) {
        self.cuts += 1;
        self.cuts_with_lag += u32::from(behind.bytes > 0);
        self.files_behind += behind.files;
        self.bytes_behind += behind.bytes;
        self.cuts_with_drops += u32::from(taken.iter().any(|taken| taken.dropped + taken.torn > 0));
        for taken in taken {
            self.taken.unflushed += taken.unflushed;
            self.taken.dropped += taken.dropped;
            self.taken.torn += taken.torn;
        }
    }
}

/// A run in which nothing was ever dropped has shown nothing.
fn shown(report: &Report) -> Result<()> {
    ensure!(report.cuts > 0, "no cut was made: nothing was shown");
    // A quarter of the cuts is meant to take nothing from the disks, and some take few pages by chance.
    ensure!(report.cuts_with_lag * 3 > report.cuts, "hardly a written byte was lost: nothing was shown");
    ensure!(report.cuts_with_drops > 0, "no disk lost a page: nothing was shown");
    ensure!(report.acknowledged > 0 && report.read_back > 0, "nothing was read back: nothing was shown");
    Ok(())
}
