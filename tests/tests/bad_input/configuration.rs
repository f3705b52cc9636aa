//! A wrong configuration is refused before anything is opened, by the field at fault.

use anyhow::{Result, ensure};
use hapax_tests::{Hapax, Spec, TestCluster, program};
use std::fs;

/// Breaks the configuration of a good node and says which field must be named.
const WRONG: [(&str, &str, &str); 13] = [
    ("name = \"node-1\"\ndata_dir", "name = \"node-9\"\ndata_dir", "node.name"),
    ("client_listen = \"127.0.0.1:", "client_listen = \"localhost:", "node.client_listen"),
    ("[http]\nlisten = \"127", "[http]\nlisten = \"x127", "http.listen"),
    ("shards = 16", "shards = 0", "cluster.shards"),
    ("shards = 16", "shards = 2000", "cluster.shards"),
    ("shards = 16", "shards = \"many\"", "cluster.shards"),
    ("shards = 16", "shards = 16\nreplication = 2", "cluster.replication"),
    ("[cluster]\nid = \"", "[cluster]\nid = \"zz", "cluster.id"),
    ("name = \"node-2\"", "name = \"Node 2\"", "cluster.nodes[1].name"),
    ("engine = \"fjall\"", "engine = \"rocks\"", "storage.engine"),
    ("engine = \"fjall\"", "engine = \"fjall\"\nsegment_bytes = 12345", "storage.segment_bytes"),
    ("engine = \"fjall\"", "engine = \"fjall\"\n[timing]\nelection_min_ms = 10", "timing.election_min_ms"),
    ("engine = \"fjall\"", "engine = \"fjall\"\n[timing]\nheartbeats = 10", "timing.heartbeats"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_is_named_and_nothing_is_opened() -> Result<()> {
    let cluster = TestCluster::prepare(program!(), Spec::nodes(3))?;
    let good = fs::read_to_string(cluster.config_file(0))?;
    let file = cluster.path("wrong.toml");
    let hapax = cluster.command();
    for (from, to, field) in WRONG {
        ensure!(good.contains(from), "{from:?} is not in the configuration");
        fs::write(&file, good.replacen(from, to, 1))?;
        let path = file.to_string_lossy();
        for arguments in
            [&["server", "--config", &path][..], &["server", "--config", &path, "--check-config"]]
        {
            let ran = hapax.run(arguments).await?;
            ensure!(ran.status == 2, "{field}: {ran:?}");
            ensure!(ran.stderr.contains(field), "{field} is not named: {}", ran.stderr);
        }
        ensure!(!cluster.data_dir(0).exists(), "{field}: the data directory was made");
    }
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_and_files_at_fault_are_named() -> Result<()> {
    let cluster = TestCluster::prepare(program!(), Spec::nodes(1))?;
    let hapax: Hapax = cluster.command();
    let path = cluster.config_file(0);
    let path = path.to_string_lossy();
    let missing = hapax.run(&["server", "--config", "/nonexistent/node.toml"]).await?;
    ensure!(missing.status == 2 && missing.stderr.contains("/nonexistent/node.toml"), "{missing:?}");
    let flag = hapax.run(&["server", "--config", &path, "--set", "cluster.shard=8"]).await?;
    ensure!(flag.status == 2 && flag.stderr.contains("cluster.shard"), "{flag:?}");
    let broken = cluster.path("broken.toml");
    fs::write(&broken, "[node\nname = 1")?;
    let syntax = hapax.run(&["server", "--config", &broken.to_string_lossy()]).await?;
    ensure!(syntax.status == 2 && syntax.stderr.contains("TOML"), "{syntax:?}");
    // What is dumped is the same configuration again, with the layers laid over one another.
    let dump = ["server", "--config", &path, "--set", "timing.heartbeat_ms=70", "--dump-config"];
    let dumped = hapax.run(&dump).await?;
    ensure!(dumped.status == 0 && dumped.text().contains("heartbeat_ms = 70"), "{dumped:?}");
    let again = cluster.path("dumped.toml");
    fs::write(&again, &dumped.stdout)?;
    let second = hapax.run(&["server", "--config", &again.to_string_lossy(), "--dump-config"]).await?;
    ensure!(second.stdout == dumped.stdout, "{second:?}");
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() -> Result<()> {
    let mut cluster = TestCluster::prepare(program!(), Spec::nodes(1))?;
    let taken = tokio::net::TcpListener::bind(cluster.client_addr(0)).await?;
    let path = cluster.config_file(0);
    let ran = cluster.command().run(&["server", "--config", &path.to_string_lossy()]).await?;
    ensure!(ran.status == 1 && ran.stderr.contains("node.client_listen"), "{ran:?}");
    ensure!(!cluster.data_dir(0).join("identity").exists(), "ports are bound before any work");
    drop(taken);
    cluster.launch(0)?;
    cluster.ready(0).await?;
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_configurations_are_valid() -> Result<()> {
    let hapax = Hapax::new(program!().as_ref(), "127.0.0.1:9");
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/three-node");
    for node in ["node-1", "node-2", "node-3"] {
        let path = examples.join(format!("{node}.toml"));
        let ran = hapax.run(&["server", "--config", &path.to_string_lossy(), "--check-config"]).await?;
        ensure!(ran.status == 0, "{node}: {ran:?}");
    }
    Ok(())
}
