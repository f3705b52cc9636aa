//! Over live records: one cluster that grows.
//!
//! At each size the usual mix is measured, with replays drawn over all keys, so that the record store is read; then all
//! nodes are killed, stopped and started again. What those loads add is a part of the next size.

use super::Session;
use super::Topic;
use super::bench::{Bench, Load, as_f64};
use super::report::{Figures, number};
use super::restart;
use super::shape::{Axis, Column, Line, MIB, MS, Of, P99, Panel, Shape, column, line};
use crate::servers::nodes::disk_bytes;
use anyhow::{Context as _, Result};

/// The size of results.
const VALUE_BYTES: usize = 64;
/// Callers that are measured; the last number fills.
const CALLERS: [usize; 2] = [64, 512];
/// Percent of calls.
const REPLAYS: f64 = 20.0;

static SHAPE: Shape = Shape {
    name: "records",
    title: "Live records",
    x: Axis { label: "live records", is_log: true },
    series: "callers",
    columns: &[
        column("ops_per_s", "ops/s", 1.0, 0),
        Column { of: Of::ByFirst, ..column("ops_per_s", "by the first", 1.0, 2) },
        column("p50_us", "p50 ms", MS, 2),
        column("p99_us", "p99 ms", MS, 1),
        column("cpu_us_per_op", "CPU µs/op", 1.0, 1),
        column("bytes_written_per_op", "B written/op", 1.0, 0),
        column("resident_bytes", "RSS MiB", MIB, 0),
        column("resident_bytes_per_record", "RSS B/record", 1.0, 1),
        column("records_disk_bytes_per_record", "records B/record", 1.0, 0),
        column("log_disk_bytes", "log MiB", MIB, 0),
        column("fill_keys_per_s", "fill keys/s", 1.0, 0),
        column("errors", "errors", 1.0, 0),
    ],
    panels: &[
        Panel {
            y: "operations a second, by the first",
            is_log: false,
            lines: &[Line { of: Of::ByFirst, ..line("ops_per_s", "", 1.0) }],
        },
        P99,
        Panel { y: "RSS of all nodes, MiB", is_log: false, lines: &[line("resident_bytes", "", MIB)] },
    ],
};

/// Grows a cluster, and measures what was asked for at each size. Where it cannot go on, the sizes behind are left out.
pub(super) async fn run(session: &mut Session<'_>) {
    if let Err(error) = Box::pin(grow(session)).await {
        session.failed("records and restart", &error);
    }
}

async fn grow(session: &mut Session<'_>) -> Result<()> {
    let nodes = session.plan.record_nodes;
    let [.., most] = CALLERS;
    let mut bench = Bench::start(&session.cluster(nodes, None), most, VALUE_BYTES).await?;
    let empty = bench.nodes.servers().resident_bytes()?;
    for records in session.plan.records.clone() {
        let fill = fill(session, &mut bench, records).await?;
        if session.plan.topics.contains(&Topic::Records) {
            measure(session, &mut bench, empty, &fill).await?;
        }
        if session.plan.topics.contains(&Topic::Restart) {
            restart::run(session, &mut bench).await.with_context(|| format!("restart at {records}"))?;
        }
    }
    Ok(())
}

async fn fill(session: &mut Session<'_>, bench: &mut Bench, records: u64) -> Result<Figures> {
    let whole = number(as_f64(records), 0);
    let tell = &mut *session.tell;
    let told = |done: u64| tell(&format!("records: {} of {whole} keys", number(as_f64(done), 0)));
    let filled = bench.fill(records, told).await?;
    let keys_per_s = as_f64(filled.keys) / filled.took.as_secs_f64().max(1e-3);
    (session.tell)(&format!("records: {whole} keys, {} a second", number(keys_per_s, 0)));
    for wrong in filled.wrong_examples {
        session.wrong(format!("while filling: {wrong}"));
    }
    Ok(if filled.keys > 0 { Figures::from([("fill_keys_per_s", keys_per_s)]) } else { Figures::new() })
}

async fn measure(session: &mut Session<'_>, bench: &mut Bench, empty: u64, fill: &Figures) -> Result<()> {
    let records = bench.records();
    for round in 1..=session.plan.rounds {
        for workers in CALLERS {
            let load = Load { workers, replays: REPLAYS, rate: None, lasts: session.plan.measured };
            let (report, mut figures) = bench.measure(session.plan.warm_up, load).await?;
            session.check(&format!("records, {records}, {workers} callers"), &report);
            figures.extend(fill.clone());
            figures.extend(space(bench, empty)?);
            session.point(&SHAPE, as_f64(records), &workers.to_string(), round, figures);
        }
    }
    Ok(())
}

/// Memory and disk, also by each record that a node holds: of a cluster of three or more, each is on three.
fn space(bench: &Bench, empty: u64) -> Result<Figures> {
    let records = bench.records();
    let held = as_f64(records * bench.nodes.count().min(3) as u64);
    let resident = bench.nodes.servers().resident_bytes()?;
    let (mut in_records, mut in_log) = (0, 0);
    for index in 0..bench.nodes.count() {
        in_records += disk_bytes(&bench.nodes.data_dir(index, "records"))?;
        in_log += disk_bytes(&bench.nodes.data_dir(index, "log"))?;
    }
    Ok(Figures::from([
        ("records", as_f64(records)),
        ("resident_bytes", as_f64(resident)),
        ("resident_bytes_per_record", as_f64(resident.saturating_sub(empty)) / held),
        ("records_disk_bytes", as_f64(in_records)),
        ("records_disk_bytes_per_record", as_f64(in_records) / held),
        ("log_disk_bytes", as_f64(in_log)),
    ]))
}
