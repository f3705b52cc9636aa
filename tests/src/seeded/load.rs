//! The recorded load over three nodes that all have one bug, and what the checker says to it.

use super::suite::VARIABLE;
use crate::workload::{
    Recorder, Settings, Targets, Workload, WorkloadWorld, final_scan, policy, recorder, run_clock,
};
use crate::{Spec, TestCluster, until};
use anyhow::{Context as _, Result};
use hapax_checker::history::{Header, Phase};
use hapax_checker::{Options, Tier, check};
use hapax_core::seeded::Bug;
use std::time::{Duration, Instant};

const SHARDS: u32 = 4;
const SEED: u64 = 7;
/// The load ends after so many operations, or this long.
const OPERATIONS: u64 = 40_000;
const LOAD: Duration = Duration::from_secs(10);
/// The final scan may take so long: with some bugs nodes answer nothing any more.
const SCAN: Duration = Duration::from_secs(30);

/// What the checker said.
#[derive(Debug)]
pub struct Judged {
    /// How many operations there were.
    pub operations: u64,
    /// For each tier, how much it found and the rule that it found broken most often.
    pub found: Vec<(Tier, u64, String)>,
    /// Whether the run proves nothing, or the verdict is open.
    pub void: Vec<String>,
    /// How long load, scan and check took.
    pub took: Duration,
}

impl Judged {
    /// Whether nothing was found wrong.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.found.iter().all(|(_, count, _)| *count == 0) && self.void.is_empty()
    }
}

/// Runs the load with a bug in every node.
///
/// # Errors
/// When the cluster does not start, or the load cannot run.
pub async fn run(program: &str, bug: Option<Bug>) -> Result<Judged> {
    let begun = Instant::now();
    let spec = Spec::nodes(3).shards(SHARDS).extra(&policy::toml(1)?);
    let spec = spec.environment(VARIABLE, bug.map_or("", Bug::name));
    let cluster = TestCluster::start(program, spec).await?;
    let mut header = Header::new("a load over nodes with a seeded bug", SEED);
    header.shards = SHARDS;
    header.policies = recorder::policies(1)?;
    let world = WorkloadWorld::real(SEED);
    let targets = Targets { nodes: (0..3).map(|i| cluster.client_addr(i)).collect(), shards: SHARDS };
    let recorder = Recorder::in_memory(header, run_clock());
    let load = Workload::start(world.clone(), targets.clone(), Settings::real(), recorder.clone());
    let enough = until("enough operations", LOAD, async || {
        let done = recorder.tally().operations();
        if done >= OPERATIONS { Ok(()) } else { Err(done.to_string()) }
    })
    .await;
    load.stop().await;
    recorder.set_phase(Phase::Healed);
    let read = final_scan(&world, &targets, &recorder, SCAN).await;
    // Nodes may well have ended by what they do wrong.
    let ended = cluster.finish();
    let history = recorder.finish()?.context("it is in memory")?;
    let verdict = check(&history, &Options { final_scan: read.is_ok(), ..Options::default() });
    let found = [Tier::Scan, Tier::Witness, Tier::Blind].map(|tier| {
        let prefix = format!("{}: ", tier.name());
        let of_tier = verdict.counts.iter().filter_map(|(rule, count)| {
            rule.strip_prefix(prefix.as_str()).map(|rule| (*count, rule.to_owned()))
        });
        let most = of_tier.clone().max().map_or_else(String::new, |(_, rule)| rule);
        (tier, of_tier.map(|(count, _)| count).sum(), most)
    });
    let mut void = [verdict.void, verdict.unknown].concat();
    void.extend(read.err().map(|error| format!("final scan: {error:#}")));
    void.extend(ended.err().map(|error| format!("{error:#}")));
    let short = enough.is_err() && history.operations.len() < 1000;
    void.extend(short.then(|| "hardly anything was answered".to_owned()));
    Ok(Judged { operations: verdict.operations, found: found.to_vec(), void, took: begun.elapsed() })
}

/// The head of the table.
#[must_use]
pub fn head() -> String {
    "| bug | operations | scan | replay | blind | seconds | |\n|---|---|---|---|---|---|---|".to_owned()
}

/// A row of the table.
#[must_use]
pub fn row(bug: Option<Bug>, judged: &Result<Judged>) -> String {
    let name = bug.map_or("(none)", Bug::name);
    match judged {
        Err(error) => format!("| {name} | | | | | | the run failed: {error:#} |"),
        Ok(judged) => {
            let cell = |(_, count, rule): &(Tier, u64, String)| match count {
                0 => "-".to_owned(),
                count => format!("{count}, {rule}"),
            };
            let cells: Vec<String> = judged.found.iter().map(cell).collect();
            let (operations, took) = (judged.operations, judged.took.as_secs_f64());
            let void = judged.void.first().map(String::as_str).unwrap_or_default();
            format!("| {name} | {operations} | {} | {took:.1} | {void} |", cells.join(" | "))
        }
    }
}
