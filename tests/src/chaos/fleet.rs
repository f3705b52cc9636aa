//! The nodes of a chaos run: real processes behind the proxy, each with a desk for its orders.

use super::network::{Network, Place};
use super::watch::Node as Seen;
use super::wires::Wires;
use crate::cluster::TestCluster;
use crate::http;
use crate::inject::{self, Counts, Desk, Orders};
use crate::process::NodeProcess;
use crate::spec::{Spec, name};
use crate::wait::until;
use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use rustix::process::Signal;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, SystemTime};

/// How long a node may take to be ready again, and to end when it should.
const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(40);
/// How long a node may take to read its orders.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// A cluster under chaos.
#[derive(Debug)]
pub struct Fleet {
    cluster: Mutex<TestCluster>,
    /// The faulty network.
    pub network: Network,
    desks: Vec<Desk>,
    orders: Mutex<Vec<Orders>>,
    /// Held while a fault does something to a node's process.
    pub seats: Vec<tokio::sync::Mutex<()>>,
    /// Held while a fault has a node's disk; the same for its clock.
    pub disks: Vec<tokio::sync::Mutex<()>>,
    /// Held while a node is away until the others have done something: two such nodes would wait for each other.
    pub away: tokio::sync::Mutex<()>,
    /// Held by what may not meet a wrong clock.
    pub clocks: tokio::sync::RwLock<()>,
    /// When each node's process was started, and when it was seen to have ended.
    turns: Mutex<Vec<(usize, SystemTime)>>,
    http: Vec<String>,
    logs: Vec<PathBuf>,
    data: Vec<PathBuf>,
    program: PathBuf,
    wires: Option<Wires>,
}

impl Fleet {
    /// Starts a cluster and waits until all nodes are ready; on interfaces of their own where `is_wired`.
    ///
    /// # Errors
    /// When one is not.
    pub async fn start(program: &Path, mut spec: Spec, is_wired: bool) -> Result<Self> {
        let nodes = spec.nodes;
        let wires = is_wired.then(|| Wires::lay(nodes)).transpose()?;
        let mut host = "127.0.0.1";
        if let Some(wires) = wires {
            (spec, host) = (spec.hosts(wires.hosts()), Wires::host());
        }
        let cluster = TestCluster::prepare(program.to_str().context("the program's path")?, spec)?;
        let addrs = |of: &dyn Fn(usize) -> String| (0..nodes).map(of).collect::<Vec<_>>();
        let (peers, clients) = (addrs(&|i| cluster.peer_addr(i)), addrs(&|i| cluster.client_addr(i)));
        let network = Network::open(host, &peers, &clients).await?;
        let mut desks = Vec::new();
        for i in 0..nodes {
            let text = std::fs::read_to_string(cluster.config_file(i))?;
            std::fs::write(cluster.config_file(i), reroute(&text, i, &network, &peers, &clients))?;
            let dir = cluster.node_dir(i).join("faults");
            std::fs::create_dir_all(&dir)?;
            desks.push(Desk::new(&dir));
        }
        let seats = || (0..nodes).map(|_| tokio::sync::Mutex::new(())).collect();
        let fleet = Self {
            network,
            desks,
            orders: Mutex::new(vec![Orders::default(); nodes]),
            seats: seats(),
            disks: seats(),
            away: tokio::sync::Mutex::default(),
            clocks: tokio::sync::RwLock::new(()),
            turns: Mutex::default(),
            http: addrs(&|i| cluster.http_addr(i)),
            logs: (0..nodes).map(|i| cluster.log_file(i)).collect(),
            data: (0..nodes).map(|i| cluster.data_dir(i)).collect(),
            program: program.to_owned(),
            wires,
            cluster: Mutex::new(cluster),
        };
        for i in 0..nodes {
            fleet.launch(i)?;
        }
        for i in 0..nodes {
            fleet.ready(i).await?;
        }
        Ok(fleet)
    }

    /// Nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.http.len()
    }

    /// Never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.http.is_empty()
    }

    /// Where clients reach the nodes: all through the proxy.
    #[must_use]
    pub fn seeds(&self) -> Vec<String> {
        (0..self.len()).map(|i| self.network.addr(Place::Clients, i).to_owned()).collect()
    }

    /// Where clients reach the nodes without the proxy.
    #[must_use]
    pub fn direct(&self) -> Vec<String> {
        let cluster = self.cluster.lock();
        (0..self.len()).map(|i| cluster.client_addr(i)).collect()
    }

    /// Where node `i` listens for peers, without the proxy.
    #[must_use]
    pub fn direct_peer(&self, i: usize) -> String {
        self.cluster.lock().peer_addr(i)
    }

    /// The cluster's id.
    #[must_use]
    pub fn id(&self) -> String {
        self.cluster.lock().id().to_owned()
    }

    /// Where node `i` keeps its data.
    #[must_use]
    pub fn data_dir(&self, i: usize) -> &Path {
        &self.data[i]
    }

    /// What node `i` has logged.
    #[must_use]
    pub fn log(&self, i: usize) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.logs[i]).unwrap_or_default()).into_owned()
    }

    /// Starts node `i`; does not wait for it.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn launch(&self, i: usize) -> Result<()> {
        let mut cluster = self.cluster.lock();
        ensure!(!cluster.runs(i), "{} runs already", name(i));
        let mut command = match self.wires {
            Some(_) => Wires::command(i, &self.program),
            None => Command::new(&self.program),
        };
        command.arg("server").arg("--config").arg(cluster.config_file(i)).arg("--end-with-stdin");
        command.env(inject::VARIABLE, self.desks[i].dir());
        // The system makes a stopped process go on when the shell that started its group has ended.
        command.process_group(0);
        self.turns.lock().push((i, SystemTime::now()));
        let process = NodeProcess::start_command(command, &self.logs[i])?;
        cluster.adopt(i, process);
        Ok(())
    }

    /// When each node's process was started, and when it was seen to have ended: nothing of a node ran on over
    /// such a moment.
    #[must_use]
    pub fn turns(&self) -> Vec<(usize, SystemTime)> {
        self.turns.lock().clone()
    }

    /// The process of node `i`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self, i: usize) -> Result<u32> {
        Ok(self.cluster.lock().process(i)?.id())
    }

    /// Sends a signal to node `i`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, i: usize, signal: Signal) -> Result<()> {
        self.cluster.lock().process(i)?.signal(signal)
    }

    /// SIGKILL to node `i`. The evidence: how the process ended.
    ///
    /// # Errors
    /// When it did not run, or did not end by this.
    pub fn kill(&self, i: usize) -> Result<String> {
        let mut cluster = self.cluster.lock();
        let pid = cluster.process(i)?.id();
        let status = cluster.process(i)?.kill()?;
        cluster.forget(i);
        drop(cluster);
        self.turns.lock().push((i, SystemTime::now()));
        ensure!(status.signal() == Some(Signal::KILL.as_raw()), "{} ended with {status}", name(i));
        ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
        Ok(format!("{} (pid {pid}) ended by {status}", name(i)))
    }

    /// How node `i` ended, if it did.
    #[must_use]
    pub fn ended(&self, i: usize) -> Option<ExitStatus> {
        let mut cluster = self.cluster.lock();
        let ended = cluster.process(i).ok()?.ended().ok().flatten();
        if ended.is_some() {
            cluster.forget(i);
            self.turns.lock().push((i, SystemTime::now()));
        }
        ended
    }

    /// Waits until node `i` has ended by itself.
    ///
    /// # Errors
    /// When it does not.
    pub async fn end(&self, i: usize) -> Result<ExitStatus> {
        let what = format!("the end of {}", name(i));
        until(&what, END_WITHIN, async || self.ended(i).ok_or_else(|| "it runs".to_owned())).await
    }

    /// Waits until node `i` is ready.
    ///
    /// # Errors
    /// When it ends, or is not in time.
    pub async fn ready(&self, i: usize) -> Result<()> {
        let what = format!("{} to be ready", name(i));
        let ready = until(&what, READY_WITHIN, async || {
            if let Some(status) = self.ended(i) {
                return Ok(Err(anyhow::anyhow!("{} ended by itself: {status}", name(i))));
            }
            match http::get(&self.http[i], "/readyz").await {
                Ok((200, _)) => Ok(Ok(())),
                Ok((status, body)) => Err(format!("{status}: {}", body.trim())),
                Err(error) => Err(error.to_string()),
            }
        });
        ready.await?
    }

    /// Whether node `i` runs.
    #[must_use]
    pub fn runs(&self, i: usize) -> bool {
        self.cluster.lock().runs(i)
    }

    /// What node `i` shows of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn seen(&self, i: usize) -> Result<Seen> {
        match http::get(&self.http[i], "/metrics").await? {
            (200, text) => Ok(Seen(text)),
            (status, _) => anyhow::bail!("/metrics of {} answered {status}", name(i)),
        }
    }

    /// Changes the orders of node `i`; says their number.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn order(&self, i: usize, change: impl FnOnce(&mut Orders)) -> Result<u64> {
        let mut orders = self.orders.lock();
        change(&mut orders[i]);
        orders[i].number += 1;
        self.desks[i].order(&orders[i])?;
        Ok(orders[i].number)
    }

    /// What was injected into node `i` so far.
    #[must_use]
    pub fn counts(&self, i: usize) -> Counts {
        self.desks[i].counts()
    }

    /// Waits until node `i` has read its orders.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ordered(&self, i: usize, number: u64) -> Result<()> {
        let what = format!("{} to read its orders", name(i));
        until(&what, READ_WITHIN, async || match self.counts(i).number {
            read if read >= number => Ok(()),
            read => Err(format!("it has read {read} of {number}")),
        })
        .await
    }

    /// The end of a run: no node has panicked.
    ///
    /// # Errors
    /// When one has.
    pub fn check_logs(&self) -> Result<()> {
        for i in 0..self.len() {
            let log = self.log(i);
            let line = log.lines().find(|line| line.contains("panicked at"));
            ensure!(line.is_none(), "{} has panicked: {}", name(i), line.unwrap_or_default());
        }
        Ok(())
    }

    /// Copies what the nodes have logged.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_logs(&self, dir: &Path) -> Result<()> {
        for (i, log) in self.logs.iter().enumerate() {
            std::fs::copy(log, dir.join(format!("{}.log", name(i))))?;
        }
        Ok(())
    }

    /// Ends all processes and removes their directories.
    pub fn remove(self) {
        let cluster = self.cluster.into_inner();
        // Whether the run went well is told by its report, with the logs kept.
        let _told = cluster.finish();
    }
}

/// A node's configuration with the proxy in place of every other node's peer address, and of every node's
/// client address.
fn reroute(text: &str, i: usize, network: &Network, peers: &[String], clients: &[String]) -> String {
    let mut text = text.to_owned();
    for (j, (peer, client)) in peers.iter().zip(clients).enumerate() {
        if i != j {
            let instead = format!("\npeer = \"{}\"", network.addr(Place::Node(i), j));
            text = text.replace(&format!("\npeer = \"{peer}\""), &instead);
        }
        let instead = format!("\nclient = \"{}\"", network.addr(Place::Clients, j));
        text = text.replace(&format!("\nclient = \"{client}\""), &instead);
    }
    text
}
