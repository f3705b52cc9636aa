//! A node without shards: it reads frames and answers every call as it is told to, at once.

use anyhow::{Result, anyhow, bail, ensure};
use bytes::BytesMut;
use hapax_core::{Answer, Ask, Basis, LogTime, Reply, Witness};
use hapax_wire::client::{
    self as wire, Limits, NodeEntry, Pong, ReplicaRef, ShardEntry, ShardTable, Table, ToClient, ToServer,
    Welcome,
};
use hapax_wire::{ClusterId, Decoder, limits};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const NODE: u64 = 1 << 16;
const SHARDS: u32 = 3;

/// What an ask is answered.
pub type Respond = fn(&Ask) -> Reply;

/// A running one, on a thread of its own; ends when it is dropped.
pub struct Node {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Node {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// There is no free port, or no runtime.
    pub fn start(respond: Respond) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    ended = accept(TcpListener::from_std(listener)?, addr, respond) => ended,
                    // Also when whoever would have told it is gone.
                    _ = stopped => Ok(()),
                }
            })
        });
        Ok(Self { addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients reach it, `host:port`.
    #[must_use]
    pub fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Ends it.
    ///
    /// # Errors
    /// What it failed with: a connection that said something which no client says.
    pub fn stop(mut self) -> Result<()> {
        self.end().unwrap_or(Ok(()))
    }

    fn end(&mut self) -> Option<Result<()>> {
        drop(self.stop.take());
        let ended = self.thread.take()?.join();
        Some(ended.unwrap_or_else(|_| Err(anyhow!("the node panicked"))))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _nobody_asks = self.end();
    }
}

/// Serves connections until one of them fails.
async fn accept(listener: TcpListener, addr: SocketAddr, respond: Respond) -> Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.spawn(converse(stream, addr, respond));
            }
            Some(ended) = connections.join_next() => ended??,
        }
    }
}

/// Answers whatever came with one read by one write.
async fn converse(mut stream: TcpStream, addr: SocketAddr, respond: Respond) -> Result<()> {
    let mut decoder = Decoder::new(limits::CLIENT_FRAME_BYTES);
    let mut out = BytesMut::new();
    loop {
        while let Some(frame) = decoder.poll()? {
            answer(ToServer::take(&frame)?, addr, respond, &mut out)?;
        }
        stream.write_all(&out).await?;
        out.clear();
        if stream.read_buf(decoder.buffer()).await? == 0 {
            return Ok(());
        }
    }
}

fn answer(message: ToServer, addr: SocketAddr, respond: Respond, out: &mut BytesMut) -> Result<()> {
    match message {
        ToServer::Calls(calls) => {
            ensure!(calls.malformed.is_empty(), "a call cannot be read: {:?}", calls.malformed);
            for wire::Call { id, request, .. } in calls.calls {
                let answer = Answer { reply: respond(&request.ask), witness: Some(WITNESS) };
                ToClient::Answer(wire::Answer { id, answer }).put(out)?;
            }
        }
        ToServer::Hello(_) => ToClient::Welcome(welcome()).put(out)?,
        ToServer::TableAsk(ask) => ToClient::Table(Table { id: ask.id, table: table(addr) }).put(out)?,
        ToServer::Ping(ping) => ToClient::Pong(Pong { nonce: ping.nonce }).put(out)?,
        other @ (ToServer::Cancel(_) | ToServer::StatusAsk(_) | ToServer::Error(_)) => {
            bail!("nothing here has a use for {other:?}")
        }
    }
    Ok(())
}

const WITNESS: Witness =
    Witness { shard: 0, index: 1, position: 0, time: LogTime(1_800_000_000_000), basis: Basis::Applied };

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        cluster: ClusterId([7; 16]),
        node: NODE,
        node_name: "at-once".to_owned(),
        table_version: 1,
        limits: Limits::default(),
    }
}

/// Some shards, all led from here.
fn table(addr: SocketAddr) -> ShardTable {
    let replicas = vec![ReplicaRef { node: NODE, replica: NODE }];
    let shards =
        (0..SHARDS).map(|shard| ShardEntry { shard, leader: Some(NODE), replicas: replicas.clone() });
    let client_addr = addr.to_string();
    let node = NodeEntry { id: NODE, name: welcome().node_name, client_addr, zone: String::new() };
    ShardTable { version: 1, shards: shards.collect(), nodes: vec![node] }
}
