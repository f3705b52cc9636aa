//! One node: what outlives it (its disk, its clock), and one life of it.

use crate::clock::TestClock;
use hapax_core::{Answer, Event, PolicyTable};
use hapax_raft::config::{NodeConfig, NodeLimits, PeerConfig, Timing};
use hapax_raft::env::net::TcpListener;
use hapax_raft::formation;
use hapax_raft::ids::NodeId;
use hapax_raft::layout::Layout;
use hapax_raft::node::{Node, Stored};
use hapax_raft::observe::{Anomaly, Observer};
use hapax_raft::peer::acceptor::PeerAcceptor;
use hapax_store::disk::{Disk, RealDisk, SimDisk};
use hapax_store::log::{Log, LogConfig};
use hapax_store::records::{EngineKind, MemoryEngine, RecordConfig, RecordStore};
use hapax_wire::ClusterId;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);

/// Counts what a node reports.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) entries: AtomicU64,
    pub(crate) commands: AtomicU64,
    pub(crate) anomalies: Mutex<Vec<(u32, Anomaly)>>,
}

impl Counting {
    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// The commands in all entries.
    pub(crate) fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    pub(crate) fn has(&self, what: Anomaly) -> bool {
        self.anomalies.lock().iter().any(|(_, seen)| *seen == what)
    }
}

impl Observer for Counting {
    fn answered(&self, _: u32, _: &'static str, _: &Answer, _: u64) {}
    fn proposed(&self, _: u32, commands: usize) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(commands as u64, Ordering::Relaxed);
    }
    fn event(&self, _: u32, _: &Event, _: bool) {}
    fn anomaly(&self, shard: u32, what: Anomaly) {
        self.anomalies.lock().push((shard, what));
    }
}

/// Where a node keeps its data.
#[derive(Clone)]
pub(crate) enum Storage {
    /// In memory, with a disk and an engine that lose what was not synced when the power goes.
    Simulated(SimDisk, MemoryEngine),
    /// In a directory, with fjall.
    Real(PathBuf),
}

/// What outlives a node's process.
pub(crate) struct Home {
    pub(crate) id: NodeId,
    pub(crate) storage: Storage,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) observer: Arc<Counting>,
}

/// What a node is told when it starts.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) peers: Vec<PeerConfig>,
    pub(crate) policies: PolicyTable,
    pub(crate) limits: NodeLimits,
    pub(crate) timing: Timing,
    pub(crate) shards: u32,
}

/// One life of a node, on threads of its own.
pub(crate) struct TestNode {
    pub(crate) node: Arc<Node>,
    pub(crate) log: Log,
    records: RecordStore,
    threads: Vec<std::thread::JoinHandle<()>>,
    runtime: Option<Runtime>,
}

impl TestNode {
    /// Starts a node and waits until it has formed or found its cluster.
    pub(crate) async fn start(home: &Home, plan: Plan, listener: std::net::TcpListener) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (storage, env, id) = (home.storage.clone(), home.clock.env(), home.id);
        let observer: Arc<dyn Observer> = Arc::clone(&home.observer) as Arc<dyn Observer>;
        let life = runtime.spawn(async move { open(storage, env, id, observer, plan, listener).await });
        let (node, log, records, threads) = life.await.unwrap();
        Self { node, log, records, threads, runtime: Some(runtime) }
    }

    /// Runs a call in the node's own runtime, so that what it spawns dies with the node.
    pub(crate) fn enter<T>(&self, call: impl FnOnce(&Arc<Node>) -> T) -> T {
        let _guard = self.runtime.as_ref().map(|runtime| runtime.enter());
        call(&self.node)
    }

    /// Ends it in an orderly way.
    pub(crate) async fn stop(mut self) {
        self.node.shutdown().await;
        self.log.flush_and_stop().await.unwrap();
        self.records.close();
        for thread in self.threads.drain(..) {
            tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        }
    }

    /// Cuts its power: no task goes on, no byte that was not synced survives.
    pub(crate) fn cut_power(mut self, home: &mut Home, seed: u64) {
        let Storage::Simulated(disk, engine) = &mut home.storage else { panic!("only a simulated disk") };
        disk.crash(seed);
        home.clock.reboot();
        *engine = engine.crash(usize::try_from(seed).unwrap() % (engine.unsynced() + 1));
        self.runtime.take().unwrap().shutdown_background();
        self.records.close();
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.records.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Opened = (Arc<Node>, Log, RecordStore, Vec<std::thread::JoinHandle<()>>);

async fn open(
    storage: Storage,
    env: hapax_raft::env::Env,
    id: NodeId,
    observer: Arc<dyn Observer>,
    plan: Plan,
    listener: std::net::TcpListener,
) -> Opened {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let (disk, dir, kind): (Arc<dyn Disk>, PathBuf, EngineKind) = match storage {
        Storage::Simulated(disk, engine) => (Arc::new(disk), "/node".into(), EngineKind::Memory(engine)),
        Storage::Real(dir) => (Arc::new(RealDisk), dir, EngineKind::Fjall),
    };
    disk.create_dir(&dir).unwrap();
    disk.sync_dir(dir.parent().unwrap()).unwrap();
    let config = NodeConfig {
        cluster: CLUSTER,
        node: id,
        name: plan.name,
        peers: plan.peers,
        engine: "test",
        policies: plan.policies,
        timing: plan.timing,
        limits: plan.limits,
    };
    let log_config = LogConfig {
        segment_bytes: 8 << 20,
        entry_bytes_max: 1 << 20,
        write_bytes_max: 2 << 20,
        reserve_bytes: 0,
        ..LogConfig::default()
    };
    let (log, writer) = Log::open(Arc::clone(&disk), &dir.join("log"), log_config).unwrap();
    let record_config =
        RecordConfig { kind, batch_ms: 50, idle_ms: 200, sync_ms: 100, ..RecordConfig::default() };
    let (records, record_writer) =
        RecordStore::open(Arc::clone(&disk), &dir.join("records"), record_config).unwrap();
    let real = hapax_raft::env::Env::real();
    let threads = vec![
        std::thread::spawn(move || writer.run_blocking()),
        // It ends with an error where a test made the disk fail; what follows from that is the test.
        std::thread::spawn(move || drop(record_writer.run_blocking(move || real.clock.boot_ms()))),
    ];
    let acceptor = PeerAcceptor::start(listener, &config, env.clone());
    let shards = plan.shards;
    let place = move |nodes: &[(NodeId, String)]| place(nodes, shards);
    let form = formation::form(&acceptor, &config, &*disk, &dir, &log, &place, &|_| ());
    let layout = tokio::time::timeout(Duration::from_secs(30), form).await.unwrap().unwrap();
    let stored = Stored { log: log.clone(), records: records.clone(), disk, dir: &dir };
    let node = Node::start(config, env, layout, stored, acceptor, observer).unwrap();
    (node, log, records, threads)
}

/// Each shard on three nodes (or on all there are), the preferred leader rotating.
fn place(nodes: &[(NodeId, String)], shards: u32) -> Layout {
    let replication = nodes.len().min(3);
    let table = (0..shards as usize)
        .map(|shard| (0..replication).map(|r| nodes[(shard + r) % nodes.len()].0.replica(0)).collect())
        .collect();
    Layout { version: 1, replication: replication as u8, nodes: nodes.to_vec(), table }
}
