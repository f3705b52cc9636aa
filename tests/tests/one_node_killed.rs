//! One node at a time is killed with SIGKILL, every two seconds, under load: each key is granted
//! once, and what was acknowledged is returned byte for byte by every node afterwards.

use anyhow::{Result, ensure};
use hapax_tests::ledger::{Ledger, replicas_agree};
use hapax_tests::load::{Caller, Load, Progress};
use hapax_tests::{Spec, TestCluster, note, program};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Between two kills.
const KILL_EVERY: Duration = Duration::from_secs(2);
const LOAD: Load = Load { keys: 20_000, copies: 3, workers: 64, within: Duration::from_secs(240) };

#[tokio::test(flavor = "multi_thread")]
async fn each_key_is_granted_once_while_one_node_at_a_time_is_killed() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let callers = Caller::of(&cluster).await?;
    let (ledger, progress) = (Arc::new(Ledger::new("orders.place")), Arc::new(Progress::default()));
    let begun = Instant::now();
    let load = tokio::spawn(LOAD.run(callers, Arc::clone(&ledger), Arc::clone(&progress)));
    let mut kills = 0;
    let mut at = begun + KILL_EVERY;
    while !load.is_finished() {
        sleep_until(at).await;
        at = Instant::now() + KILL_EVERY;
        let victim = kills % cluster.len();
        cluster.kill(victim)?;
        cluster.launch(victim)?;
        cluster.ready(victim).await?;
        kills += 1;
    }
    load.await??;
    let took = begun.elapsed();
    note!("{kills} kills in {took:?}; {} errors reached the workers", progress.errors());
    ensure!(progress.errors() > 0, "no error reached anybody: nothing was shown");
    ensure!(kills >= 3, "the load ended after {kills} kills: nothing was shown");
    ledger.check(LOAD.keys, LOAD.copies)?;
    cluster.all_ready().await?;
    let read = ledger.check_on_every_node(&cluster).await?;
    ensure!(read == 3 * usize::try_from(LOAD.keys)?, "only {read} results were read back");
    let compared = replicas_agree(&cluster.client().await?, 3).await?;
    ensure!(compared == 3 * 16, "only {compared} replicas were compared");
    cluster.finish()
}
