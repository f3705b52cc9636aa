//! A data directory of another cluster, of another node, or in use.

use crate::{keep, kept};
use anyhow::{Context as _, Result, ensure};
use hapax_tests::process::NodeProcess;
use hapax_tests::{Spec, TestCluster, program, until};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Runs a node that must refuse, to its end; gives what it said.
async fn refuses(cluster: &TestCluster, config: &Path) -> Result<String> {
    let log = cluster.path("refused");
    let _none = fs::remove_file(&log);
    let mut node = NodeProcess::start(cluster.program(), config, &log)?;
    let status = node.wait(Duration::from_secs(30)).await.context("it did not refuse")?;
    ensure!(!status.success(), "it ended as if all were well");
    Ok(fs::read_to_string(&log)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_cluster_is_refused_and_left_as_it_is() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    keep(&cluster.client().await?, "kept").await?;
    cluster.stop(0).await?;
    let config = fs::read_to_string(cluster.config_file(0))?;
    let other = cluster.path("other.toml");
    fs::write(&other, config.replace(cluster.id(), "ffeeddccbbaa99887766554433221100"))?;
    let said = refuses(&cluster, &other).await?;
    ensure!(said.contains("node.data_dir") && said.contains("belongs to cluster"), "{said}");
    cluster.launch(0)?;
    cluster.ready(0).await?;
    kept(&cluster.client().await?, "kept").await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_refused() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let config = fs::read_to_string(cluster.config_file(0))?;
    let mut second = config.clone();
    for address in [cluster.client_addr(0), cluster.peer_addr(0), cluster.http_addr(0)] {
        second = second.replacen(&format!("listen = \"{address}\""), "listen = \"127.0.0.1:0\"", 1);
    }
    let file = cluster.path("second.toml");
    fs::write(&file, second)?;
    let said = refuses(&cluster, &file).await?;
    ensure!(said.contains("in use"), "{said}");
    keep(&cluster.client().await?, "after").await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_node_is_refused() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let client = cluster.client().await?;
    for n in 0..32 {
        keep(&client, &format!("kept-{n}")).await?;
    }
    cluster.stop(0).await?;
    cluster.stop(1).await?;
    let config = fs::read_to_string(cluster.config_file(0))?;
    let swapped = cluster.path("swapped.toml");
    let (own, others) = (cluster.data_dir(0), cluster.data_dir(1));
    fs::write(&swapped, config.replace(&*own.to_string_lossy(), &others.to_string_lossy()))?;
    let said = refuses(&cluster, &swapped).await?;
    ensure!(said.contains("node.data_dir") && said.contains("another node, node-2"), "{said}");
    cluster.launch(0)?;
    cluster.launch(1)?;
    cluster.all_ready().await?;
    for n in 0..32 {
        kept(&client, &format!("kept-{n}")).await?;
    }
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_changed_its_shape_is_refused() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    keep(&cluster.client().await?, "kept").await?;
    cluster.stop(0).await?;
    let config = fs::read_to_string(cluster.config_file(0))?;
    let other = cluster.path("other.toml");
    fs::write(&other, config.replace("shards = 16", "shards = 8"))?;
    let said = refuses(&cluster, &other).await?;
    ensure!(said.contains("cluster.shards"), "{said}");
    cluster.launch(0)?;
    cluster.ready(0).await?;
    kept(&cluster.client().await?, "kept").await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_peers_says_so_and_serves_once_they_come() -> Result<()> {
    let mut cluster = TestCluster::prepare(program!(), Spec::nodes(3))?;
    cluster.launch(0)?;
    let address = cluster.http_addr(0);
    let said = until("the node to say whom it waits for", Duration::from_secs(20), async || {
        match hapax_tests::http::get(&address, "/readyz").await {
            Ok((503, body)) if body.contains("node-2") && body.contains("node-3") => Ok(body),
            other => Err(format!("{other:?}")),
        }
    });
    said.await?;
    cluster.launch(1)?;
    cluster.launch(2)?;
    cluster.all_ready().await?;
    keep(&cluster.client().await?, "after").await?;
    cluster.finish()
}
