//! The way by which one place dials another: a listener, and the connections through it.

use super::connection::{self, Connection, State};
use super::direction::Direction;
use anyhow::Result;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long the proxy tries to reach the target for somebody who dialled.
const CONNECT: Duration = Duration::from_secs(1);

/// What happened on a link so far.
#[derive(Debug, Default)]
pub struct LinkCounts {
    connections: AtomicU64,
    resets: AtomicU64,
    late_bytes: AtomicU64,
    repeated: AtomicU64,
    damaged: AtomicU64,
}

impl LinkCounts {
    /// Connections that reached the target.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// Connections that the proxy broke.
    #[must_use]
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Acquire)
    }

    /// Bytes that arrived after the connection that replaced theirs came up.
    #[must_use]
    pub fn late_bytes(&self) -> u64 {
        self.late_bytes.load(Ordering::Acquire)
    }

    /// Messages that arrived a second time.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Acquire)
    }

    /// Snapshots of which a bit was changed.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Acquire)
    }

    pub(super) fn note_late(&self, bytes: usize) {
        self.late_bytes.fetch_add(bytes as u64, Ordering::AcqRel);
    }

    pub(super) fn note_repeated(&self) {
        self.repeated.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn note_damaged(&self) {
        self.damaged.fetch_add(1, Ordering::AcqRel);
    }
}

/// One link; it ends when this is dropped.
#[derive(Debug)]
pub struct Link {
    addr: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) target: String,
    /// From who dials to who is dialled.
    pub(super) forward: Arc<Direction>,
    pub(super) backward: Arc<Direction>,
    pub(super) counts: LinkCounts,
    pub(super) repeats: AtomicBool,
    pub(super) damages_snapshots: AtomicBool,
    connections: Mutex<Vec<Weak<Connection>>>,
}

impl Link {
    /// Listens on a free port of `host`, an address of this machine, for what is meant for `target`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn open(
        host: &str,
        target: String,
        forward: Arc<Direction>,
        backward: Arc<Direction>,
    ) -> Result<Self> {
        let listener = TcpListener::bind((host, 0)).await?;
        let addr = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            target,
            forward,
            backward,
            counts: LinkCounts::default(),
            repeats: AtomicBool::new(false),
            damages_snapshots: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { addr, shared, accepting })
    }

    /// Where to dial instead of the target.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> &LinkCounts {
        &self.shared.counts
    }

    /// From who dials to who is dialled.
    #[must_use]
    pub fn forward(&self) -> &Direction {
        &self.shared.forward
    }

    /// Whether connections from now on have their messages repeated.
    pub fn repeat(&self, on: bool) {
        self.shared.repeats.store(on, Ordering::Release);
    }

    /// Whether snapshots that are opened from now on are damaged.
    pub fn damage_snapshots(&self, on: bool) {
        self.shared.damages_snapshots.store(on, Ordering::Release);
    }

    /// Breaks every connection; what was under way is gone. Says how many.
    #[must_use]
    pub fn reset(&self) -> usize {
        let open = self.shared.open();
        for connection in &open {
            connection.state.send_replace(State::Broken);
        }
        self.shared.counts.resets.fetch_add(open.len() as u64, Ordering::AcqRel);
        open.len()
    }

    /// Lets what is sent for at least `gather` arrive only after who dialled has another connection. Each is waited
    /// for no longer than `within`: that something is sent, and that there is another connection. Says how many
    /// bytes were late, and whether a new connection had come up before them.
    pub async fn deliver_late(&self, gather: Duration, within: Duration) -> (u64, bool) {
        let (before, connections) = (self.counts().late_bytes(), self.counts().connections());
        let old = self.shared.open();
        let came = || old.iter().map(|open| open.came.load(Ordering::Acquire)).sum::<u64>();
        let had_come = came();
        for connection in &old {
            connection.state.send_replace(State::Held);
        }
        sleep(gather).await;
        let sent = timeout(within, async {
            while came() == had_come {
                sleep(Duration::from_millis(10)).await;
            }
        });
        // Nothing is late then, which is told below.
        let _sent = sent.await;
        for connection in &old {
            connection.state.send_replace(State::Severed);
        }
        let replaced = timeout(within, async {
            while self.counts().connections() == connections {
                sleep(Duration::from_millis(10)).await;
            }
        });
        let replaced = replaced.await.is_ok();
        // The new connection is to be in use when the old bytes come.
        sleep(Duration::from_millis(150)).await;
        for connection in &old {
            connection.state.send_replace(State::Late);
        }
        sleep(Duration::from_millis(100)).await;
        (self.counts().late_bytes() - before, replaced)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        for connection in self.shared.open() {
            connection.state.send_replace(State::Broken);
        }
    }
}

impl Shared {
    fn open(&self) -> Vec<Arc<Connection>> {
        let mut connections = self.connections.lock();
        connections.retain(|connection| connection.strong_count() > 0);
        connections.iter().filter_map(Weak::upgrade).collect()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((dialled, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(carry(dialled, Arc::clone(&shared)));
    }
}

/// Carries one connection; a target that is not there is a connection that ends at once.
async fn carry(dialled: TcpStream, shared: Arc<Shared>) {
    let Ok(Ok(target)) = timeout(CONNECT, TcpStream::connect(&shared.target)).await else { return };
    if dialled.set_nodelay(true).is_err() || target.set_nodelay(true).is_err() {
        return;
    }
    let connection =
        Arc::new(Connection { state: watch::Sender::new(State::Open), came: AtomicU64::default() });
    shared.connections.lock().push(Arc::downgrade(&connection));
    shared.counts.connections.fetch_add(1, Ordering::AcqRel);
    connection::carry(dialled, target, &shared, &connection).await;
}
