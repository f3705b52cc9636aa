//! Graceful stops: leaders are handed over first, and a rolling restart under load loses nothing.

use anyhow::{Context as _, Result, ensure};
use hapax_tests::leaders::spread;
use hapax_tests::ledger::{Ledger, replicas_agree};
use hapax_tests::load::{Caller, Load, Progress};
use hapax_tests::{Spec, TestCluster, note, program, until};
use hapax_wire::status::ShardRole;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SHARDS: usize = 16;

/// Waits until the load has gone on for some thousand calls.
async fn under_load(progress: &Progress, load: Load) -> Result<()> {
    let done = progress.done() + 3000;
    until("the load to go on", load.within, async || match progress.done() {
        so_far if so_far >= done => Ok(()),
        so_far => Err(format!("{so_far} calls done")),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_nothing_and_leaders_spread_again() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let client = cluster.client().await?;
    spread(&client, SHARDS).await?;
    let load = Load { keys: 100_000, copies: 3, workers: 32, within: Duration::from_secs(180) };
    let (ledger, progress) = (Arc::new(Ledger::new("orders.place")), Arc::new(Progress::default()));
    let callers = Caller::of(&cluster).await?;
    let running = tokio::spawn(load.run(callers, Arc::clone(&ledger), Arc::clone(&progress)));
    for i in 0..cluster.len() {
        under_load(&progress, load).await?;
        let begun = (Instant::now(), progress.done());
        let status = cluster.stop(i).await?;
        ensure!(status.success(), "node {} ended with {status}", i + 1);
        let stopped = (Instant::now(), progress.done());
        cluster.launch(i)?;
        cluster.ready(i).await?;
        note!(
            "node {} stopped in {:?}, {} calls done meanwhile; ready again in {:?}",
            i + 1,
            stopped.0 - begun.0,
            stopped.1 - begun.1,
            stopped.0.elapsed()
        );
        ensure!(!cluster.log(i).contains("nobody took these leaderships over"), "node {}", i + 1);
        ensure!(cluster.log(i).contains("stopped"), "node {} did not say that it has stopped", i + 1);
    }
    under_load(&progress, load).await?;
    ensure!(!running.is_finished(), "the load was over before the last restart");
    progress.no_more(load.copies);
    running.await??;
    let keys = ledger.keys();
    note!("{keys} keys; {} errors reached the workers", progress.errors());
    ensure!(keys > 1000, "only {keys} keys under load");
    ledger.check(keys, load.copies)?;
    let read = ledger.check_on_every_node(&cluster).await?;
    ensure!(read == 3 * usize::try_from(keys)?, "only {read} results were read back");
    spread(&client, SHARDS).await?;
    replicas_agree(&client, 3).await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_node_hands_its_leaders_over_before_it_goes() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let client = cluster.client().await?;
    spread(&client, SHARDS).await?;
    cluster.stop(1).await?;
    // No election was waited for: the moment that the process is gone, others lead every shard.
    let mut led = 0;
    for report in client.status().await {
        if let Ok(status) = report.status {
            led += status.shards.iter().filter(|shard| shard.role == ShardRole::Leader).count();
        }
    }
    ensure!(led == SHARDS, "{led} of {SHARDS} shards are led once the node is gone");
    cluster.launch(1)?;
    cluster.ready(1).await?;
    spread(&client, SHARDS).await.context("after the restart")?;
    cluster.finish()
}
