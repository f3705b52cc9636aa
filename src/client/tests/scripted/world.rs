//! A scripted cluster in this process: real frames, over loopback sockets or in-memory streams.
//!
//! A test says what each call is answered ([`Act`]) and reads afterwards what arrived ([`Event`]).
//! Tests wait for events, never for time: [`World::until`] ends as soon as its condition holds.

use bytes::BytesMut;
use hapax_client::env::{Clock, Connecting, Entropy, Env, Network, Stream};
use hapax_client::{Client, ClientConfig, ClusterId, Error};
use hapax_core::{Answer, ErrorCode, LeaderHint, LogTime, Refusal, Reply, Request, Witness};
use hapax_wire::client as wire;
use hapax_wire::client::{NodeEntry, ReplicaRef, ShardEntry, ShardTable, ToClient, ToServer};
use hapax_wire::status::{EngineStatus, NodeStatus};
use hapax_wire::{Decoder, limits};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// The cluster that every scripted node says it belongs to.
pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);

/// A call as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) node: usize,
    pub(crate) conn: u64,
    pub(crate) id: u64,
    pub(crate) deadline_ms: u32,
    pub(crate) at: Instant,
    pub(crate) request: Request,
}

/// What a node does about a call.
pub(crate) enum Act {
    Reply(Reply),
    /// Nothing, ever.
    Silence,
    /// Closes the connection.
    HangUp,
    /// Writes bytes that are no frame.
    Garbage,
    /// Answers with a sound frame whose body ends behind the call's id.
    Unreadable,
    /// Answers with the bytes of the frame handed over one by one.
    Dribble(Reply),
    /// Answers when told to.
    Later(oneshot::Receiver<Reply>),
}

/// What arrived, in order.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Connected,
    Refused,
    Hello { cluster: Option<ClusterId> },
    Frame { calls: usize },
    Call(Box<Seen>),
    Cancel { conn: u64, id: u64 },
    Ping,
    TableAsk,
    Closed { node: usize },
}

type Script = Box<dyn FnMut(&Seen) -> Act + Send>;

/// The scripted cluster.
pub(crate) struct World {
    script: Mutex<Script>,
    pub(crate) table: Mutex<ShardTable>,
    events: Mutex<Vec<Event>>,
    changed: watch::Sender<u64>,
    addrs: Mutex<Vec<String>>,
    conns: AtomicU64,
    /// Answers the hello with this refusal.
    pub(crate) refuse: Mutex<Option<Refusal>>,
    /// Refuses connections and closes the ones there are.
    pub(crate) down: watch::Sender<Vec<bool>>,
    begun: Instant,
    /// How long the client's machine was suspended.
    pub(crate) suspended: Mutex<Duration>,
    /// Reads nothing from any connection.
    pub(crate) deaf: watch::Sender<bool>,
    /// Answers no pings.
    pub(crate) mute: Mutex<bool>,
    /// Sent to every connection of a node.
    push: tokio::sync::broadcast::Sender<ShardTable>,
}

impl World {
    /// In-memory nodes, all shards led by node 0.
    pub(crate) fn new(
        nodes: usize,
        shards: u32,
        script: impl FnMut(&Seen) -> Act + Send + 'static,
    ) -> Arc<Self> {
        let addrs: Vec<String> = (0..nodes).map(|node| format!("node-{node}:1")).collect();
        let world = Self {
            script: Mutex::new(Box::new(script)),
            table: Mutex::new(table(&addrs, shards)),
            events: Mutex::default(),
            changed: watch::channel(0).0,
            addrs: Mutex::new(addrs),
            conns: AtomicU64::new(0),
            refuse: Mutex::default(),
            down: watch::channel(vec![false; nodes]).0,
            begun: Instant::now(),
            suspended: Mutex::default(),
            deaf: watch::Sender::new(false),
            mute: Mutex::default(),
            push: tokio::sync::broadcast::channel(16).0,
        };
        Arc::new(world)
    }

    /// The same over loopback sockets with free ports.
    pub(crate) async fn over_tcp(
        nodes: usize,
        shards: u32,
        script: impl FnMut(&Seen) -> Act + Send + 'static,
    ) -> Arc<Self> {
        let world = Self::new(nodes, shards, script);
        let mut addrs = Vec::new();
        for node in 0..nodes {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            addrs.push(listener.local_addr().expect("bound").to_string());
            let world = Arc::downgrade(&world);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let Some(world) = world.upgrade() else { return };
                    tokio::spawn(serve(world, node, stream));
                }
            });
        }
        *world.table.lock() = table(&addrs, shards);
        *world.addrs.lock() = addrs;
        world
    }

    pub(crate) fn addr(&self, node: usize) -> String {
        self.addrs.lock()[node].clone()
    }

    pub(crate) fn script(&self, script: impl FnMut(&Seen) -> Act + Send + 'static) {
        *self.script.lock() = Box::new(script);
    }

    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::new(self.addrs.lock().iter().cloned())
    }

    /// A client of this world's in-memory nodes.
    pub(crate) async fn client(self: &Arc<Self>, config: ClientConfig) -> Result<Client, Error> {
        let env = Env::new(Clocks(Arc::clone(self)), Counting::default(), InMemory(Arc::clone(self)));
        Client::connect_in(config, env).await
    }

    /// A client with the defaults.
    pub(crate) async fn default_client(self: &Arc<Self>) -> Client {
        self.client(self.config()).await.expect("the scripted nodes welcome it")
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    pub(crate) fn calls(&self) -> Vec<Seen> {
        let calls = self.events().into_iter().filter_map(|event| match event {
            Event::Call(seen) => Some(*seen),
            _ => None,
        });
        calls.collect()
    }

    /// How many events satisfy `which`.
    pub(crate) fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.events.lock().iter().filter(|event| which(event)).count()
    }

    /// Waits until so many events satisfy `which`.
    pub(crate) async fn until(&self, count: usize, which: impl Fn(&Event) -> bool) {
        let mut changed = self.changed.subscribe();
        let reached = async {
            while self.count(&which) < count {
                changed.changed().await.expect("the world lives as long as its test");
            }
        };
        let limit = Duration::from_secs(600);
        let came = tokio::time::timeout(limit, reached).await.is_ok();
        assert!(came, "only {} of {count} events came: {:?}", self.count(&which), self.events());
    }

    /// Takes a node down or up: its connections are closed, new ones refused.
    pub(crate) fn set_down(&self, node: usize, down: bool) {
        self.down.send_modify(|nodes| nodes[node] = down);
    }

    /// Sends a table unasked on every connection.
    pub(crate) fn push_table(&self, table: ShardTable) {
        *self.table.lock() = table.clone();
        let _nobody_may_be_connected = self.push.send(table);
    }

    fn note(&self, event: Event) {
        self.events.lock().push(event);
        self.changed.send_modify(|count| *count += 1);
    }

    fn act(&self, seen: &Seen) -> Act {
        (self.script.lock())(seen)
    }
}

/// All shards on all nodes, led by the first.
fn table(addrs: &[String], shards: u32) -> ShardTable {
    let nodes = (0_u64..).zip(addrs).map(|(id, addr)| NodeEntry {
        id: id + 1,
        name: format!("n{id}"),
        client_addr: addr.clone(),
        zone: String::new(),
    });
    let replicas: Vec<ReplicaRef> =
        (1..).take(addrs.len()).map(|node| ReplicaRef { node, replica: node * 10 }).collect();
    let entry = |shard| ShardEntry { shard, leader: Some(1), replicas: replicas.clone() };
    ShardTable { version: 1, shards: (0..shards).map(entry).collect(), nodes: nodes.collect() }
}

/// One connection of a scripted node.
async fn serve(world: Arc<World>, node: usize, stream: impl Stream + 'static) {
    let conn = world.conns.fetch_add(1, Ordering::Relaxed);
    world.note(Event::Connected);
    let mut down = world.down.subscribe();
    tokio::select! {
        _ = down.wait_for(|nodes| nodes[node]) => {}
        _ = converse(&world, node, conn, stream) => {}
    }
    world.note(Event::Closed { node });
}

enum Out {
    Message(ToClient),
    Raw(Vec<u8>),
    Dribble(ToClient),
}

async fn converse(world: &Arc<World>, node: usize, conn: u64, stream: impl Stream) -> io::Result<()> {
    let (mut read, mut write) = tokio::io::split(stream);
    let (say, mut said) = mpsc::unbounded_channel();
    let mut pushes = world.push.subscribe();
    let speak = async {
        loop {
            let out = tokio::select! {
                out = said.recv() => out,
                table = pushes.recv() => {
                    table.ok().map(|table| Out::Message(ToClient::Table(wire::Table { id: 0, table })))
                }
            };
            let Some(out) = out else { return Ok(()) };
            let mut bytes = BytesMut::new();
            match out {
                Out::Raw(raw) => bytes.extend_from_slice(&raw),
                Out::Message(message) => message.put(&mut bytes).expect("within the limits"),
                Out::Dribble(message) => {
                    message.put(&mut bytes).expect("within the limits");
                    for byte in &bytes {
                        write.write_all(&[*byte]).await?;
                        write.flush().await?;
                        tokio::task::yield_now().await;
                    }
                    continue;
                }
            }
            write.write_all(&bytes).await?;
        }
    };
    let listen = async {
        let mut decoder = Decoder::new(limits::CLIENT_FRAME_BYTES);
        let mut hears = world.deaf.subscribe();
        loop {
            while let Some(frame) = decoder.poll().map_err(io::Error::other)? {
                let message = ToServer::take(&frame).map_err(io::Error::other)?;
                if !hear(world, node, conn, message, &say) {
                    return Ok(());
                }
            }
            drop(hears.wait_for(|deaf| !deaf).await);
            if read.read_buf(decoder.buffer()).await? == 0 {
                return Ok(());
            }
        }
    };
    tokio::select! { end = speak => end, end = listen => end }
}

/// What a node does about a message; false when it hangs up.
fn hear(world: &World, node: usize, conn: u64, message: ToServer, say: &mpsc::UnboundedSender<Out>) -> bool {
    let tell = |message| {
        let _the_other_half_may_have_ended = say.send(Out::Message(message));
    };
    match message {
        ToServer::Hello(hello) => {
            world.note(Event::Hello { cluster: hello.cluster });
            match world.refuse.lock().clone() {
                Some(refusal) => tell(ToClient::Error(refusal.into())),
                None => tell(ToClient::Welcome(welcome(node))),
            }
        }
        ToServer::TableAsk(ask) => {
            world.note(Event::TableAsk);
            tell(ToClient::Table(wire::Table { id: ask.id, table: world.table.lock().clone() }));
        }
        ToServer::Ping(ping) => {
            world.note(Event::Ping);
            if !*world.mute.lock() {
                tell(ToClient::Pong(wire::Pong { nonce: ping.nonce }));
            }
        }
        ToServer::Cancel(cancel) => world.note(Event::Cancel { conn, id: cancel.id }),
        ToServer::StatusAsk(ask) => tell(ToClient::Status(wire::Status { id: ask.id, status: status(node) })),
        ToServer::Error(_) => {}
        ToServer::Calls(calls) => {
            assert!(calls.malformed.is_empty(), "a client never sends what cannot be read");
            world.note(Event::Frame { calls: calls.calls.len() });
            for call in calls.calls {
                let wire::Call { id, deadline_ms, request } = call;
                let seen = Seen { node, conn, id, deadline_ms, at: Instant::now(), request };
                world.note(Event::Call(Box::new(seen.clone())));
                if !perform(world.act(&seen), id, say) {
                    return false;
                }
            }
        }
    }
    true
}

fn perform(act: Act, id: u64, say: &mpsc::UnboundedSender<Out>) -> bool {
    let answer = move |reply| ToClient::Answer(wire::Answer { id, answer: answer(reply) });
    let out = match act {
        Act::Silence => return true,
        Act::HangUp => return false,
        Act::Reply(reply) => Out::Message(answer(reply)),
        Act::Dribble(reply) => Out::Dribble(answer(reply)),
        Act::Garbage => Out::Raw(vec![0xa5; 64]),
        Act::Unreadable => Out::Raw(frame(hapax_wire::kind::ANSWER, &id.to_le_bytes())),
        Act::Later(reply) => {
            let say = say.clone();
            tokio::spawn(async move {
                if let Ok(reply) = reply.await {
                    let _the_connection_may_have_ended = say.send(Out::Message(answer(reply)));
                }
            });
            return true;
        }
    };
    let _the_other_half_may_have_ended = say.send(out);
    true
}

fn status(node: usize) -> NodeStatus {
    NodeStatus {
        node: node as u64 + 1,
        name: format!("n{node}"),
        software: "scripted".to_owned(),
        uptime_ms: 5,
        shards: Vec::new(),
        engine: EngineStatus { name: "none".to_owned(), figures: Vec::new() },
        log: Vec::new(),
    }
}

/// A frame by hand, as the wire describes its form.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).expect("small").to_le_bytes().to_vec();
    frame.extend_from_slice(&[kind, hapax_wire::frame::FORM]);
    let check = crc32c::crc32c(&frame).to_le_bytes();
    frame.extend_from_slice(&check[..2]);
    let sum = crc32c::crc32c_append(crc32c::crc32c(&frame), body);
    frame.extend_from_slice(&sum.to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

fn welcome(node: usize) -> wire::Welcome {
    wire::Welcome {
        version: 1,
        cluster: CLUSTER,
        node: node as u64 + 1,
        node_name: format!("n{node}"),
        table_version: 1,
        limits: wire::Limits::default(),
    }
}

/// Every reply of a scripted node is said to come from here.
pub(crate) fn answer(reply: Reply) -> Answer {
    let witness = Witness {
        shard: 0,
        index: 42,
        position: 0,
        time: LogTime(1_000_000),
        basis: hapax_core::Basis::Applied,
    };
    Answer { reply, witness: Some(witness) }
}

pub(crate) fn refuse(code: ErrorCode, definite: bool) -> Act {
    Act::Reply(Reply::Error(Refusal { definite, ..Refusal::definite(code, "scripted") }))
}

pub(crate) fn not_leader(addr: &str) -> Act {
    let hint = Some(LeaderHint { node: 9, client_addr: addr.to_owned() });
    Act::Reply(Reply::Error(Refusal { hint, ..Refusal::definite(ErrorCode::NotLeader, "scripted") }))
}

struct InMemory(Arc<World>);

impl Network for InMemory {
    fn connect<'a>(&'a self, addr: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let node = self.0.addrs.lock().iter().position(|known| known == addr);
            let node = node.ok_or(io::ErrorKind::HostUnreachable)?;
            if self.0.down.borrow()[node] {
                self.0.note(Event::Refused);
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = tokio::io::duplex(256 * 1024);
            tokio::spawn(serve(Arc::clone(&self.0), node, far));
            // Holds bytes back until it is flushed, as a TLS stream may.
            Ok(Box::new(tokio::io::BufStream::new(near)) as Box<dyn Stream>)
        })
    }
}

/// A client over real sockets.
pub(crate) async fn tcp_client(config: ClientConfig) -> Client {
    Client::connect(config).await.expect("the scripted nodes welcome it")
}

/// Whether the port still answers.
pub(crate) async fn accepts(addr: &str) -> bool {
    TcpStream::connect(addr).await.is_ok()
}

struct Clocks(Arc<World>);

impl Clock for Clocks {
    fn wall_ms(&self) -> u64 {
        1_000_000
    }

    fn boot_ms(&self) -> u64 {
        let awake = self.0.begun.elapsed() + *self.0.suspended.lock();
        u64::try_from(awake.as_millis()).expect("a short test")
    }
}

/// Counts up: the same in every run, and never the same twice.
#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let number = (self.0.fetch_add(1, Ordering::Relaxed) + 1).to_le_bytes();
        bytes.iter_mut().zip(number.iter().cycle()).for_each(|(byte, digit)| *byte = *digit);
        Ok(())
    }
}
