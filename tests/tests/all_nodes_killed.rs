//! All nodes are killed with SIGKILL at once, in the middle of load, and started again.

use anyhow::{Result, ensure};
use hapax_tests::ledger::{Ledger, replicas_agree};
use hapax_tests::load::{Caller, Load, Progress};
use hapax_tests::{Spec, TestCluster, note, program, until};
use std::sync::Arc;
use std::time::Duration;

const LOAD: Load = Load { keys: 6000, copies: 3, workers: 64, within: Duration::from_secs(180) };
/// The parts of the load after which everything is killed, in tenths.
const KILL_AT: [u32; 2] = [3, 6];

async fn kills_lose_nothing(spec: Spec) -> Result<()> {
    let mut cluster = TestCluster::start(program!(), spec).await?;
    let callers = Caller::of(&cluster).await?;
    let (ledger, progress) = (Arc::new(Ledger::new("orders.place")), Arc::new(Progress::default()));
    let load = tokio::spawn(LOAD.run(callers, Arc::clone(&ledger), Arc::clone(&progress)));
    for tenths in KILL_AT {
        let done = LOAD.calls() / 10 * tenths;
        until("the middle of the load", LOAD.within, async || match progress.done() {
            so_far if so_far >= done => Ok(()),
            so_far => Err(format!("{so_far} calls done")),
        })
        .await?;
        for i in 0..cluster.len() {
            cluster.kill(i)?;
        }
        ensure!(!load.is_finished(), "the load was over before the nodes were killed");
        for i in 0..cluster.len() {
            cluster.launch(i)?;
        }
        cluster.all_ready().await?;
    }
    load.await??;
    note!("{} errors reached the workers", progress.errors());
    ledger.check(LOAD.keys, LOAD.copies)?;
    let read = ledger.check_on_every_node(&cluster).await?;
    ensure!(read == cluster.len() * usize::try_from(LOAD.keys)?, "only {read} results were read back");
    replicas_agree(&cluster.client().await?, cluster.len()).await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_killed_at_once_lose_nothing() -> Result<()> {
    kills_lose_nothing(Spec::nodes(3)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_over_sled_killed_at_once_lose_nothing() -> Result<()> {
    kills_lose_nothing(Spec { engine: "sled", ..Spec::nodes(3) }).await
}
