//! A cluster of Hapax nodes of this run's own.

use super::usage::Servers;
use anyhow::{Context as _, Result, bail};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the processes of a cluster are looked for again.
const LOOKS: usize = 100;
/// Until every node must be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What a cluster of `hapax dev` takes above its base port.
const PORTS: u16 = 30;

/// How it is made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub program: PathBuf,
    /// How many nodes.
    pub nodes: u16,
    /// How many shards; the program's default where absent.
    pub shards: Option<u32>,
    /// Where the directory of the run is made; the system's temporary one where absent.
    pub dir: Option<PathBuf>,
}

/// A running cluster; ends when dropped, and its data goes too.
pub struct Cluster {
    dev: Child,
    base_port: u16,
    nodes: u16,
    _dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts one and waits until every node is ready.
    ///
    /// # Errors
    /// When the program cannot be run, or the nodes do not get ready; then with what they said.
    pub async fn start(plan: &Plan) -> Result<Self> {
        let mut temporary = tempfile::Builder::new();
        temporary.prefix("hapax-bench-");
        let dir = match &plan.dir {
            Some(dir) => temporary.tempdir_in(dir),
            None => temporary.tempdir(),
        }
        .context("cannot make a directory for the cluster")?;
        let base_port = free_ports(plan.nodes)?;
        let said = dir.path().join("said");
        let mut command = Command::new(&plan.program);
        command.arg("dev").arg("--dir").arg(dir.path().join("cluster"));
        command.args(["--nodes", &plan.nodes.to_string(), "--base-port", &base_port.to_string()]);
        if let Some(shards) = plan.shards {
            command.args(["--shards", &shards.to_string()]);
        }
        let output = std::fs::File::create(&said).context("cannot make a file for what the cluster says")?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let program = plan.program.display();
        let dev = command
            .spawn()
            .with_context(|| format!("cannot run {program}; build it, or name it by --program"))?;
        let mut cluster = Self { dev, base_port, nodes: plan.nodes, _dir: dir };
        cluster.wait_ready(&said).await?;
        Ok(cluster)
    }

    async fn wait_ready(&mut self, said: &Path) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let text = std::fs::read_to_string(said).unwrap_or_default();
            if text.lines().any(|line| line.starts_with("ready:")) {
                return Ok(());
            }
            if let Some(status) = self.dev.try_wait()? {
                bail!("the cluster ended with {status}:\n{text}");
            }
            if Instant::now() > deadline {
                bail!("the cluster is not ready after {} s:\n{text}", READY_WITHIN.as_secs());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where clients reach it: `host:port,…`.
    #[must_use]
    pub fn nodes(&self) -> String {
        let addrs: Vec<_> =
            (1..=self.nodes).map(|node| format!("127.0.0.1:{}", self.base_port + node)).collect();
        addrs.join(",")
    }

    /// Its nodes' processes.
    ///
    /// # Errors
    /// When they cannot be told.
    pub fn servers(&self) -> Result<Servers> {
        // A thread that ends while it is looked at is gone, and its children are another's: a second look finds them.
        let mut pids = children(self.dev.id())?;
        for _ in 0..LOOKS {
            if pids.len() == usize::from(self.nodes) {
                break;
            }
            pids = children(self.dev.id())?;
        }
        if pids.len() != usize::from(self.nodes) {
            bail!("the cluster has {} processes instead of {}", pids.len(), self.nodes);
        }
        pids.sort_unstable();
        Ok(Servers::new(pids))
    }
}

/// The processes that the threads of a process have started.
fn children(pid: u32) -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).context("cannot look at the cluster")? {
        let task = task?.path();
        match std::fs::read_to_string(task.join("children")) {
            Ok(children) => {
                pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()))
            }
            Err(_) if !task.exists() => {}
            Err(error) => return Err(error).context("this kernel does not tell the children of a process"),
        }
    }
    Ok(pids)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = i32::try_from(self.dev.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _already_gone = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        // It ends its nodes, and bounds how long that takes.
        let _reaped = self.dev.wait();
    }
}

/// A base port above which everything that a cluster needs is free just now.
fn free_ports(nodes: u16) -> Result<u16> {
    for _ in 0..50 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        let base = first.local_addr()?.port();
        drop(first);
        if base > 65_500 {
            continue;
        }
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let needed =
            (0..PORTS).step_by(10).flat_map(|offset| (1..=nodes).map(move |node| base + offset + node));
        if needed.into_iter().all(free) {
            return Ok(base);
        }
    }
    bail!("no ports are free for {nodes} nodes")
}
