//! The client port.
//!
//! Contract: a connection has 2 s and 4 KiB to say hello. Then every frame that has arrived is
//! decoded at once and its calls are handed over as one; replies leave in as few writes as there
//! are. Everything is bounded: connections, calls in flight (more are answered `overloaded`),
//! reply bytes that wait for a slow reader (more cut it off), frames. Whatever the other side sends,
//! it is told why before the connection is closed, and the node stays up.

mod connection;
mod handshake;
mod outbox;
mod service;
#[cfg(test)]
mod tests;
mod writer;

pub use service::Service;

use crate::metrics::Metrics;
use hapax_core::{ErrorCode, Refusal};
use hapax_raft::env::net::{TcpListener, TcpStream};
use hapax_wire::ClusterId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Who this node is to a client, and what it takes from one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node's id.
    pub node: u64,
    /// This node's name.
    pub node_name: String,
    /// Connections at once.
    pub connections: usize,
    /// Calls in flight on one connection.
    pub calls_per_connection: usize,
    /// Reply bytes that may wait for one reader.
    pub reply_bytes_per_connection: usize,
}

/// What the port is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It takes connections and calls.
    Serving,
    /// It takes no new connection; those that there are go on.
    Draining,
    /// Every connection is told so and closed.
    Closing,
}

/// The client port of a node. Clones share it.
pub struct Port<S> {
    shared: Arc<Shared<S>>,
    phase: watch::Sender<Phase>,
}

/// What all connections share.
struct Shared<S> {
    settings: Settings,
    service: Arc<S>,
    metrics: Arc<Metrics>,
    in_flight: AtomicUsize,
    open: AtomicUsize,
}

/// The pause after an accept that failed: out of file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at what is still in flight.
const DRAIN_STEP: Duration = Duration::from_millis(5);

impl<S: Service> Port<S> {
    /// Starts to serve `listener` on the current runtime.
    #[must_use]
    pub fn start(listener: TcpListener, settings: Settings, service: Arc<S>, metrics: Arc<Metrics>) -> Self {
        let (phase, phases) = watch::channel(Phase::Serving);
        let shared = Arc::new(Shared {
            settings,
            service,
            metrics,
            in_flight: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared), phases));
        Self { shared, phase }
    }

    /// Takes no new connection from now on.
    pub fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Waits until no call is in flight, at most `within`; says how many still are.
    pub async fn drained(&self, within: Duration) -> usize {
        let in_flight = || self.shared.in_flight.load(Ordering::Acquire);
        let none = async {
            while in_flight() > 0 {
                tokio::time::sleep(DRAIN_STEP).await;
            }
        };
        // What is still in flight at the end is told by the count.
        let _late = tokio::time::timeout(within, none).await;
        in_flight()
    }

    /// Closes every connection, and waits for that at most `within`.
    pub async fn close(&self, within: Duration) {
        self.phase.send_replace(Phase::Closing);
        let closed = async {
            while self.shared.open.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(DRAIN_STEP).await;
            }
        };
        if tokio::time::timeout(within, closed).await.is_err() {
            tracing::warn!("some client connections did not close in time");
        }
    }
}

async fn accept<S: Service>(
    listener: TcpListener,
    shared: Arc<Shared<S>>,
    mut phases: watch::Receiver<Phase>,
) {
    let places = Arc::new(Semaphore::new(shared.settings.connections));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phases.wait_for(|phase| *phase != Phase::Serving) => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = Arc::clone(&places).try_acquire_owned();
        let (shared, phases) = (Arc::clone(&shared), phases.clone());
        tokio::spawn(async move {
            match place {
                Ok(_place) => serve(stream, shared, phases).await,
                Err(_) => {
                    let text = "the node has as many connections as it takes";
                    shared.metrics.closed(ErrorCode::Overloaded.name());
                    handshake::farewell(stream, &Refusal::definite(ErrorCode::Overloaded, text)).await;
                }
            }
        });
    }
}

async fn serve<S: Service>(stream: TcpStream, shared: Arc<Shared<S>>, phases: watch::Receiver<Phase>) {
    let gauge = shared.metrics.connections("client");
    gauge.inc();
    shared.open.fetch_add(1, Ordering::AcqRel);
    connection::run(stream, &shared, phases).await;
    shared.open.fetch_sub(1, Ordering::AcqRel);
    gauge.dec();
}
