//! Nodes in this process, on a real disk, that reach each other over loopback; one shard, with a replica on each.

use anyhow::{Context as _, Result, anyhow};
use hapax_bench::stored::scratch;
use hapax_core::{Answer, Event, PolicyTable};
use hapax_raft::call::{Call, Caller};
use hapax_raft::config::{NodeConfig, NodeLimits, PeerConfig, Timing};
use hapax_raft::env::Env;
use hapax_raft::env::net::TcpListener;
use hapax_raft::formation;
use hapax_raft::ids::NodeId;
use hapax_raft::layout::Layout;
use hapax_raft::node::{Node, Stored};
use hapax_raft::observe::{Anomaly, Observer};
use hapax_raft::peer::acceptor::PeerAcceptor;
use hapax_store::disk::{Disk, RealDisk};
use hapax_store::log::{Log, LogConfig};
use hapax_store::records::{RecordConfig, RecordStore};
use hapax_wire::ClusterId;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// For forming and for the first election.
const WITHIN: Duration = Duration::from_secs(60);
/// So patient that no busy moment of the machine moves the lead.
const TIMING: Timing = Timing {
    heartbeat_ms: 100,
    election_min_ms: 5_000,
    election_max_ms: 6_000,
    rpc_ms: 2_000,
    snapshot_ms: 600_000,
    connect_ms: 1_000,
    maintain_ms: 1_000,
};

/// A cluster whose first shard is led.
pub(crate) struct Cluster {
    nodes: Vec<Member>,
    leader: usize,
    proposed: Arc<Proposed>,
    runtime: Runtime,
    _dir: TempDir,
}

/// One node and what it keeps.
struct Member {
    node: Arc<Node>,
    log: Log,
    records: RecordStore,
    threads: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Forms one of so many nodes and waits until one of them leads.
    pub(crate) fn form(count: usize) -> Result<Self> {
        let (dir, runtime) = (scratch::dir()?, Runtime::new()?);
        let proposed = Arc::new(Proposed::default());
        let bind = |_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listeners = (0..count).map(bind).collect::<Result<Vec<_>, _>>()?;
        let peers = listeners.iter().zip(0..).map(peer).collect::<Result<Vec<_>>>()?;
        let mut starting = JoinSet::new();
        for (at, listener) in listeners.into_iter().enumerate() {
            let dir = dir.path().join(&peers[at].name);
            let config = config(at, &peers);
            let proposed = Arc::clone(&proposed);
            starting.spawn_on(start(dir, config, listener, proposed), runtime.handle());
        }
        let mut nodes = Vec::new();
        while let Some(started) = runtime.block_on(starting.join_next()) {
            nodes.push(started??);
        }
        let leader = runtime.block_on(async { timeout(WITHIN, first_to_lead(&nodes)).await });
        let leader = leader.context("no node leads")??;
        Ok(Self { nodes, leader, proposed, runtime, _dir: dir })
    }

    /// Hands calls to the node that leads.
    pub(crate) fn submit(&self, calls: Vec<Call>, caller: &Arc<Caller>) {
        let _entered = self.runtime.enter();
        self.nodes[self.leader].node.submit(calls, caller);
    }

    /// On average, over all that was proposed.
    pub(crate) fn commands_per_entry(&self) -> f64 {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        read(&self.proposed.commands) / read(&self.proposed.entries)
    }

    /// Ends every node in an orderly way.
    pub(crate) fn stop(self) -> Result<()> {
        for Member { node, log, records, threads } in self.nodes {
            self.runtime.block_on(node.shutdown());
            self.runtime.block_on(log.flush_and_stop())?;
            records.close();
            for thread in threads {
                thread.join().map_err(|_| anyhow!("a thread that writes to the disk panicked"))?;
            }
        }
        Ok(())
    }
}

fn peer((listener, number): (&std::net::TcpListener, usize)) -> Result<PeerConfig> {
    Ok(PeerConfig {
        name: format!("node-{number}"),
        peer_addr: listener.local_addr()?.to_string(),
        client_addr: format!("client-of-node-{number}:1"),
        zone: String::new(),
    })
}

fn config(at: usize, peers: &[PeerConfig]) -> NodeConfig {
    NodeConfig {
        cluster: ClusterId([7; 16]),
        node: NodeId::from_u64((at as u64 + 1) << 16),
        name: peers[at].name.clone(),
        peers: peers.to_vec(),
        engine: "fjall",
        policies: PolicyTable::default(),
        timing: TIMING,
        limits: NodeLimits::default(),
    }
}

async fn start(
    dir: PathBuf,
    config: NodeConfig,
    listener: std::net::TcpListener,
    proposed: Arc<Proposed>,
) -> Result<Member> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (disk, env): (Arc<dyn Disk>, _) = (Arc::new(RealDisk), Env::real());
    disk.create_dir(&dir)?;
    let (log, writer) = Log::open(Arc::clone(&disk), &dir.join("log"), LogConfig::default())?;
    let (records, record_writer) =
        RecordStore::open(Arc::clone(&disk), &dir.join("records"), RecordConfig::default())?;
    let clock = Arc::clone(&env.clock);
    let threads = vec![
        std::thread::spawn(move || writer.run_blocking()),
        std::thread::spawn(move || {
            record_writer.run_blocking(move || clock.boot_ms()).expect("the records are written");
        }),
    ];
    let acceptor = PeerAcceptor::start(listener, &config, env.clone());
    let form = formation::form(&acceptor, &config, &*disk, &dir, &log, &place, &|_| ());
    let layout = timeout(WITHIN, form).await.context("the cluster does not form")??;
    let stored = Stored { log: log.clone(), records: records.clone(), disk, dir: &dir };
    let node = Node::start(config, env, layout, stored, acceptor, proposed)?;
    Ok(Member { node, log, records, threads })
}

/// One shard, on every node.
fn place(nodes: &[(NodeId, String)]) -> Layout {
    let replicas: Vec<_> = nodes.iter().map(|(node, _)| node.replica(0)).collect();
    let replication = u8::try_from(replicas.len()).unwrap_or(u8::MAX);
    Layout { version: 1, replication, nodes: nodes.to_vec(), table: vec![replicas] }
}

/// Which node is the first that leads and may propose.
async fn first_to_lead(nodes: &[Member]) -> Result<usize> {
    let mut waiting = JoinSet::new();
    for (at, member) in nodes.iter().enumerate() {
        let node = Arc::clone(&member.node);
        waiting.spawn(async move {
            let mut changes = node.table_changes();
            loop {
                if let Some(group) = node.groups().first() {
                    group.shard().lead.subscribe().wait_for(Option::is_some).await?;
                    return Ok(at);
                }
                changes.changed().await?;
            }
        });
    }
    waiting.join_next().await.context("there is no node")??
}

/// Counts what is proposed.
#[derive(Default)]
struct Proposed {
    entries: AtomicU64,
    commands: AtomicU64,
}

impl Observer for Proposed {
    fn answered(&self, _: u32, _: &'static str, _: &Answer, _: u64) {}

    fn proposed(&self, _: u32, commands: usize) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(commands as u64, Ordering::Relaxed);
    }

    fn event(&self, _: u32, _: &Event, _: bool) {}

    fn anomaly(&self, _: u32, _: Anomaly) {}
}
