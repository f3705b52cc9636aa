//! One connection to each node, opened when it is first needed and again when it is lost.

use crate::config::ClientConfig;
use crate::env::{self, Env, Instant};
use crate::error::Error;
use crate::link::{Link, dial};
use crate::pause::Pause;
use crate::routes::{Addr, Routes};
use hapax_core::ErrorCode;
use hapax_wire::ClusterId;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

/// Addresses kept at once: a cluster has at most 256 nodes, and its seeds may name them otherwise.
const NODES_MAX: usize = 1024;

/// The connections of a client.
pub(crate) struct Pool {
    env: Env,
    config: Arc<ClientConfig>,
    routes: Arc<Routes>,
    nodes: RwLock<HashMap<Addr, Arc<Node>>>,
    /// The cluster that the first welcome named, or the configuration.
    cluster: RwLock<Option<ClusterId>>,
    connects: AtomicU64,
}

struct Node {
    link: RwLock<Option<Arc<Link>>>,
    /// Held while one caller dials; the others wait for its result.
    dial: Mutex<Dial>,
}

struct Dial {
    pause: Pause,
    not_before: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(env: Env, config: Arc<ClientConfig>, routes: Arc<Routes>) -> Self {
        let cluster = RwLock::new(config.cluster);
        Self { env, config, routes, nodes: RwLock::default(), cluster, connects: AtomicU64::new(0) }
    }

    /// The connection to `addr`, made by `deadline` if there is none.
    ///
    /// # Errors
    /// Always definite. `unavailable` at once while a node that could not be reached is left alone.
    pub(crate) async fn link(&self, addr: &Addr, deadline: Instant) -> Result<Arc<Link>, Error> {
        let node = self.node(addr)?;
        if let Some(link) = node.open() {
            return Ok(link);
        }
        let Some(mut dialling) = env::by(deadline, node.dial.lock()).await else {
            return Err(Error::definite(ErrorCode::Deadline, format!("node {addr}: no connection in time")));
        };
        if let Some(link) = node.open() {
            return Ok(link);
        }
        let now = self.env.now();
        if dialling.not_before.is_some_and(|at| now < at) {
            let text = format!("node {addr}: could not be reached a moment ago");
            return Err(Error::definite(ErrorCode::Unavailable, text));
        }
        let by = deadline.min(now + self.config.connect_timeout);
        let cluster = *self.cluster.read();
        match dial(&self.env, &self.config, &self.routes, addr, cluster, by).await {
            Ok((link, welcome)) => {
                dialling.pause.reset();
                dialling.not_before = None;
                self.cluster.write().get_or_insert(welcome.cluster);
                self.connects.fetch_add(1, Ordering::Relaxed);
                let link = Arc::new(link);
                *node.link.write() = Some(Arc::clone(&link));
                Ok(link)
            }
            Err(error) => {
                dialling.not_before = Some(self.env.now() + dialling.pause.next(&self.env));
                Err(error)
            }
        }
    }

    /// The addresses with a living connection.
    pub(crate) fn connected(&self) -> Vec<Addr> {
        let nodes = self.nodes.read();
        nodes.iter().filter(|(_, node)| node.open().is_some()).map(|(addr, _)| Arc::clone(addr)).collect()
    }

    /// The cluster, once a node has named it.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        *self.cluster.read()
    }

    /// Connections made so far.
    pub(crate) fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    fn node(&self, addr: &Addr) -> Result<Arc<Node>, Error> {
        if let Some(node) = self.nodes.read().get(addr) {
            return Ok(Arc::clone(node));
        }
        crate::config::check_addr(addr)?;
        let mut nodes = self.nodes.write();
        if nodes.len() >= NODES_MAX {
            nodes.retain(|_, node| node.open().is_some());
        }
        if nodes.len() >= NODES_MAX {
            return Err(Error::definite(ErrorCode::Unavailable, "too many nodes were named"));
        }
        let fresh = || {
            let dial = Dial { pause: Pause::new(self.config.connect_backoff), not_before: None };
            Arc::new(Node { link: RwLock::new(None), dial: Mutex::new(dial) })
        };
        Ok(Arc::clone(nodes.entry(Arc::clone(addr)).or_insert_with(fresh)))
    }
}

impl Node {
    fn open(&self) -> Option<Arc<Link>> {
        self.link.read().as_ref().filter(|link| link.is_open()).cloned()
    }
}
