//! Curves of one load on one cluster: each point has a cluster of its own.

mod nodes;
mod replays;
mod shards;
mod value;
mod workers;

use super::bench::{Bench, Load};
use super::report::Figures;
use super::shape::{Column, MS, Shape, column};
use super::{Session, Topic};
use crate::load::Report;
use anyhow::Result;

/// What is kept where the curve is about something else, as in `hapax-bench load`.
const VALUE_BYTES: usize = 256;
/// Percent of calls, likewise.
const REPLAYS: f64 = 20.0;
/// Nodes, likewise.
const NODES: u16 = 3;
/// Callers, where several numbers are of interest.
const CALLERS: [usize; 2] = [64, 512];

/// What most tables tell.
const COLUMNS: [Column; 7] = [
    column("ops_per_s", "ops/s", 1.0, 0),
    column("p50_us", "p50 ms", MS, 2),
    column("p99_us", "p99 ms", MS, 1),
    column("p999_us", "p99.9 ms", MS, 1),
    column("cpu_us_per_op", "CPU µs/op", 1.0, 1),
    column("bytes_written_per_op", "B written/op", 1.0, 0),
    column("errors", "errors", 1.0, 0),
];

/// One point.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    x: f64,
    series: String,
    nodes: u16,
    shards: Option<u32>,
    workers: usize,
    replays: f64,
    value_bytes: usize,
    /// Completed keys before anything is measured.
    filled: u64,
}

impl Setting {
    /// With so many callers, and the rest as it usually is.
    fn usual(x: f64, series: String, workers: usize) -> Self {
        let (nodes, shards, replays, value_bytes, filled) = (NODES, None, REPLAYS, VALUE_BYTES, 0);
        Self { x, series, nodes, shards, workers, replays, value_bytes, filled }
    }
}

/// A point for each place and each number of callers.
fn for_callers(places: &[u32], at: impl Fn(Setting, u32) -> Setting) -> Vec<Setting> {
    let each = |place: u32| {
        CALLERS
            .map(|callers| Setting::usual(f64::from(place), callers.to_string(), callers))
            .map(|setting| at(setting, place))
    };
    places.iter().flat_map(|place| each(*place)).collect()
}

/// All of them.
pub(super) fn all() -> Vec<(Topic, &'static Shape, Vec<Setting>)> {
    vec![
        (Topic::Workers, &workers::SHAPE, workers::settings()),
        (Topic::Shards, &shards::SHAPE, shards::settings()),
        (Topic::Value, &value::SHAPE, value::settings()),
        (Topic::Replays, &replays::SHAPE, replays::settings()),
        (Topic::Nodes, &nodes::SHAPE, nodes::settings()),
    ]
}

/// Measures each point once a round.
pub(super) async fn run(session: &mut Session<'_>, shape: &'static Shape, settings: &[Setting]) {
    for round in 1..=session.plan.rounds {
        for setting in settings {
            let at = shape.place(setting.x, &setting.series);
            match Box::pin(measure(session, setting)).await {
                Ok((report, figures)) => {
                    session.check(&at, &report);
                    session.point(shape, setting.x, &setting.series, round, figures);
                }
                Err(error) => session.failed(&at, &error),
            }
        }
    }
}

async fn measure(session: &mut Session<'_>, setting: &Setting) -> Result<(Report, Figures)> {
    let cluster = session.cluster(setting.nodes, setting.shards);
    let mut bench = Bench::start(&cluster, setting.workers, setting.value_bytes).await?;
    let filled = bench.fill(setting.filled, |_| ()).await?;
    for wrong in filled.wrong_examples {
        session.wrong(format!("while filling: {wrong}"));
    }
    let (workers, replays, lasts) = (setting.workers, setting.replays, session.plan.measured);
    bench.measure(session.plan.warm_up, Load { workers, replays, rate: None, lasts }).await
}
