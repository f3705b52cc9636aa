//! Nodes of Hapax that can be killed, stopped and started again, each a process of this run's own.
//!
//! Contract: unlike [`super::hapax::Cluster`], nothing starts a dead node again but [`Nodes::start`], so that what the
//! others do without it can be measured. Every node keeps its directory and its ports over its starts. All end when
//! dropped, or when this program does, and their data goes too.

use super::hapax::Plan;
use super::http::{self, Metrics};
use super::process::{End, Process};
use super::usage::Servers;
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a node may take to stop by itself.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Ports that the kernel does not draw for outgoing connections, which would be in the way of a node that comes back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Between the ports of two clusters.
const PORTS_EACH: u16 = 40;

/// The nodes, by index from 0.
pub struct Nodes {
    // Before the directory, so that the processes end first.
    processes: Vec<Option<Process>>,
    program: PathBuf,
    base_port: u16,
    dir: tempfile::TempDir,
}

impl Nodes {
    /// Starts all and waits until they are ready.
    ///
    /// # Errors
    /// When the program cannot be run, or a node does not get ready; then with what it said.
    pub async fn begin(plan: &Plan) -> Result<Self> {
        let mut temporary = tempfile::Builder::new();
        temporary.prefix("hapax-bench-");
        let dir = match &plan.dir {
            Some(dir) => temporary.tempdir_in(dir),
            None => temporary.tempdir(),
        }
        .context("cannot make a directory for the nodes")?;
        let base_port = free_base(plan.nodes)?;
        std::fs::write(dir.path().join("cluster.toml"), cluster_section(plan, base_port))?;
        let processes = (0..plan.nodes).map(|_| None).collect();
        let mut nodes = Self { processes, program: plan.program.clone(), base_port, dir };
        nodes.start_all()?;
        nodes.ready().await?;
        Ok(nodes)
    }

    /// How many there are, running or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.processes.len()
    }

    /// Starts one that does not run.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn start(&mut self, index: usize) -> Result<()> {
        let (name, dir) = (name(index), self.node_dir(index));
        std::fs::create_dir_all(&dir)?;
        let mut command = Command::new(&self.program);
        command.args(["server", "--end-with-stdin", "--name", &name]);
        command.args(["--set", &format!("node.threads={}", threads(self.count()))]);
        command.arg("--config").arg(self.dir.path().join("cluster.toml"));
        command.arg("--data-dir").arg(dir.join("data"));
        let at = |offset| address(self.base_port, offset, index).to_string();
        command.args(["--client-listen", &at(0), "--peer-listen", &at(10), "--http-listen", &at(20)]);
        for (variable, _) in std::env::vars_os() {
            // What is measured is what the program does by itself.
            if variable.to_str().is_some_and(|name| name.starts_with("HAPAX_")) {
                command.env_remove(variable);
            }
        }
        let process = Process::start_held(command, &dir.join("said"), End::Kill)
            .context("build the server, or name it by --program")?;
        *self.processes.get_mut(index).context("no such node")? = Some(process);
        Ok(())
    }

    /// Starts every one that does not run.
    ///
    /// # Errors
    /// As [`Nodes::start`].
    pub fn start_all(&mut self) -> Result<()> {
        (0..self.count())
            .filter(|index| self.processes.get(*index).is_some_and(Option::is_none))
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|index| self.start(index))
    }

    /// Kills one at once; it has ended when this returns.
    pub fn kill(&mut self, index: usize) {
        if let Some(process) = self.processes.get_mut(index) {
            *process = None;
        }
    }

    /// Tells all to stop, and waits for them.
    ///
    /// # Errors
    /// When one does not stop in time or not well.
    pub async fn stop_all(&mut self) -> Result<()> {
        self.processes.iter().flatten().for_each(Process::terminate);
        for process in &mut self.processes {
            if let Some(mut process) = process.take() {
                process.ended(STOP_WITHIN).await?;
            }
        }
        Ok(())
    }

    /// Waits until every one that runs says that it is ready.
    ///
    /// # Errors
    /// When one ends, or is not ready in time; then with what it said.
    pub async fn ready(&mut self) -> Result<()> {
        let base_port = self.base_port;
        for (index, process) in self.processes.iter_mut().enumerate() {
            let Some(process) = process else { continue };
            let ready = async || http::get(address(base_port, 20, index), "/readyz").await;
            process.reached(ready).await.with_context(|| name(index))?;
        }
        Ok(())
    }

    /// Where clients reach them: `host:port,…`.
    #[must_use]
    pub fn addresses(&self) -> String {
        let all: Vec<_> =
            (0..self.count()).map(|index| address(self.base_port, 0, index).to_string()).collect();
        all.join(",")
    }

    /// The metrics of one.
    ///
    /// # Errors
    /// When it does not tell.
    pub async fn metrics(&self, index: usize) -> Result<Metrics> {
        Metrics::of(address(self.base_port, 20, index)).await
    }

    /// The processes of those that run.
    #[must_use]
    pub fn servers(&self) -> Servers {
        Servers::new(self.processes.iter().flatten().map(Process::id).collect())
    }

    /// Where one keeps its records, or its log.
    #[must_use]
    pub fn data_dir(&self, index: usize, part: &str) -> PathBuf {
        self.node_dir(index).join("data").join(part)
    }

    fn node_dir(&self, index: usize) -> PathBuf {
        self.dir.path().join(name(index))
    }
}

/// Bytes that a directory takes on its file system, holes left out.
///
/// # Errors
/// When it cannot be read.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(found) if found.is_dir() => disk_bytes(&entry.path())?,
            Ok(found) => found.blocks() * 512,
            // An engine removes files of its own while it is looked at.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(bytes)
}

/// A node's share of the machine's cores, as `hapax dev` has it.
fn threads(nodes: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / nodes.max(1)).clamp(1, 1024)
}

fn name(index: usize) -> String {
    format!("node-{}", index + 1)
}

fn address(base_port: u16, offset: u16, index: usize) -> SocketAddr {
    let index = u16::try_from(index).unwrap_or(u16::MAX);
    SocketAddr::from((Ipv4Addr::LOCALHOST, base_port.saturating_add(offset).saturating_add(index)))
}

/// What is the same on every node.
fn cluster_section(plan: &Plan, base_port: u16) -> String {
    // As `hapax dev` has it: all nodes stop at once, and the last ones find nobody to hand over to.
    let mut text = "[timing]\nshutdown_ms = 2000\n\n[cluster]\n".to_owned();
    // Writing to a string cannot fail.
    let _infallible = writeln!(text, "id = \"{:032x}\"", rand::random::<u128>());
    if let Some(shards) = plan.shards {
        let _infallible = writeln!(text, "shards = {shards}");
    }
    for index in 0..usize::from(plan.nodes) {
        let (client, peer) = (address(base_port, 0, index), address(base_port, 10, index));
        let _infallible = writeln!(
            text,
            "\n[[cluster.nodes]]\nname = \"{}\"\npeer = \"{peer}\"\nclient = \"{client}\"",
            name(index)
        );
    }
    text
}

/// A port from which on everything that the nodes need is free just now.
fn free_base(nodes: u16) -> Result<u16> {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Others that look at the same time begin elsewhere.
    let places = (PORTS.end - PORTS.start) / PORTS_EACH;
    let first = u16::try_from(std::process::id() % u32::from(places)).unwrap_or_default();
    for place in (first..places).chain(0..first) {
        let base = PORTS.start + place * PORTS_EACH;
        let mut needed =
            [0, 10, 20].into_iter().flat_map(|offset| (0..nodes).map(move |n| base + offset + n));
        if needed.all(free) {
            return Ok(base);
        }
    }
    bail!("no ports are free for {nodes} nodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_what_the_server_takes() {
        let plan = Plan { program: PathBuf::new(), nodes: 3, shards: Some(8), dir: None };
        let text = cluster_section(&plan, 20_000);
        assert!(text.contains("shards = 8\n") && text.matches("[[cluster.nodes]]").count() == 3, "{text}");
        assert!(
            text.contains("name = \"node-3\"\npeer = \"127.0.0.1:20012\"\nclient = \"127.0.0.1:20002\""),
            "{text}"
        );
        assert!(!cluster_section(&Plan { shards: None, ..plan }, 20_000).contains("shards"));
    }

    #[test]
    fn a_directory_takes_what_its_files_take() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        let before = disk_bytes(dir.path()).unwrap();
        std::fs::write(dir.path().join("in/a"), vec![7; 100_000]).unwrap();
        assert!(disk_bytes(dir.path()).unwrap() >= before + 100_000);
        assert!(PORTS.contains(&free_base(7).unwrap()));
    }
}
