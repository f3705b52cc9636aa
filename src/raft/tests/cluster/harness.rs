//! A cluster of nodes in this process, each with its own disk, clock and threads.

use crate::asks::ask_node;
use crate::clock::TestClock;
use crate::node::{Counting, Home, Plan, Storage, TestNode};
use crate::wires::Wire;
use hapax_core::{Answer, Ask, PolicyTable, Reply};
use hapax_raft::config::{NodeLimits, PeerConfig, Timing};
use hapax_raft::env::Env;
use hapax_raft::ids::NodeId;
use hapax_raft::node::Readiness;
use hapax_store::disk::SimDisk;
use hapax_store::records::MemoryEngine;
use hapax_wire::status::{ShardRole, ShardStatus};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How a cluster is made.
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    pub(crate) shards: u32,
    pub(crate) policies: PolicyTable,
    pub(crate) limits: NodeLimits,
    pub(crate) timing: Timing,
    /// On fjall and real directories.
    pub(crate) on_disk: bool,
    /// Nodes dial each other over wires that can be held.
    pub(crate) wired: bool,
    /// How fast each boot clock runs, in permille more than right.
    pub(crate) drifts_permille: Vec<i64>,
    /// How far each wall clock is off from the start.
    pub(crate) wall_offsets_ms: Vec<i64>,
}

impl Setup {
    pub(crate) fn of(nodes: usize) -> Self {
        Self {
            nodes,
            shards: 4,
            policies: PolicyTable::default(),
            limits: NodeLimits::default(),
            timing: Timing {
                heartbeat_ms: 50,
                election_min_ms: 900,
                election_max_ms: 1_200,
                rpc_ms: 1_000,
                maintain_ms: 200,
                ..Timing::default()
            },
            on_disk: false,
            wired: false,
            drifts_permille: Vec::new(),
            wall_offsets_ms: Vec::new(),
        }
    }
}

/// All nodes of a cluster; a stopped one is `None`.
pub(crate) struct Cluster {
    _dir: tempfile::TempDir,
    setup: Setup,
    addrs: Vec<String>,
    wires: HashMap<(usize, usize), Wire>,
    pub(crate) homes: Vec<Home>,
    pub(crate) nodes: Vec<Option<TestNode>>,
}

impl Cluster {
    /// Forms a cluster of `count` nodes and waits until all of them are ready.
    pub(crate) async fn form(count: usize) -> Self {
        Self::form_with(Setup::of(count)).await
    }

    pub(crate) async fn form_with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listeners: Vec<_> =
            (0..setup.nodes).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addrs: Vec<String> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        let mut wires = HashMap::new();
        if setup.wired {
            for i in 0..setup.nodes {
                for j in (0..setup.nodes).filter(|j| *j != i) {
                    wires.insert((i, j), Wire::new(addrs[j].clone()).await);
                }
            }
        }
        let random = Env::real();
        let homes = (0..setup.nodes).map(|i| {
            let storage = if setup.on_disk {
                Storage::Real(dir.path().join(format!("node-{i}")))
            } else {
                Storage::Simulated(SimDisk::new(), MemoryEngine::new())
            };
            let clock = TestClock::new(setup.drifts_permille.get(i).copied().unwrap_or(0));
            clock.set_wall_offset(setup.wall_offsets_ms.get(i).copied().unwrap_or(0));
            let id = NodeId::from_u64(random.random_u64() | 1 << 20);
            Home { id, storage, clock, observer: Arc::new(Counting::default()) }
        });
        let homes = homes.collect();
        let nodes = (0..setup.nodes).map(|_| None).collect();
        let mut cluster = Self { _dir: dir, setup, addrs, wires, homes, nodes };
        let starts = listeners.into_iter().enumerate();
        let starts =
            starts.map(|(i, listener)| TestNode::start(&cluster.homes[i], cluster.plan(i), listener));
        let started = futures_util::future::join_all(starts).await;
        cluster.nodes = started.into_iter().map(Some).collect();
        cluster.wait_ready().await;
        cluster
    }

    fn plan(&self, i: usize) -> Plan {
        let peer = |j: usize| PeerConfig {
            name: format!("node-{j}"),
            peer_addr: self.wires.get(&(i, j)).map_or(&self.addrs[j], |wire| &wire.addr).clone(),
            client_addr: format!("client-of-node-{j}"),
            zone: String::new(),
        };
        Plan {
            name: format!("node-{i}"),
            peers: (0..self.setup.nodes).map(peer).collect(),
            policies: self.setup.policies.clone(),
            limits: self.setup.limits,
            timing: self.setup.timing,
            shards: self.setup.shards,
        }
    }

    pub(crate) fn shards(&self) -> u32 {
        self.setup.shards
    }

    /// The address on which a node lets its peers in.
    pub(crate) fn peer_addr(&self, i: usize) -> &str {
        &self.addrs[i]
    }

    /// Starts a stopped node again, at its old address.
    pub(crate) async fn start(&mut self, i: usize) {
        let listener = rebind(&self.addrs[i]).await;
        self.nodes[i] = Some(TestNode::start(&self.homes[i], self.plan(i), listener).await);
    }

    /// Stops a node in an orderly way.
    pub(crate) async fn stop(&mut self, i: usize) {
        if let Some(node) = self.nodes[i].take() {
            node.stop().await;
        }
    }

    /// Cuts a node's power.
    pub(crate) fn cut_power(&mut self, i: usize, seed: u64) {
        if let Some(node) = self.nodes[i].take() {
            node.cut_power(&mut self.homes[i], seed);
        }
    }

    /// Holds, or lets go, everything between a node and all others.
    pub(crate) fn isolate(&self, i: usize, held: bool) {
        for ((from, to), wire) in &self.wires {
            if *from == i || *to == i {
                wire.hold(held, held);
            }
        }
    }

    /// Holds what a node sends to others, whoever dialled; it still hears them.
    pub(crate) fn mute(&self, i: usize, held: bool) {
        for ((from, to), wire) in &self.wires {
            if *from == i {
                wire.hold(held, false);
            } else if *to == i {
                wire.hold(false, held);
            }
        }
    }

    /// Holds what others send to a node, whoever dialled; they still hear it.
    pub(crate) fn deafen(&self, i: usize, held: bool) {
        for ((from, to), wire) in &self.wires {
            if *from == i {
                wire.hold(false, held);
            } else if *to == i {
                wire.hold(held, false);
            }
        }
    }

    /// Loses, or no longer, what a node answers to those that send it a snapshot, and that its connections end.
    pub(crate) fn lose_snapshot_answers(&self, i: usize, lost: bool) {
        for ((_, to), wire) in &self.wires {
            if *to == i {
                wire.lose_snapshot_answers(lost);
            }
        }
    }

    pub(crate) async fn wait_ready(&self) {
        self.wait("every node is ready and every shard led", |cluster| {
            cluster.nodes.iter().flatten().all(|node| node.node.readiness() == Readiness::Ready)
                && (0..cluster.setup.shards).all(|shard| cluster.leader_of(shard).is_some())
        })
        .await;
    }

    /// Waits until something holds, which must be within 30 s.
    pub(crate) async fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            if Instant::now() > deadline {
                let status =
                    |node: &TestNode| format!("{:?} {:?}", node.node.readiness(), node.node.status().shards);
                let all: Vec<_> = self.nodes.iter().map(|node| node.as_ref().map(status)).collect();
                panic!("never came true: {what}\n{all:#?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Which node leads a shard and may propose.
    pub(crate) fn leader_of(&self, shard: u32) -> Option<usize> {
        self.nodes.iter().position(|node| node.as_ref().is_some_and(|node| node.node.leads(shard)))
    }

    pub(crate) fn node(&self, i: usize) -> &TestNode {
        self.nodes[i].as_ref().unwrap()
    }

    /// How a node's replica of a shard is.
    pub(crate) fn replica(&self, i: usize, shard: u32) -> Option<ShardStatus> {
        let status = self.nodes[i].as_ref()?.node.status();
        status.shards.into_iter().find(|status| status.shard == shard)
    }

    /// Waits until all running replicas of every shard have applied the same entries, and holds
    /// their digests against each other.
    pub(crate) async fn check_agreement(&self) {
        for shard in 0..self.setup.shards {
            self.wait("replicas have applied the same", |cluster| {
                let replicas = cluster.running(shard);
                let first = replicas.first().map(|replica| replica.applied_index);
                replicas.iter().all(|replica| Some(replica.applied_index) == first)
            })
            .await;
            let replicas = self.running(shard);
            let same = replicas.windows(2).all(|two| {
                (two[0].applied_index, two[0].digest, two[0].records, two[0].time)
                    == (two[1].applied_index, two[1].digest, two[1].records, two[1].time)
            });
            assert!(same && !replicas.is_empty(), "{replicas:#?}");
        }
    }

    fn running(&self, shard: u32) -> Vec<ShardStatus> {
        let replicas = (0..self.nodes.len()).filter_map(|i| self.replica(i, shard));
        replicas.filter(|replica| replica.role != ShardRole::Stopped).collect()
    }

    /// Sends one request to a node, again while it says that the lead is moving.
    pub(crate) async fn ask(&self, i: usize, ask: Ask) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = ask_node(self.node(i), ask.clone(), 10_000).await;
            match &answer.reply {
                Reply::Error(error) if error.definite && Instant::now() < deadline => {
                    sleep(Duration::from_millis(20)).await;
                }
                _ => return answer,
            }
        }
    }

    /// Sends one request to a node until it is answered; sending a verb again does no harm.
    pub(crate) async fn insist(&self, i: usize, ask: Ask) -> Reply {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.ask(i, ask.clone()).await.reply {
                Reply::Error(error) => assert!(Instant::now() < deadline, "{error:?}"),
                reply => return reply,
            }
        }
    }
}

async fn rebind(addr: &str) -> std::net::TcpListener {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match std::net::TcpListener::bind(addr) {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}
