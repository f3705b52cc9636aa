//! From the start of all node processes on their old directories to their first answers.

use super::Session;
use super::bench::{Bench, Load, as_f64};
use super::probe::first_writes;
use super::report::Figures;
use super::shape::{Axis, MIB, MS, Panel, Shape, column, line};
use anyhow::{Result, bail};
use std::time::Duration;
use tokio::time::Instant;

/// Callers of the load before a kill.
const CALLERS: usize = 64;

pub(super) static RESTART: Shape = Shape {
    name: "restart",
    title: "Start of all nodes over live records",
    x: Axis { label: "live records", is_log: true },
    series: "before",
    columns: &[
        column("ready_ms", "ready ms", 1.0, 0),
        column("served_ms", "all shards answer ms", 1.0, 0),
        column("log_live_bytes", "log MiB", MIB, 1),
        column("stop_ms", "stop ms", 1.0, 0),
    ],
    panels: &[Panel {
        y: "from the start to an answer of every shard, s",
        is_log: false,
        lines: &[line("served_ms", "", MS)],
    }],
};

pub(super) static AFTER_LOAD: Shape = Shape {
    name: "restart-after-load",
    title: "Start of all nodes that were killed right behind a load",
    x: Axis { label: "seconds of load before the kill", is_log: true },
    series: "records",
    columns: &[
        column("ready_ms", "ready ms", 1.0, 0),
        column("served_ms", "all shards answer ms", 1.0, 0),
        column("log_live_bytes", "log MiB", MIB, 1),
        column("log_entries_kept", "log entries", 1.0, 0),
        column("load_ops", "operations before", 1.0, 0),
    ],
    panels: &[
        Panel {
            y: "from the start to an answer of every shard, s",
            is_log: false,
            lines: &[line("served_ms", "", MS)],
        },
        Panel { y: "live log of all nodes, MiB", is_log: false, lines: &[line("log_live_bytes", "", MIB)] },
    ],
};

/// Kills and starts the nodes, stops and starts them, and kills them right behind loads.
pub(super) async fn run(session: &mut Session<'_>, bench: &mut Bench) -> Result<()> {
    let records = as_f64(bench.records());
    for round in 1..=session.plan.rounds {
        let mut figures = log(bench).await?;
        kill_all(bench);
        figures.extend(start(session, bench).await?);
        session.point(&RESTART, records, "killed", round, figures);

        let mut figures = log(bench).await?;
        let began = Instant::now();
        bench.nodes.stop_all().await?;
        figures.insert("stop_ms", ms(began.elapsed()));
        figures.extend(start(session, bench).await?);
        session.point(&RESTART, records, "stopped", round, figures);
    }
    for round in 1..=session.plan.rounds {
        for seconds in session.plan.bursts.clone() {
            let lasts = Duration::from_secs_f64(seconds);
            let report = bench.load(Load { workers: CALLERS, replays: 0.0, rate: None, lasts }).await?;
            let mut figures = log(bench).await?;
            kill_all(bench);
            session.check(AFTER_LOAD.name, &report);
            figures.insert("load_ops", as_f64(report.all.ops));
            figures.insert("records", as_f64(bench.records()));
            figures.extend(start(session, bench).await?);
            let series = super::report::number(records, 0);
            session.point(&AFTER_LOAD, seconds, &series, round, figures);
        }
    }
    Ok(())
}

/// Starts all, and reads some keys back: what was acknowledged is there.
async fn start(session: &mut Session<'_>, bench: &mut Bench) -> Result<Figures> {
    let began = Instant::now();
    bench.nodes.start_all()?;
    bench.nodes.ready().await?;
    let ready = began.elapsed();
    bench.connect().await?;
    let store = bench.store()?.clone();
    let shards: Vec<usize> = (0..store.shards()).collect();
    let answers = first_writes(&store, &shards, began).await?;
    let Some(served) = answers.last() else { bail!("there are no shards") };
    let figures = Figures::from([("ready_ms", ms(ready)), ("served_ms", ms(*served))]);
    let (_, lost) =
        bench.read_back(Load { workers: 1, replays: 0.0, rate: None, lasts: Duration::ZERO }).await;
    for lost in lost.into_iter().take(10) {
        session.wrong(format!("after a start: {lost}"));
    }
    Ok(figures)
}

/// All at once, as far as one process can.
fn kill_all(bench: &mut Bench) {
    for index in 0..bench.nodes.count() {
        bench.nodes.kill(index);
    }
}

/// What of the log a start has to look at, on all nodes together.
async fn log(bench: &Bench) -> Result<Figures> {
    let (mut bytes, mut entries) = (0.0, 0.0);
    for index in 0..bench.nodes.count() {
        let metrics = bench.nodes.metrics(index).await?;
        bytes += metrics.sum("hapax_log_live_bytes");
        entries += metrics.sum("hapax_shard_applied_index") - metrics.sum("hapax_shard_purged_index");
    }
    Ok(Figures::from([("log_live_bytes", bytes), ("log_entries_kept", entries)]))
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * MS
}
