//! The load against three real nodes: everything that the protocol can answer comes by, and the
//! checker accepts its history.

use anyhow::{Context as _, Result, bail, ensure};
use hapax_checker::history::{Header, History, Phase, Writer};
use hapax_checker::{Options, check};
use hapax_tests::workload::{
    Recorder, Settings, Targets, Workload, WorkloadWorld, abuse, final_scan, policy, recorder, rng::Rng,
    run_clock,
};
use hapax_tests::{Spec, TestCluster, note, program, until};
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::time::Duration;

const SHARDS: u32 = 4;
const SEED: u64 = 20_261_124;
/// Operations of the run.
const OPERATIONS: u64 = 12_000;
/// Operations of the overload beside it.
const BURST: u32 = 20_000;

/// What must be heard: every reply, and every error that needs no fault.
const REPLIES: [&str; 26] = [
    "granted",
    "in_flight",
    "mismatch",
    "ended",
    "in_doubt",
    "replayed",
    "spent",
    "too_old",
    "renewed",
    "completed",
    "already_completed",
    "conflict",
    "released",
    "resolved",
    "not_in_doubt",
    "fenced",
    "ignored",
    "forgotten",
    "changed",
    "state",
    "page",
    "error:too_late",
    "error:too_large",
    "error:invalid",
    "error:quota",
    "error:overloaded",
];
/// Every state that a get can show.
const STATES: [&str; 6] = ["absent", "claimed", "open", "in_doubt", "completed", "spent"];

fn header() -> Result<Header> {
    let mut header = Header::new("three nodes without faults", SEED);
    header.shards = SHARDS;
    header.policies = recorder::policies(1)?;
    header.expect.replies = REPLIES.map(str::to_owned).to_vec();
    Ok(header)
}

/// Writes a history that was rejected where `hapax-check` can look at it.
fn keep(history: &History) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("hapax-rejected-{}.jsonl", std::process::id()));
    let mut out = Writer::new(BufWriter::new(File::create(&path)?), &history.header)?;
    for operation in &history.operations {
        out.operation(operation)?;
    }
    out.end()?;
    Ok(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_hears_every_reply_and_its_history_is_whole() -> Result<()> {
    let spec = Spec::nodes(3).shards(SHARDS).extra(&policy::toml(1)?);
    let cluster = TestCluster::start(program!(), spec).await?;
    let world = WorkloadWorld::real(SEED);
    let targets = Targets { nodes: (0..3).map(|i| cluster.client_addr(i)).collect(), shards: SHARDS };
    let recorder = Recorder::in_memory(header()?, run_clock());
    let load = Workload::start(world.clone(), targets.clone(), Settings::real(), recorder.clone());
    let missing = || {
        let tally = recorder.tally();
        let replies = REPLIES.iter().filter(|kind| !tally.replies.contains_key(**kind));
        let states = STATES.iter().filter(|state| !tally.states.contains_key(**state));
        replies.chain(states).copied().collect::<Vec<&str>>()
    };
    let overload = load.overload(BURST, Duration::from_secs(30)).await;
    let mut rng = Rng::new(SEED, 1);
    for kind in abuse::Abuse::ALL {
        abuse::abuse(&world, &targets.nodes[0], kind, &mut rng).await?;
    }
    until("every reply and so many operations", Duration::from_secs(90), async || {
        let (missing, done) = (missing(), recorder.tally().operations());
        if missing.is_empty() && done >= OPERATIONS { Ok(()) } else { Err(format!("{done}, {missing:?}")) }
    })
    .await?;
    load.stop().await;
    recorder.set_phase(Phase::Healed);
    let took_us = recorder.now_us();
    let read = final_scan(&world, &targets, &recorder, Duration::from_secs(60)).await?;
    let tally = recorder.tally();
    note!("{} operations in {} ms; final reads: {read}", tally.operations(), took_us / 1000);
    note!("overload: {overload:?}; {tally:?}");
    let history = recorder.finish()?.context("it is in memory")?;
    ensure!(history.operations.len() as u64 == tally.operations(), "operations are missing");
    let verdict = check(&history, &Options::default());
    note!("{verdict}");
    ensure!(verdict.operations == tally.operations(), "operations were not judged");
    if !verdict.is_accepted() {
        bail!("the history is rejected; it is in {}", keep(&history)?.display());
    }
    cluster.finish()
}
