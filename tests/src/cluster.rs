//! A cluster of real node processes on this machine.

use crate::command::Hapax;
use crate::http;
use crate::ports::Ports;
use crate::process::{NodeProcess, tail};
use crate::spec::{Spec, name};
use crate::wait::until;
use anyhow::{Context as _, Result, bail, ensure};
use hapax_client::{Client, ClientConfig};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;

/// How long a started node may take until it is ready.
pub const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a node that was asked to stop may take.
pub const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Lines of each node's log that a failed test shows.
const TAIL_LINES: usize = 25;

/// A cluster; its processes and its directory go with it.
#[derive(Debug)]
pub struct TestCluster {
    program: PathBuf,
    spec: Spec,
    id: String,
    // Before the directory, so that the processes are gone when it is removed.
    nodes: Vec<Option<NodeProcess>>,
    dir: TempDir,
    ports: Ports,
    finished: bool,
}

impl TestCluster {
    /// Writes the configurations of a cluster, and starts nothing.
    ///
    /// # Errors
    /// When there is no directory or no block of ports to be had.
    pub fn prepare(program: &str, spec: Spec) -> Result<Self> {
        let (dir, ports) = (TempDir::with_prefix("hapax-test-")?, Ports::take()?);
        let id = format!("{:016x}{:016x}", std::process::id(), ports.base());
        let nodes = (0..spec.nodes).map(|_| None).collect();
        let cluster = Self { program: program.into(), spec, id, nodes, dir, ports, finished: false };
        for i in 0..cluster.spec.nodes {
            std::fs::create_dir_all(cluster.node_dir(i))?;
            let text = cluster.spec.config(i, &cluster.id, cluster.ports.base(), &cluster.data_dir(i));
            std::fs::write(cluster.config_file(i), text)?;
        }
        Ok(cluster)
    }

    /// Starts a cluster and waits until every node is ready.
    ///
    /// # Errors
    /// When a node does not become ready in time.
    pub async fn start(program: &str, spec: Spec) -> Result<Self> {
        let mut cluster = Self::prepare(program, spec)?;
        for i in 0..cluster.len() {
            cluster.launch(i)?;
        }
        cluster.all_ready().await?;
        Ok(cluster)
    }

    /// Nodes, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has no node: never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The cluster's id, 32 hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Node `i`'s own directory.
    #[must_use]
    pub fn node_dir(&self, i: usize) -> PathBuf {
        self.dir.path().join(name(i))
    }

    /// Where node `i` keeps its data.
    #[must_use]
    pub fn data_dir(&self, i: usize) -> PathBuf {
        self.node_dir(i).join("data")
    }

    /// Node `i`'s configuration.
    #[must_use]
    pub fn config_file(&self, i: usize) -> PathBuf {
        self.node_dir(i).join("node.toml")
    }

    /// Node `i`'s log.
    #[must_use]
    pub fn log_file(&self, i: usize) -> PathBuf {
        self.node_dir(i).join("log")
    }

    /// A file or directory of the test's own, gone with the cluster.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program under test.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where clients reach node `i`.
    #[must_use]
    pub fn client_addr(&self, i: usize) -> String {
        self.addr(i, 1)
    }

    /// Where peers reach node `i`.
    #[must_use]
    pub fn peer_addr(&self, i: usize) -> String {
        self.addr(i, 11)
    }

    /// Where metrics and health of node `i` are.
    #[must_use]
    pub fn http_addr(&self, i: usize) -> String {
        self.addr(i, 21)
    }

    fn addr(&self, i: usize, offset: usize) -> String {
        format!("{}:{}", self.spec.host(i), usize::from(self.ports.base()) + offset + i)
    }

    /// All nodes as `--cluster` takes them.
    #[must_use]
    pub fn seeds(&self) -> String {
        (0..self.len()).map(|i| self.client_addr(i)).collect::<Vec<_>>().join(",")
    }

    /// A client of this cluster.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::connect(ClientConfig::from_list(&self.seeds())).await?)
    }

    /// The command line, talking to this cluster.
    #[must_use]
    pub fn command(&self) -> Hapax {
        Hapax::new(&self.program, &self.seeds())
    }

    /// Starts node `i`; does not wait for it.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn launch(&mut self, i: usize) -> Result<()> {
        ensure!(self.nodes[i].is_none(), "{} runs already", name(i));
        let mut command = NodeProcess::command(&self.program, &self.config_file(i));
        command.envs(self.spec.environment.iter().map(|(name, value)| (name, value)));
        self.nodes[i] = Some(NodeProcess::start_command(command, &self.log_file(i))?);
        Ok(())
    }

    /// Waits until node `i` says that it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub async fn ready(&mut self, i: usize) -> Result<()> {
        let (address, log) = (self.http_addr(i), self.log_file(i));
        let node = self.nodes[i].as_mut().context("it does not run")?;
        let what = format!("{} to be ready", name(i));
        let ready = until(&what, READY_WITHIN, async || {
            if let Ok(Some(status)) = node.ended() {
                return Ok(Err(status));
            }
            match http::get(&address, "/readyz").await {
                Ok((200, _)) => Ok(Ok(())),
                Ok((status, body)) => Err(format!("{status}: {}", body.trim())),
                Err(error) => Err(error.to_string()),
            }
        });
        match ready.await? {
            Ok(()) => Ok(()),
            Err(status) => bail!("{} ended ({status}):\n{}", name(i), tail(&log, TAIL_LINES)),
        }
    }

    /// Waits until every running node is ready.
    ///
    /// # Errors
    /// When one is not in time.
    pub async fn all_ready(&mut self) -> Result<()> {
        for i in 0..self.len() {
            if self.nodes[i].is_some() {
                self.ready(i).await?;
            }
        }
        Ok(())
    }

    /// SIGKILL to node `i`; returns when the process is gone.
    ///
    /// # Errors
    /// When it does not run, or had ended by itself.
    pub fn kill(&mut self, i: usize) -> Result<()> {
        let mut node = self.nodes[i].take().context("it does not run")?;
        if let Some(status) = node.ended()? {
            bail!("{} had ended by itself ({status}):\n{}", name(i), tail(&self.log_file(i), TAIL_LINES));
        }
        node.kill()?;
        Ok(())
    }

    /// SIGTERM to node `i`; returns how the process ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self, i: usize) -> Result<ExitStatus> {
        let mut node = self.nodes[i].take().context("it does not run")?;
        node.signal(Signal::TERM)?;
        node.wait(STOP_WITHIN).await.with_context(|| format!("{} was asked to stop", name(i)))
    }

    /// Node `i` has ended by itself, as it should.
    pub fn forget(&mut self, i: usize) {
        self.nodes[i] = None;
    }

    /// Node `i`'s process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process(&mut self, i: usize) -> Result<&mut NodeProcess> {
        self.nodes[i].as_mut().context("it does not run")
    }

    /// Puts a process in place of node `i`.
    pub fn adopt(&mut self, i: usize, process: NodeProcess) {
        self.nodes[i] = Some(process);
    }

    /// Whether node `i` was started and not stopped or killed since.
    #[must_use]
    pub fn runs(&self, i: usize) -> bool {
        self.nodes[i].is_some()
    }

    /// The metrics of node `i`.
    ///
    /// # Errors
    /// When it does not answer with them.
    pub async fn metrics(&self, i: usize) -> Result<String> {
        match http::get(&self.http_addr(i), "/metrics").await? {
            (200, text) => Ok(text),
            (status, _) => bail!("/metrics of {} answered {status}", name(i)),
        }
    }

    /// What node `i` has logged, in all its lives.
    #[must_use]
    pub fn log(&self, i: usize) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file(i)).unwrap_or_default()).into_owned()
    }

    /// The end of a test that went well: every node that should run does, and none has panicked.
    ///
    /// # Errors
    /// When one has ended by itself or has panicked.
    pub fn finish(mut self) -> Result<()> {
        for i in 0..self.len() {
            if let Some(node) = &mut self.nodes[i]
                && let Some(status) = node.ended()?
            {
                bail!("{} had ended by itself ({status})", name(i));
            }
            ensure!(!self.log(i).contains("panicked at"), "{} has panicked", name(i));
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for TestCluster {
    #[expect(clippy::print_stderr, reason = "what the nodes logged explains a failed test")]
    fn drop(&mut self) {
        if !self.finished {
            for i in 0..self.len() {
                eprintln!("--- the end of the log of {}:\n{}", name(i), tail(&self.log_file(i), TAIL_LINES));
            }
        }
    }
}
