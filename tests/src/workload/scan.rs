//! The final scan: after healing, every address that was ever granted, read through every node.

use super::WorkloadWorld;
use super::asks;
use super::caller::{Caller, DEADLINE_MS};
use super::recorder::Recorder;
use super::rng::Rng;
use super::session::Heard;
use super::targets::{Lane, Routes, Targets};
use anyhow::{Result, ensure};
use hapax_checker::history::{Name, Phase};
use hapax_core::request::{GetAsk, ListAsk};
use hapax_core::{Ask, Reply, Request, Tenant};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Reads sent at once.
const READS: usize = 256;

/// Reads everything through every node and records it as the final phase; returns the reads that
/// were answered.
///
/// # Errors
/// When something is not answered `within`.
pub async fn final_scan(
    world: &WorkloadWorld,
    targets: &Targets,
    recorder: &Arc<Recorder>,
    within: Duration,
) -> Result<u64> {
    recorder.set_phase(Phase::Final);
    let deadline = Instant::now() + within;
    let routes = Arc::new(Routes::new(targets));
    let lane = Arc::new(Lane::new(Arc::clone(&world.network), targets, Arc::clone(&routes)));
    let mut caller = Caller {
        lane,
        routes,
        recorder: Arc::clone(recorder),
        rng: Rng::new(world.seed, u64::MAX - 1),
        client: Name::from("scan"),
        shards: targets.shards,
    };
    let gets: Vec<Request> = recorder
        .granted()
        .into_iter()
        .map(|(address, fingerprint)| {
            let fingerprint = Some(fingerprint);
            asks::request(Ask::Get(GetAsk { address, fingerprint, wait_ms: 0, stale: false }))
        })
        .collect();
    let mut read = 0;
    for node in 0..targets.nodes.len() {
        for some in gets.chunks(READS) {
            read += read_all(&mut caller, node, some, deadline).await?;
        }
    }
    Ok(read + list_all(&mut caller, targets, deadline).await?)
}

async fn read_all(caller: &mut Caller, node: usize, wanted: &[Request], deadline: Instant) -> Result<u64> {
    let mut missing = wanted.to_vec();
    while !missing.is_empty() {
        let heard = caller.call_all(node, &missing, DEADLINE_MS).await;
        let is_answered = |heard: &Heard| match heard {
            Heard::Answer(answer) => !matches!(answer.reply, Reply::Error(_)),
            Heard::NotSent | Heard::Lost => false,
        };
        let again = missing.iter().zip(&heard).filter(|(_, heard)| !is_answered(heard));
        missing = again.map(|(request, _)| request.clone()).collect();
        if !missing.is_empty() {
            let last = heard.iter().find(|heard| !is_answered(heard));
            ensure!(
                Instant::now() < deadline,
                "node {node} does not answer {} reads: {last:?}",
                missing.len()
            );
            caller.pause().await;
        }
    }
    Ok(wanted.len() as u64)
}

/// Every page of every tenant on every shard, once.
async fn list_all(caller: &mut Caller, targets: &Targets, deadline: Instant) -> Result<u64> {
    let mut pages = 0;
    for family in &super::policy::FAMILIES {
        for name in super::policy::TENANTS {
            for shard in 0..targets.shards {
                let tenant = Tenant::new(format!("{}/{name}", family.name))?;
                let mut ask =
                    ListAsk { shard, tenant, operation: None, state: None, after: None, limit: 1000 };
                loop {
                    let request = asks::request(Ask::List(ask.clone()));
                    let reply = caller.insist(&request, 8).await;
                    if let Some(Reply::Page(page)) = reply {
                        pages += 1;
                        match page.next {
                            Some(next) => ask.after = Some(next),
                            None => break,
                        }
                    } else {
                        ensure!(Instant::now() < deadline, "shard {shard} is not listed: {reply:?}");
                    }
                }
            }
        }
    }
    Ok(pages)
}
