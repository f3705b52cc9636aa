//! The death of the node that leads most shards, over shards: how long each of them acknowledges no write.
//!
//! Contract: 64 callers go on meanwhile, at a rate far below what the cluster can do; their answers are checked, and
//! keys that were completed before and after are read back. The time of a shard runs from right before the kill to the
//! first grant of a claim that was sent after it. The next kill comes when the node is back and the shards are led as they
//! were at first, or after a while where they are not led so again.

use super::Session;
use super::bench::{Bench, Load, as_f64, figures};
use super::probe::first_writes;
use super::report::Figures;
use super::restart::ms;
use super::shape::{Axis, Column, Line, MS, Of, Panel, Shape, column, line};
use anyhow::{Context as _, Result, bail};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NODES: u16 = 3;
const SHARDS: [u32; 5] = [1, 3, 8, 16, 64];
const VALUE_BYTES: usize = 64;
/// The load meanwhile: callers, calls a second, and how long before and in all.
const CALLERS: usize = 64;
const RATE: f64 = 1000.0;
const BEFORE: Duration = Duration::from_secs(1);
const IN_ALL: Duration = Duration::from_secs(5);
/// How long a cluster may take until its leaders are where they were.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

static SHAPE: Shape = Shape {
    name: "failover",
    title: "Death of a leader, three nodes",
    x: Axis { label: "shards", is_log: true },
    series: "",
    columns: &[
        column("led", "shards led", 1.0, 0),
        column("p50_ms", "p50 of shards ms", 1.0, 0),
        column("slowest_ms", "slowest shard ms", 1.0, 0),
        Column { of: Of::Highest, ..column("slowest_ms", "slowest of all kills ms", 1.0, 0) },
        column("max_us", "slowest call of the load ms", MS, 0),
        column("errors", "errors of the load", 1.0, 0),
    ],
    panels: &[Panel {
        y: "from the kill to the next acknowledged write, ms",
        is_log: false,
        lines: &[
            line("p50_ms", "p50 of shards", 1.0),
            line("slowest_ms", "slowest shard", 1.0),
            Line { of: Of::Highest, ..line("slowest_ms", "slowest of all kills", 1.0) },
        ],
    }],
};

/// Kills leaders at each number of shards.
pub(super) async fn run(session: &mut Session<'_>) {
    for shards in SHARDS {
        if let Err(error) = Box::pin(with_shards(session, shards)).await {
            session.failed(&format!("failover, {shards} shards"), &error);
        }
    }
}

async fn with_shards(session: &mut Session<'_>, shards: u32) -> Result<()> {
    let cluster = session.cluster(NODES, Some(shards));
    let mut bench = Bench::start(&cluster, CALLERS, VALUE_BYTES).await?;
    let first = settled(&bench, shards, None).await?;
    let mut leaders = first.clone();
    for repeat in 1..=session.plan.repeats {
        if repeat > 1 {
            bench.nodes.start_all()?;
            bench.nodes.ready().await?;
            leaders = settled(&bench, shards, Some(&first)).await?;
        }
        let most = leaders.iter().enumerate().max_by_key(|(_, led)| led.len());
        let (victim, led) = most.context("there are no nodes")?;
        let figures = kill(session, &mut bench, victim, led).await?;
        session.point(&SHAPE, f64::from(shards), "", repeat, figures);
    }
    Ok(())
}

/// Kills a node in the middle of a load.
async fn kill(session: &mut Session<'_>, bench: &mut Bench, victim: usize, led: &[usize]) -> Result<Figures> {
    let load = Load { workers: CALLERS, replays: 20.0, rate: Some(RATE), lasts: IN_ALL };
    let loaded = bench.aside(load)?;
    let store = bench.store()?.clone();
    let killed = async {
        sleep(BEFORE).await;
        let since = Instant::now();
        bench.nodes.kill(victim);
        first_writes(&store, led, since).await
    };
    let (report, times) = tokio::join!(loaded, killed);
    let (mut report, times) = (report?, times?);
    report.read_back(bench.read_back(load).await);
    session.check(SHAPE.name, &report);
    let mut figures = figures(&report);
    figures.insert("led", as_f64(led.len() as u64));
    figures.extend(times.get(times.len().saturating_sub(1) / 2).map(|time| ("p50_ms", ms(*time))));
    figures.extend(times.last().map(|time| ("slowest_ms", ms(*time))));
    Ok(figures)
}

/// The shards that each node leads, once each has a leader to which no replica lags; and once they are led as `wanted`,
/// unless that takes too long.
async fn settled(bench: &Bench, shards: u32, wanted: Option<&[Vec<usize>]>) -> Result<Vec<Vec<usize>>> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let (leaders, lag) = look(bench).await?;
        let led: usize = leaders.iter().map(Vec::len).sum();
        let is_whole = led == shards as usize && lag == 0.0;
        let is_late = Instant::now() > deadline;
        if is_whole && (is_late || wanted.is_none_or(|wanted| wanted == leaders.as_slice())) {
            return Ok(leaders);
        }
        if is_late {
            bail!("{led} of {shards} shards have a leader after {} s", SETTLED_WITHIN.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The shards that each node says it leads, and by how many entries replicas lag.
async fn look(bench: &Bench) -> Result<(Vec<Vec<usize>>, f64)> {
    let (mut leaders, mut lag) = (Vec::new(), 0.0);
    for index in 0..bench.nodes.count() {
        let metrics = bench.nodes.metrics(index).await?;
        let led = metrics.samples("hapax_shard_leader").filter(|(_, leads)| *leads > 0.0);
        leaders.push(led.filter_map(|(labels, _)| shard_of(labels)).collect());
        lag += metrics.sum("hapax_shard_replication_lag_entries");
    }
    Ok((leaders, lag))
}

/// The shard that is named among a sample's labels.
fn shard_of(labels: &str) -> Option<usize> {
    labels.split(',').find_map(|label| label.strip_prefix("shard=\"")?.strip_suffix('"'))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_told_by_their_label() {
        assert_eq!(shard_of("shard=\"12\""), Some(12));
        assert_eq!(shard_of("node=\"a\",shard=\"3\""), Some(3));
        assert_eq!(shard_of("verb=\"claim\""), None);
    }
}
