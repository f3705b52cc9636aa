//! A run, phase by phase: warm up, faults, heal, demand, damaged logs, the final scan, the checker.

use super::cold_starts;
use super::faults::{self, Field};
use super::fleet::Fleet;
use super::kind::Mix;
use super::plan::{self, Planned};
use super::progress::Progress;
use super::report::{Done, Report};
use super::watch::Probe;
use crate::ledger::replicas_agree;
use crate::spec::{Spec, name};
use crate::wait::until;
use crate::workload::{
    Recorder, Settings, Targets, Workload, WorkloadWorld, final_scan, policy, recorder, run_clock,
};
use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hapax_checker::history::{Fault, Header, History, Phase, PlannedFault, Writer};
use hapax_client::{Client, ClientConfig};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Data shards, each on all three nodes.
const SHARDS: u32 = 4;
const NODES: usize = 3;
/// Deadlines of the load's policies, against their shortest.
const SCALE: u64 = 4;
/// Faults under way at the same time.
const AT_ONCE: usize = 4;
/// Operations before the first fault.
const WARM_UP_OPERATIONS: u64 = 3000;
const WARM_UP_WITHIN: Duration = Duration::from_secs(60);
/// The longest that a fault may take, its proof included.
const FAULT_WITHIN: Duration = Duration::from_secs(150);
/// The promise: a shard with a quorum serves so soon after the faults' end.
const SERVES_WITHIN: Duration = Duration::from_secs(10);
/// How long the load goes on after that.
const HEALED_FOR: Duration = Duration::from_secs(3);
/// How long the load may take to end, and the final scan.
const ENDS_WITHIN: Duration = Duration::from_secs(120);
const SCANNED_WITHIN: Duration = Duration::from_secs(300);
/// What may lie between a node's clock and the recorder's, with processes that wait for a processor, ms.
const SLACK_MS: u64 = 50;
/// Below this span a run is too short to hear everything.
const WHOLE: Duration = Duration::from_secs(120);
/// What a whole run must have heard.
const REPLIES: [&str; 23] = [
    "granted",
    "in_flight",
    "mismatch",
    "ended",
    "in_doubt",
    "replayed",
    "spent",
    "renewed",
    "completed",
    "already_completed",
    "conflict",
    "released",
    "resolved",
    "not_in_doubt",
    "fenced",
    "forgotten",
    "changed",
    "state",
    "page",
    "error:too_late",
    "error:overloaded",
    "error:unavailable",
    "error:not_leader",
];

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program under test.
    pub program: PathBuf,
    /// The seed of schedule, faults and load.
    pub seed: u64,
    /// How long faults begin.
    pub span: Duration,
    /// How many.
    pub faults: usize,
    /// Of which groups; [`Mix::Packets`] only inside a network of the run's own.
    pub mixes: Vec<Mix>,
    /// Why packets are left out, where they were asked for.
    pub unwired: Option<String>,
    /// Where history, logs and faults are kept when something went wrong.
    pub keep: PathBuf,
    /// Where the history is kept in any case.
    pub history: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// When the cluster cannot even be started, or nothing can be written; all else is in the report.
pub async fn run(options: &Options) -> Result<Report> {
    let spec = Spec::nodes(NODES)
        .shards(SHARDS)
        .extra("segment_bytes = 50331648\n\n[limits]\nlog_entries_per_shard = 100\n")
        // About what a frame of the load has for each shard, so that a burst is over it however slow the machine is.
        .extra("queue_calls_per_shard = 64\n")
        .extra(&policy::toml(SCALE)?);
    let fleet = Arc::new(Fleet::start(&options.program, spec, options.mixes.contains(&Mix::Packets)).await?);
    let (began, mut report) = (Instant::now(), Report::default());
    report.unwired.clone_from(&options.unwired);
    let plan = plan::draw(options.seed, &options.mixes, options.faults, options.span);
    let wall = SystemTime::now();
    let last = plan::last(&plan, &options.mixes);
    let all: Vec<Planned> = plan.iter().chain(&last).cloned().collect();
    let recorder = Recorder::in_memory(header(options, &all)?, run_clock());
    let progress = Progress::start(all.len(), Arc::clone(&recorder));
    if let Err(error) = phases(options, (plan, last), &fleet, &recorder, &progress, &mut report).await {
        report.wrong.push(format!("{error:#}"));
    }
    if let Err(error) = fleet.check_logs() {
        report.wrong.push(format!("{error:#}"));
    }
    for done in &report.done {
        recorder.fault(recorded(done, began));
    }
    let mut history = recorder.finish()?.context("the history is in memory")?;
    match cold_starts::jumps(&fleet, &history.operations, wall) {
        Ok((jumps, wrong)) => {
            history.header.clock.jumps = jumps;
            report.wrong.extend(wrong);
        }
        Err(error) => report.wrong.push(format!("{error:#}")),
    }
    if options.span >= WHOLE {
        history.header.expect.replies = REPLIES.map(str::to_owned).to_vec();
    }
    progress.begins(&format!("the checker judges {} operations", history.operations.len()));
    judge(&history, &mut report);
    progress.begins("judged");
    if let Some(file) = &options.history {
        write(&history, file)?;
    }
    if !report.wrong.is_empty() || report.is_void {
        std::fs::create_dir_all(&options.keep)?;
        std::fs::write(options.keep.join("faults"), report.lines(began))?;
        write(&history, &options.keep.join("history.jsonl"))?;
        fleet.keep_logs(&options.keep)?;
    }
    if let Ok(fleet) = Arc::try_unwrap(fleet) {
        fleet.remove();
    }
    Ok(report)
}

/// What holds for the whole run. Wall clocks are wrong on one node at a time, which may draw log time by what
/// the protocol's rates allow; no jump is allowed, since nodes come back with the machine's time.
fn header(options: &Options, plan: &[Planned]) -> Result<Header> {
    let mut header = Header::new("chaos on real processes", options.seed);
    header.nodes = u32::try_from(NODES)?;
    header.shards = SHARDS;
    header.policies = recorder::policies(SCALE)?;
    header.clock.slack_ms = SLACK_MS;
    let told = |planned: &Planned| PlannedFault {
        id: planned.id,
        kind: planned.kind.name().to_owned(),
        target: String::new(),
    };
    header.planned = plan.iter().map(told).collect();
    let faults = options.span.as_secs() * 100;
    header.expect.successes =
        [(Phase::WarmUp, 1000), (Phase::Faults, faults), (Phase::Healed, 200)].into_iter().collect();
    Ok(header)
}

fn recorded(done: &Done, began: Instant) -> Fault {
    let us = |at: Instant| u64::try_from(at.saturating_duration_since(began).as_micros()).unwrap_or(u64::MAX);
    let (proved, evidence) = match &done.proof {
        Ok(proof) => (true, proof.clone()),
        Err(why) => (false, why.clone()),
    };
    Fault {
        planned: Some(done.planned.id),
        kind: done.planned.kind.name().to_owned(),
        target: String::new(),
        at_us: us(done.span.0),
        proved,
        evidence,
        healed_at_us: Some(us(done.span.1)),
        served_again_us: done.served_after.map(|after| us(done.span.1 + after)),
    }
}

fn judge(history: &History, report: &mut Report) {
    let verdict = hapax_checker::check(history, &hapax_checker::Options::default());
    report.operations = verdict.operations;
    let answered = verdict.replies.iter().filter(|(kind, _)| !kind.starts_with("error:") && *kind != "none");
    report.answered = answered.map(|(_, count)| count).sum();
    report.verdict = verdict.to_string();
    let is_clean = verdict.violations.is_empty() && verdict.unknown.is_empty();
    report.is_void = report.wrong.is_empty() && is_clean && !verdict.void.is_empty();
    if !verdict.is_accepted() && !report.is_void {
        report.wrong.push("the checker rejects the history".to_owned());
    }
}

fn write(history: &History, file: &Path) -> Result<()> {
    let out = std::io::BufWriter::new(std::fs::File::create(file)?);
    let mut writer = Writer::new(out, &history.header)?;
    history.operations.iter().try_for_each(|operation| writer.operation(operation))?;
    history.faults.iter().try_for_each(|fault| writer.fault(fault))?;
    history.logs.iter().try_for_each(|log| writer.log(log))?;
    writer.end()?;
    Ok(())
}

async fn phases(
    options: &Options,
    (plan, last): (Vec<Planned>, Option<Planned>),
    fleet: &Arc<Fleet>,
    recorder: &Arc<Recorder>,
    progress: &Arc<Progress>,
    report: &mut Report,
) -> Result<()> {
    progress.begins("the load warms up");
    let world = WorkloadWorld::real(options.seed);
    let targets = |nodes: Vec<String>| Targets { nodes, shards: SHARDS };
    let load = Workload::start(world.clone(), targets(fleet.seeds()), Settings::real(), Arc::clone(recorder));
    let load = Arc::new(load);
    let probe = Arc::new(Probe::start(fleet.seeds(), SHARDS).await?);
    until("the load to warm up", WARM_UP_WITHIN, async || match recorder.tally().operations() {
        done if done >= WARM_UP_OPERATIONS => Ok(()),
        done => Err(format!("{done} operations are done")),
    })
    .await?;
    let peak = load.peak(&targets(fleet.direct())).await;
    progress.begins(&format!("the faults begin; {peak:.0} calls a second were acknowledged at most"));
    recorder.set_phase(Phase::Faults);
    let field = Field {
        fleet: Arc::clone(fleet),
        probe: Arc::clone(&probe),
        shards: SHARDS,
        load: Arc::clone(&load),
        peak: Arc::new(Mutex::new(peak)),
    };
    let (faults_done, died) = faults(plan, &field, progress).await;
    drop(field);
    report.done = faults_done;
    report.wrong.extend(died);
    progress.begins("the faults are over; all is healed");
    heal(fleet).await.context("after the faults were taken back")?;
    let healed = Instant::now();
    let served = probe.served(healed, SERVES_WITHIN).await;
    report.measure(&probe);
    served.context("after the faults")?;
    recorder.set_phase(Phase::Healed);
    sleep(HEALED_FOR).await;
    let load = Arc::try_unwrap(load).ok().context("somebody still holds the load")?;
    timeout(ENDS_WITHIN, load.stop()).await.context("the load did not end")?;
    progress.begins("the load has ended; replicas are compared");
    let client = Client::connect(ClientConfig::new(fleet.direct())).await?;
    if let Some(mut probe) = Arc::into_inner(probe) {
        probe.stop().await;
    }
    report.compared = replicas_agree(&client, NODES).await?;
    if let Some(planned) = last {
        progress.begins("a log is damaged on every node");
        let done = damaged_logs(fleet, planned).await?;
        progress.fault_ends(&done);
        report.done.push(done);
    }
    progress.begins("everything is read back from every node");
    report.read_back = final_scan(&world, &targets(fleet.direct()), recorder, SCANNED_WITHIN).await?;
    Ok(())
}

/// Does all faults of the schedule, several at once. Beside them, what nodes ended without any being to blame.
async fn faults(plan: Vec<Planned>, field: &Field, progress: &Progress) -> (Vec<Done>, Vec<String>) {
    let began = Instant::now();
    let (mut under_way, mut done) = (FuturesUnordered::new(), Vec::new());
    let watched = Arc::clone(&field.fleet);
    let died = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&died);
    let watching = tokio::spawn(async move { revive(&watched, &told).await });
    for planned in plan {
        loop {
            tokio::select! {
                Some(ended) = under_way.next() => done.push(ended),
                () = sleep_until(began + planned.at), if under_way.len() < AT_ONCE => break,
            }
        }
        under_way.push(Box::pin(perform(field, planned, progress)));
    }
    while let Some(ended) = under_way.next().await {
        done.push(ended);
    }
    done.sort_by_key(|done| done.span.0);
    watching.abort();
    let died = std::mem::take(&mut *died.lock());
    (done, died)
}

async fn perform(field: &Field, planned: Planned, progress: &Progress) -> Done {
    progress.fault_begins(planned.kind);
    let from = Instant::now();
    let proof = timeout(FAULT_WITHIN, field.perform(planned.kind, planned.seed)).await;
    let proof = match proof {
        Ok(Ok(proof)) => Ok(proof),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err("it did not end".to_owned()),
    };
    let done = Done { planned, span: (from, Instant::now()), proof, served_after: None, alone_after: None };
    progress.fault_ends(&done);
    done
}

/// Starts nodes again that ended although nobody did anything to their process, and tells.
async fn revive(fleet: &Fleet, told: &Mutex<Vec<String>>) {
    loop {
        sleep(Duration::from_millis(200)).await;
        for node in 0..fleet.len() {
            let Ok(_seat) = fleet.seats[node].try_lock() else { continue };
            if let Some(status) = fleet.ended(node) {
                told.lock().push(format!("{} ended by itself: {status}", name(node)));
            }
            if !fleet.runs(node)
                && let Err(error) = fleet.launch(node)
            {
                told.lock().push(format!("{error:#}"));
            }
        }
    }
}

/// Takes every fault back and waits until all nodes are ready.
async fn heal(fleet: &Fleet) -> Result<()> {
    fleet.network.heal();
    for node in 0..fleet.len() {
        fleet.order(node, |orders| {
            orders.clock = Default::default();
            (orders.disk.full, orders.disk.slow_ms, orders.disk.stalled) = (false, 0, false);
        })?;
    }
    for node in 0..fleet.len() {
        if !fleet.runs(node) {
            fleet.launch(node)?;
        }
        fleet.ready(node).await?;
    }
    Ok(())
}

/// The last fault: each node loses a replica for good, each shard keeps two of three.
async fn damaged_logs(fleet: &Fleet, planned: Planned) -> Result<Done> {
    let from = Instant::now();
    let proof = faults::damage_logs(fleet, SHARDS).await.map_err(|error| format!("{error:#}"));
    let to = Instant::now();
    let probe = Probe::start(fleet.direct(), SHARDS).await?;
    let served = probe.served(to, SERVES_WITHIN).await.context("after the logs were damaged")?;
    let after = Some(served - to);
    Ok(Done { planned, span: (from, to), proof, served_after: after, alone_after: after })
}
