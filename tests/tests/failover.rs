//! Nodes that lead are killed one after another while every shard is written to: each shard is back
//! soon, and nothing that was acknowledged is lost. `failover` measures how soon, over hundreds.

use anyhow::{Result, ensure};
use hapax_tests::failover::{Options, percentile, run};
use hapax_tests::{note, program};

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_a_killed_node_acknowledge_writes_again_and_lose_nothing() -> Result<()> {
    let options = Options { program: program!().to_owned(), nodes: 3, samples: 3, seed: 21 };
    let report = run(&options).await?;
    let (half, all) = (percentile(&report.shards, 50), percentile(&report.shards, 100));
    note!("{} shards of 3 killed nodes: p50 {half:?}, slowest {all:?}", report.shards.len());
    ensure!(report.worst.len() == 3 && report.shards.len() >= 15, "{report:?}");
    Ok(())
}
