//! A disk that is full: writes are refused as definite, reads go on, nothing is lost, and writes go
//! on once there is room.

use crate::{claim, keep, kept};
use anyhow::{Result, ensure};
use hapax_client::{Client, ErrorCode, address};
use hapax_tests::{Spec, TestCluster, note, program, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const RECORDS: usize = 40;

async fn refused(client: &Client, key: &str) -> Result<()> {
    let address = address("acme", "payments.charge", key)?;
    let error = match client.within(Duration::from_secs(3)).claim(claim(&address)).await {
        Ok(replied) => anyhow::bail!("{key}: {:?}", replied.reply),
        Err(error) => error,
    };
    ensure!([ErrorCode::Unavailable, ErrorCode::Overloaded].contains(&error.code()), "{error}");
    ensure!(error.is_definite(), "nothing was done, and that is known: {error}");
    Ok(())
}

/// Everybody may run this: more is to be kept free than any disk has.
#[tokio::test(flavor = "multi_thread")]
async fn below_its_reserve_a_node_refuses_writes_and_still_reads() -> Result<()> {
    let mut cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let client = cluster.client().await?;
    for n in 0..RECORDS {
        keep(&client, &format!("kept-{n}")).await?;
    }
    let good = fs::read_to_string(cluster.config_file(0))?;
    cluster.stop(0).await?;
    let reserve = format!("engine = \"fjall\"\nreserve_bytes = {}", 1u64 << 50);
    fs::write(cluster.config_file(0), good.replace("engine = \"fjall\"", &reserve))?;
    cluster.launch(0)?;
    cluster.ready(0).await?;
    let client = cluster.client().await?;
    refused(&client, "refused").await?;
    for n in 0..RECORDS {
        kept(&client, &format!("kept-{n}")).await?;
    }
    cluster.stop(0).await?;
    fs::write(cluster.config_file(0), good)?;
    cluster.launch(0)?;
    cluster.ready(0).await?;
    let client = cluster.client().await?;
    for n in 0..RECORDS {
        kept(&client, &format!("kept-{n}")).await?;
    }
    keep(&client, "refused").await?;
    cluster.finish()
}

/// A file system of its own, gone with this.
struct Small(PathBuf);

impl Small {
    /// None where this process may not mount.
    fn mount(at: &Path, mib: u32) -> Result<Option<Self>> {
        fs::create_dir_all(at)?;
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "hapax-test"]).arg(at).output();
        Ok(mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned())))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _still_used = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// What the log has allocated already counts as free, so the reserve is larger than that.
///
/// On a real small file system, filled up beside the node: needs the right to mount, and where that
/// is missing only the test above speaks for the node.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_loses_nothing() -> Result<()> {
    let spec = Spec::nodes(1).shards(4).extra("reserve_bytes = 134217728\nsegment_bytes = 50331648");
    let mut cluster = TestCluster::prepare(program!(), spec)?;
    let Some(small) = Small::mount(&cluster.data_dir(0), 512)? else {
        note!("not run: this process may not mount a file system");
        return cluster.finish();
    };
    cluster.launch(0)?;
    cluster.ready(0).await?;
    let client = cluster.client().await?;
    for n in 0..RECORDS {
        keep(&client, &format!("kept-{n}")).await?;
    }
    let filler = small.0.join("filler");
    fill(&filler)?;
    refused(&client, "refused").await?;
    for n in 0..RECORDS {
        kept(&client, &format!("kept-{n}")).await?;
    }
    fs::remove_file(&filler)?;
    let serves = until("writes to go on", Duration::from_secs(20), async || {
        keep(&client, "refused").await.map_err(|error| error.to_string())
    });
    serves.await?;
    fill(&filler)?;
    cluster.kill(0)?;
    // A start begins a segment of the log: the one that was set aside.
    cluster.launch(0)?;
    cluster.ready(0).await?;
    let client = cluster.client().await?;
    for n in 0..RECORDS {
        kept(&client, &format!("kept-{n}")).await?;
    }
    refused(&client, "refused again").await?;
    cluster.kill(0)?;
    // None is set aside any more, and what the last one had left is taken by others: the node waits for room.
    fill(&small.0.join("filler-2"))?;
    cluster.launch(0)?;
    let waits = until("a node that waits for room", Duration::from_secs(20), async || {
        let metrics = cluster.metrics(0).await.map_err(|error| format!("{error:#}"))?;
        let waits = metrics.lines().any(|line| line == "hapax_log_waits_for_room 1");
        waits.then_some(()).ok_or_else(|| "it does not wait".to_owned())
    });
    waits.await?;
    fs::remove_file(small.0.join("filler-2"))?;
    fs::remove_file(&filler)?;
    cluster.ready(0).await?;
    let client = cluster.client().await?;
    for n in 0..RECORDS {
        kept(&client, &format!("kept-{n}")).await?;
    }
    kept(&client, "refused").await?;
    cluster.kill(0)?;
    // Before the directory that it is mounted on is removed.
    drop(small);
    cluster.finish()
}

/// Takes all that is left.
fn fill(file: &Path) -> Result<()> {
    use std::io::Write as _;
    let mut out = fs::File::create(file)?;
    let block = vec![0; 1 << 20];
    for step in [block.len(), 65_536, 4096] {
        while out.write_all(&block[..step]).is_ok() {}
    }
    Ok(())
}
