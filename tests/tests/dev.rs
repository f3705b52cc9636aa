//! `hapax dev`: a whole cluster in one command, ended by one signal.

use anyhow::{Context as _, Result, ensure};
use hapax_tests::ports::Ports;
use hapax_tests::process::{NodeProcess, tail};
use hapax_tests::{Hapax, http, program, until};
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const READY_WITHIN: Duration = Duration::from_secs(60);

struct Dev {
    process: NodeProcess,
    log: PathBuf,
}

impl Dev {
    fn start(ports: &Ports, dir: &Path, arguments: &[&str]) -> Result<Self> {
        let log = dir.join("dev.log");
        let _none = std::fs::remove_file(&log);
        let mut command = Command::new(program!());
        command.arg("dev").arg("--dir").arg(dir.join("cluster"));
        command.args(["--base-port", &ports.base().to_string()]).args(arguments);
        Ok(Self { process: NodeProcess::start_command(command, &log)?, log })
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn says(&mut self, what: &str) -> Result<()> {
        until(what, READY_WITHIN, async || match self.said() {
            said if said.contains(what) => Ok(()),
            said => Err(said),
        })
        .await
    }

    /// The processes of the nodes.
    fn nodes(&self) -> Result<Vec<i32>> {
        let pid = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(children.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }

    async fn end(mut self) -> Result<()> {
        let nodes = self.nodes()?;
        self.process.signal(Signal::INT)?;
        let status = self.process.wait(Duration::from_secs(40)).await?;
        ensure!(status.success(), "{status}: {}", tail(&self.log, 20));
        for pid in nodes {
            ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "node process {pid} is still there");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_starts_a_cluster_that_restarts_its_nodes_and_keeps_its_data() -> Result<()> {
    let (dir, ports) = (tempfile::tempdir()?, Ports::take()?);
    let mut dev = Dev::start(&ports, dir.path(), &[])?;
    dev.says("ready: 3 nodes, 3 shards").await?;
    let said = dev.said();
    for line in ["hapax claim", "hapax complete", "hapax run", "hapax status", "/metrics"] {
        ensure!(said.contains(line), "{line} is not among what to try next: {said}");
    }
    let base = ports.base();
    let seeds = format!("127.0.0.1:{},{},{}", base + 1, base + 2, base + 3);
    let hapax = Hapax::new(program!().as_ref(), &seeds);
    let token = hapax.run(&["claim", "payments.charge", "order-991", "--json"]).await?.field("token")?;
    let complete = ["complete", "payments.charge", "order-991", "--token", &token, "--result", "-"];
    ensure!(hapax.run_with(b"paid\n", &complete).await?.status == 0);
    for i in 1..=3 {
        let (status, _) = http::get(&format!("127.0.0.1:{}", base + 20 + i), "/healthz").await?;
        ensure!(status == 200);
        ensure!(TcpListener::bind(("127.0.0.1", base + 10 + i)).is_err(), "nobody takes peers there");
    }
    let victim = *dev.nodes()?.first().context("no nodes")?;
    ensure!(dev.nodes()?.len() == 3, "three real processes");
    kill_process(Pid::from_raw(victim).context("no such process")?, Signal::KILL)?;
    dev.says("starting it again").await?;
    let replayed = hapax.run(&["claim", "payments.charge", "order-991"]).await?;
    ensure!(replayed.status == 10 && replayed.text().contains("paid"), "{replayed:?}");
    dev.end().await?;
    // Again in the same place: the data is still there, and another shape is refused.
    let mut other = Dev::start(&ports, dir.path(), &["--shards", "8"])?;
    let status = other.process.wait(Duration::from_secs(20)).await?;
    ensure!(status.code() == Some(1) && other.said().contains("--shards 3"), "{status}: {}", other.said());
    let mut dev = Dev::start(&ports, dir.path(), &[])?;
    dev.says("ready: 3 nodes").await?;
    let replayed = hapax.run(&["claim", "payments.charge", "order-991"]).await?;
    ensure!(replayed.status == 10, "{replayed:?}");
    dev.end().await?;
    let mut dev = Dev::start(&ports, dir.path(), &["--reset", "--engine", "sled", "--nodes", "1"])?;
    dev.says("ready: 1 nodes").await?;
    let absent = hapax.run(&["get", "payments.charge", "order-991", "--json"]).await?;
    ensure!(absent.field("state")? == "absent", "{absent:?}");
    dev.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() -> Result<()> {
    let (dir, ports) = (tempfile::tempdir()?, Ports::take()?);
    let taken = TcpListener::bind(("127.0.0.1", ports.base() + 12))?;
    let mut dev = Dev::start(&ports, dir.path(), &[])?;
    let status = dev.process.wait(Duration::from_secs(20)).await?;
    let port = taken.local_addr()?.port().to_string();
    ensure!(status.code() == Some(1) && dev.said().contains(&port), "{status}: {}", dev.said());
    Ok(())
}
