//! The nodes that are called: connections to them, and who is believed to lead what.
//!
//! A node is called only at the address that the harness gave for it: a hint names a node, never
//! where it is, so that no call goes round a proxy.

use super::session::Session;
use hapax_client::env::Network;
use hapax_core::{LeaderHint, LogTime, Witness};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// After a failed connection nobody on the same lane tries again for so long.
const REST: Duration = Duration::from_millis(100);

/// What is called.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Where clients reach each node, in the order in which histories name them.
    pub nodes: Vec<String>,
    /// The cluster's data shards.
    pub shards: u32,
}

/// What all workers of a load know of the cluster.
#[derive(Debug)]
pub(super) struct Routes {
    leaders: Vec<AtomicUsize>,
    /// The highest log time that was seen of each shard.
    times: Vec<AtomicU64>,
    nodes: Mutex<BTreeMap<u64, usize>>,
}

impl Routes {
    pub(super) fn new(targets: &Targets) -> Self {
        let shards = 0..targets.shards;
        Self {
            leaders: shards.clone().map(|_| AtomicUsize::new(0)).collect(),
            times: shards.map(|_| AtomicU64::new(0)).collect(),
            nodes: Mutex::default(),
        }
    }

    pub(super) fn leader(&self, shard: u32) -> usize {
        at(&self.leaders, shard).map_or(0, |leader| leader.load(Ordering::Relaxed))
    }

    pub(super) fn set_leader(&self, shard: u32, node: usize) {
        if let Some(leader) = at(&self.leaders, shard) {
            leader.store(node, Ordering::Relaxed);
        }
    }

    /// Which node a hint means, if anybody has met it.
    pub(super) fn hinted(&self, hint: &LeaderHint) -> Option<usize> {
        self.nodes.lock().get(&hint.node).copied()
    }

    pub(super) fn saw(&self, witness: &Witness) {
        if let Some(time) = at(&self.times, witness.shard) {
            time.fetch_max(witness.time.0, Ordering::Relaxed);
        }
    }

    /// The latest log time seen of a shard; none before the first.
    pub(super) fn time(&self, shard: u32) -> Option<LogTime> {
        let time = at(&self.times, shard)?.load(Ordering::Relaxed);
        (time > 0).then_some(LogTime(time))
    }

    fn met(&self, id: u64, node: usize) {
        self.nodes.lock().insert(id, node);
    }
}

fn at<T>(items: &[T], shard: u32) -> Option<&T> {
    items.get(usize::try_from(shard).ok()?)
}

/// One connection to each node, shared by some of the workers.
pub(super) struct Lane {
    network: Arc<dyn Network>,
    routes: Arc<Routes>,
    nodes: Vec<(String, tokio::sync::Mutex<Line>)>,
}

#[derive(Default)]
struct Line {
    session: Option<Arc<Session>>,
    failed: Option<Instant>,
}

impl Lane {
    pub(super) fn new(network: Arc<dyn Network>, targets: &Targets, routes: Arc<Routes>) -> Self {
        let nodes = targets.nodes.iter().map(|addr| (addr.clone(), tokio::sync::Mutex::default()));
        Self { network, routes, nodes: nodes.collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The lane's connection to a node, opened where there is none; none when that fails.
    pub(super) async fn session(&self, node: usize) -> Option<Arc<Session>> {
        let (_, line) = self.nodes.get(node)?;
        let mut line = line.lock().await;
        if let Some(session) = line.session.as_ref().filter(|session| session.is_open()) {
            return Some(Arc::clone(session));
        }
        line.session = None;
        if line.failed.is_some_and(|failed| failed.elapsed() < REST) {
            return None;
        }
        match self.own_session(node).await {
            Some(session) => {
                let session = Arc::new(session);
                line.session = Some(Arc::clone(&session));
                Some(session)
            }
            None => {
                line.failed = Some(Instant::now());
                None
            }
        }
    }

    /// A connection to a node that is nobody else's.
    pub(super) async fn own_session(&self, node: usize) -> Option<Session> {
        let (address, _) = self.nodes.get(node)?;
        let session = Session::open(&self.network, address).await.ok()?;
        self.routes.met(session.welcome().node, node);
        Some(session)
    }

    /// Gives a connection up on which an answer did not come: it may be half open.
    pub(super) async fn give_up(&self, node: usize, session: &Arc<Session>) {
        let Some((_, line)) = self.nodes.get(node) else { return };
        let mut line = line.lock().await;
        if line.session.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, session)) {
            line.session = None;
        }
        // Calls of others on it are lost to them as well: nobody resends, so nothing is hidden.
        session.cut();
    }
}
