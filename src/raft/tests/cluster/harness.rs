//! A cluster of nodes in this process, each with its own directory, log and records.

use hapax_core::request::{ClaimAsk, CompleteAsk, GetAsk};
use hapax_core::{
    Address, Answer, Ask, Fingerprint, Key, Metadata, Nonce, Operation, Outcome, OutcomeClass, PolicyTable,
    Principal, Reply, Request, Tenant, Token,
};
use hapax_raft::call::{Call, Caller, ReplySink};
use hapax_raft::config::{NodeConfig, NodeLimits, PeerConfig, Timing};
use hapax_raft::env::{Env, net::TcpListener};
use hapax_raft::formation;
use hapax_raft::ids::NodeId;
use hapax_raft::layout::Layout;
use hapax_raft::node::{Node, Readiness};
use hapax_raft::observe::{Anomaly, Observer};
use hapax_raft::peer::acceptor::PeerAcceptor;
use hapax_store::disk::{Disk, RealDisk};
use hapax_store::log::{Log, LogConfig};
use hapax_store::records::{EngineKind, RecordConfig, RecordStore};
use hapax_wire::ClusterId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

pub(crate) const SHARDS: u32 = 4;

/// Counts what a node reports.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) proposed: Mutex<u64>,
    pub(crate) anomalies: Mutex<Vec<Anomaly>>,
}

impl Observer for Counting {
    fn answered(&self, _: u32, _: &'static str, _: &Answer, _: u64) {}
    fn proposed(&self, _: u32, commands: usize) {
        *self.proposed.lock() += commands as u64;
    }
    fn event(&self, _: u32, _: &hapax_core::Event, _: bool) {}
    fn anomaly(&self, _: u32, what: Anomaly) {
        self.anomalies.lock().push(what);
    }
}

pub(crate) struct TestNode {
    pub(crate) node: Arc<Node>,
    pub(crate) observer: Arc<Counting>,
    log: Log,
    records: RecordStore,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// All nodes of a cluster; a stopped one is `None`.
pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    peers: Vec<PeerConfig>,
    pub(crate) policies: PolicyTable,
    pub(crate) limits: NodeLimits,
    pub(crate) nodes: Vec<Option<TestNode>>,
}

impl Cluster {
    /// Forms a cluster of `count` nodes and waits until all of them are ready.
    pub(crate) async fn form(count: usize) -> Self {
        Self::form_with(count, PolicyTable::default(), NodeLimits::default()).await
    }

    pub(crate) async fn form_with(count: usize, policies: PolicyTable, limits: NodeLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut listeners = Vec::new();
        let mut peers = Vec::new();
        for i in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            peers.push(PeerConfig {
                name: format!("node-{}", i + 1),
                peer_addr: listener.local_addr().unwrap().to_string(),
                client_addr: format!("client-of-node-{}", i + 1),
                zone: String::new(),
            });
            listeners.push(listener);
        }
        let mut cluster = Self { dir, peers, policies, limits, nodes: (0..count).map(|_| None).collect() };
        let starts: Vec<_> =
            listeners.into_iter().enumerate().map(|(i, listener)| cluster.open(i, listener)).collect();
        let started = futures_util::future::join_all(starts).await;
        for (i, node) in started.into_iter().enumerate() {
            cluster.nodes[i] = Some(node);
        }
        cluster.wait_ready().await;
        cluster
    }

    pub(crate) fn node_dir(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("node-{}", i + 1))
    }

    fn open(&self, i: usize, listener: TcpListener) -> impl Future<Output = TestNode> + use<> {
        let dir = self.node_dir(i);
        let (peers, policies, limits) = (self.peers.clone(), self.policies.clone(), self.limits);
        async move { open_node(i, dir, peers, policies, limits, listener).await }
    }

    /// Starts a stopped node again, at its old address.
    pub(crate) async fn start(&mut self, i: usize) {
        let listener = rebind(&self.peers[i].peer_addr).await;
        let node = self.open(i, listener).await;
        self.nodes[i] = Some(node);
    }

    /// Stops a node in an orderly way.
    pub(crate) async fn stop(&mut self, i: usize) {
        let Some(node) = self.nodes[i].take() else { return };
        node.node.shutdown().await;
        node.close().await;
    }

    pub(crate) async fn wait_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        for node in self.nodes.iter().flatten() {
            loop {
                let leads_all = (0..SHARDS).all(|shard| self.leader_of(shard).is_some());
                match node.node.readiness() {
                    Readiness::Ready if leads_all => break,
                    other => assert!(Instant::now() < deadline, "not ready: {other:?}"),
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Which node leads a shard and may propose.
    pub(crate) fn leader_of(&self, shard: u32) -> Option<usize> {
        self.nodes.iter().position(|node| node.as_ref().is_some_and(|node| node.node.leads(shard)))
    }

    pub(crate) fn node(&self, i: usize) -> &TestNode {
        self.nodes[i].as_ref().unwrap()
    }

    /// Sends one request to a node, again while it says that the lead is moving.
    pub(crate) async fn ask(&self, i: usize, ask: Ask) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = ask_node(&self.node(i).node, ask.clone(), 10_000).await;
            match &answer.reply {
                Reply::Error(error) if error.definite && Instant::now() < deadline => {
                    sleep(Duration::from_millis(20)).await;
                }
                _ => return answer,
            }
        }
    }
}

impl TestNode {
    async fn close(self) {
        self.log.flush_and_stop().await.unwrap();
        self.records.close();
        drop(self.node);
        for thread in self.threads {
            tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        }
    }
}

async fn rebind(addr: &str) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match TcpListener::bind(addr).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn open_node(
    i: usize,
    dir: PathBuf,
    peers: Vec<PeerConfig>,
    policies: PolicyTable,
    limits: NodeLimits,
    listener: TcpListener,
) -> TestNode {
    let env = Env::real();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    std::fs::create_dir_all(&dir).unwrap();
    let id_file = dir.join("test-node-id");
    let node_id = match std::fs::read_to_string(&id_file) {
        Ok(id) => NodeId::from_u64(id.parse().unwrap()),
        Err(_) => {
            let id = NodeId::from_u64(env.random_u64() | 1 << 20);
            std::fs::write(&id_file, id.as_u64().to_string()).unwrap();
            id
        }
    };
    let config = NodeConfig {
        cluster: ClusterId([7; 16]),
        node: node_id,
        name: peers[i].name.clone(),
        peers,
        engine: "fjall",
        policies,
        timing: Timing { heartbeat_ms: 50, election_min_ms: 300, election_max_ms: 600, ..Timing::default() },
        limits,
    };
    let log_config = LogConfig { segment_bytes: 64 << 20, ..LogConfig::default() };
    let (log, writer) = Log::open(Arc::clone(&disk), &dir.join("log"), log_config).unwrap();
    let record_config = RecordConfig { kind: EngineKind::Fjall, ..RecordConfig::default() };
    let (records, record_writer) =
        RecordStore::open(Arc::clone(&disk), &dir.join("records"), record_config).unwrap();
    let clock = {
        let env = env.clone();
        move || env.clock.boot_ms()
    };
    let threads = vec![
        std::thread::spawn(move || writer.run_blocking()),
        std::thread::spawn(move || record_writer.run_blocking(clock).unwrap()),
    ];
    let acceptor = PeerAcceptor::start(listener, &config, env.clone());
    let place = |nodes: &[(NodeId, String)]| place(nodes);
    let layout = formation::form(&acceptor, &config, &*disk, &dir, &log, &place, &|_| ()).await.unwrap();
    let observer = Arc::new(Counting::default());
    let reporting: Arc<dyn Observer> = Arc::clone(&observer) as Arc<dyn Observer>;
    let node = Node::start(config, env, layout, log.clone(), records.clone(), acceptor, reporting).unwrap();
    TestNode { node, observer, log, records, threads }
}

/// Each shard on three nodes (or on all there are), the preferred leader rotating.
fn place(nodes: &[(NodeId, String)]) -> Layout {
    let replication = nodes.len().min(3);
    let table = (0..SHARDS as usize)
        .map(|shard| (0..replication).map(|r| nodes[(shard + r) % nodes.len()].0.replica(0)).collect())
        .collect();
    Layout { version: 1, replication: replication as u8, nodes: nodes.to_vec(), table }
}

struct OneReply(Mutex<HashMap<u64, oneshot::Sender<Answer>>>);

impl ReplySink for OneReply {
    fn deliver(&self, answers: Vec<(u64, Answer)>) {
        for (id, answer) in answers {
            let sender = self.0.lock().remove(&id).expect("each call is answered once");
            let _gone = sender.send(answer);
        }
    }
}

/// Sends one request to a node and waits for its answer.
pub(crate) async fn ask_node(node: &Arc<Node>, ask: Ask, deadline_ms: u32) -> Answer {
    ask_all(node, vec![ask], deadline_ms).await.remove(0)
}

/// Sends requests in one frame and waits for all answers.
pub(crate) async fn ask_all(node: &Arc<Node>, asks: Vec<Ask>, deadline_ms: u32) -> Vec<Answer> {
    let mut senders = HashMap::new();
    let mut receivers = Vec::new();
    let mut calls = Vec::new();
    for (id, ask) in (1u64..).zip(asks) {
        let (sender, receiver) = oneshot::channel();
        senders.insert(id, sender);
        receivers.push(receiver);
        calls.push(Call { id, deadline_ms, request: Request { not_after: None, ask } });
    }
    let caller = Caller::new(Principal::default(), Box::new(OneReply(Mutex::new(senders))));
    node.submit(calls, &caller);
    let mut answers = Vec::new();
    for receiver in receivers {
        answers.push(tokio::time::timeout(Duration::from_secs(90), receiver).await.unwrap().unwrap());
    }
    answers
}

pub(crate) fn address(key: &str) -> Address {
    let operation = Operation::new("payments.charge").unwrap();
    Address::new(&Tenant::new("acme").unwrap(), &operation, &Key::new(key).unwrap())
}

pub(crate) fn nonce(n: u64) -> Nonce {
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    Nonce::try_from(bytes).unwrap()
}

pub(crate) fn claim(key: &str, n: u64, wait_ms: u64) -> Ask {
    Ask::Claim(ClaimAsk {
        address: address(key),
        fingerprint: Some(Fingerprint { algorithm: 1, digest: [9; 32] }),
        fields: Default::default(),
        nonce: nonce(n),
        lease_ms: None,
        wait_ms,
        first_sent: None,
        label: None,
        trace: None,
        value: None,
    })
}

pub(crate) fn complete(key: &str, token: Token, result: &str) -> Ask {
    let outcome =
        Outcome { class: OutcomeClass::Success, result: result.into(), metadata: Metadata::default() };
    Ask::Complete(CompleteAsk { address: address(key), token, outcome, retention_ms: None })
}

pub(crate) fn get(key: &str) -> Ask {
    Ask::Get(GetAsk { address: address(key), fingerprint: None, wait_ms: 0, stale: false })
}

pub(crate) fn token_of(answer: &Answer) -> Token {
    match &answer.reply {
        Reply::Granted(granted) => granted.token,
        other => panic!("expected a grant, got {other:?}"),
    }
}
