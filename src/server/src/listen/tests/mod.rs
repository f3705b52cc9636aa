//! The client port over real sockets, with a node that only notes what it is asked.

mod hostile;
mod service;
mod traffic;

use super::{Port, Settings};
use crate::metrics::{Families, Metrics};
use bytes::BytesMut;
use hapax_core::request::GetAsk;
use hapax_core::{Address, Ask, Key, Operation, Refusal, Request, Tenant};
use hapax_wire::client::{Call, Calls, Hello, ToClient, Welcome};
use hapax_wire::{ClusterId, Decoder, Message, Versions, limits};
use service::Fake;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const CLUSTER: ClusterId = ClusterId([7; 16]);

/// A port under test.
struct Rig {
    port: Port<Fake>,
    fake: Arc<Fake>,
    metrics: Arc<Metrics>,
    addr: SocketAddr,
}

fn settings() -> Settings {
    Settings {
        cluster: CLUSTER,
        node: 1 << 16,
        node_name: "node-1".to_owned(),
        connections: 16,
        calls_per_connection: 8,
        reply_bytes_per_connection: 1 << 20,
    }
}

impl Rig {
    async fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let fake = Fake::new();
        let metrics = Arc::new(Metrics::new("test").unwrap());
        let port = Port::start(listener, settings, Arc::clone(&fake), Arc::clone(&metrics));
        Self { port, fake, metrics, addr }
    }

    /// A connection that has said nothing yet.
    async fn dial(&self) -> Peer {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        Peer { stream, decoder: Decoder::new(limits::CLIENT_FRAME_BYTES) }
    }

    /// A connection whose handshake is done.
    async fn connect(&self) -> Peer {
        let mut peer = self.dial().await;
        peer.send(hello()).await;
        assert!(matches!(peer.receive().await, Some(ToClient::Welcome(_))));
        peer
    }

    /// Whether a well-behaved client is served.
    async fn assert_serves(&self) {
        let mut peer = self.connect().await;
        peer.call(&[900]).await;
        assert_eq!(peer.answer().await.0, 900);
    }

    fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render(Families::new()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series).map(str::to_owned));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }
}

/// The other end of a connection.
struct Peer {
    stream: TcpStream,
    decoder: Decoder,
}

impl Peer {
    async fn send(&mut self, message: impl Message) {
        self.write(&bytes(message)).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends one frame with a call for each id.
    async fn call(&mut self, ids: &[u64]) {
        self.send(calls(ids)).await;
    }

    /// The next message; none when the connection was closed.
    async fn receive(&mut self) -> Option<ToClient> {
        let received = async {
            loop {
                if let Some(frame) = self.decoder.poll().unwrap() {
                    return Some(ToClient::take(&frame).unwrap());
                }
                match self.stream.read_buf(self.decoder.buffer()).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), received).await.expect("the node answers in time")
    }

    async fn answer(&mut self) -> (u64, hapax_core::Answer) {
        match self.receive().await {
            Some(ToClient::Answer(answer)) => (answer.id, answer.answer),
            other => panic!("not an answer: {other:?}"),
        }
    }

    /// Why the node closes; it must then close.
    async fn refusal(&mut self) -> Refusal {
        let Some(ToClient::Error(error)) = self.receive().await else { panic!("no error frame") };
        assert!(self.receive().await.is_none(), "the connection is closed after the error");
        error.refusal
    }
}

fn hello() -> Hello {
    Hello { versions: Versions::SPOKEN, cluster: Some(CLUSTER), name: "test".to_owned(), credentials: None }
}

fn request() -> Request {
    let address =
        Address::new(&Tenant::new("acme").unwrap(), &Operation::new("pay").unwrap(), &Key::new("k").unwrap());
    Request {
        not_after: None,
        ask: Ask::Get(GetAsk { address, fingerprint: None, wait_ms: 0, stale: false }),
    }
}

fn calls(ids: &[u64]) -> Calls {
    let call = |id: &u64| Call { id: *id, deadline_ms: 1000, request: request() };
    Calls { calls: ids.iter().map(call).collect(), malformed: vec![] }
}

fn bytes(message: impl Message) -> BytesMut {
    let mut out = BytesMut::new();
    message.put(&mut out).unwrap();
    out
}

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn welcome_limits(message: Option<ToClient>) -> Welcome {
    match message {
        Some(ToClient::Welcome(welcome)) => welcome,
        other => panic!("not a welcome: {other:?}"),
    }
}
