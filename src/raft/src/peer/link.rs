//! The way to one peer: a queue, a connection that is kept up, and requests matched to replies.
//!
//! A writer drains whatever is queued into one write; consecutive heartbeats become one frame. A
//! request fails at once when the link is down or its queue is full, and every request that is out
//! when the connection breaks fails then: nobody waits for a reply that cannot come.

use crate::env::net::TcpStream;
use crate::ids::NodeId;
use crate::peer::connection::{Introduction, dial, next_frame};
use bytes::BytesMut;
use hapax_wire::Decoder;
use hapax_wire::peer::{
    AppendOutcome, Beat, BeatReplies, Beats, Channel, ForwardCancel, ForwardReplies, PeerBody, PeerFrame,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

/// The most messages that one write gathers.
const GATHER: usize = 256;
/// The most bytes that one write gathers, unless a single message is larger.
const GATHER_BYTES: usize = 1 << 20;
/// After so many requests those that were given up are forgotten.
const SWEEP_EVERY: u64 = 1024;
/// How long a peer may say nothing before the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(4);
/// How long one write may take before the connection counts as broken.
const WRITE: Duration = Duration::from_secs(5);
/// The pauses between attempts to connect.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LONGEST: Duration = Duration::from_millis(500);

/// Why a request got no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no connection.
    #[error("no connection to the peer")]
    Down,
    /// The queue to the peer is full.
    #[error("the queue to the peer is full")]
    Full,
    /// The connection broke before the reply came; the peer may have acted.
    #[error("the connection broke before the reply came")]
    Broken,
    /// No reply came in time; the peer may have acted.
    #[error("the peer did not reply in time")]
    Timeout,
    /// The request does not fit a frame.
    #[error("the message does not fit a frame: {0}")]
    TooLarge(String),
    /// The peer refused the request.
    #[error("the peer refused: {0}")]
    Refused(String),
    /// The reply is not one to this request.
    #[error("the peer's reply is of another kind")]
    Confused,
}

impl LinkError {
    /// Whether the peer surely did not get the request.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        matches!(self, Self::Down | Self::Full | Self::TooLarge(_) | Self::Refused(_))
    }
}

/// The reply of a heartbeat.
pub type BeatReply = oneshot::Receiver<Result<AppendOutcome, LinkError>>;
/// The replies to forwarded calls; the channel closes when the link breaks.
pub type ForwardStream = mpsc::UnboundedReceiver<ForwardReplies>;
/// The number under which a forwarded message left; 0 until then.
pub type ForwardNumber = Arc<AtomicU64>;

enum Outgoing {
    Request {
        body: PeerBody,
        size: usize,
        reply: Waiting,
    },
    /// Callers of a message that was forwarded are gone.
    Cancel {
        number: ForwardNumber,
        ids: Vec<u64>,
        size: usize,
    },
    Beat {
        beat: Beat,
        reply: oneshot::Sender<Result<AppendOutcome, LinkError>>,
    },
}

enum Waiting {
    One(oneshot::Sender<Result<PeerBody, LinkError>>),
    Forward { left: usize, replies: mpsc::UnboundedSender<ForwardReplies>, number: ForwardNumber },
    Beats(Vec<(Beat, oneshot::Sender<Result<AppendOutcome, LinkError>>)>),
}

impl Waiting {
    fn is_wanted(&self) -> bool {
        match self {
            Self::One(reply) => !reply.is_closed(),
            Self::Forward { replies, .. } => !replies.is_closed(),
            Self::Beats(beats) => beats.iter().any(|(_, reply)| !reply.is_closed()),
        }
    }

    fn fail(self, error: &LinkError) {
        match self {
            Self::One(reply) => drop(reply.send(Err(error.clone()))),
            // The closed channel tells.
            Self::Forward { .. } => {}
            Self::Beats(beats) => {
                for (_, reply) in beats {
                    let _nobody_waits = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// The way to one peer.
pub struct PeerLink {
    peer: NodeId,
    queue: mpsc::UnboundedSender<Outgoing>,
    queued_bytes: Arc<AtomicUsize>,
    queued_bytes_max: usize,
    up: Arc<AtomicBool>,
    breaks: watch::Receiver<()>,
}

impl PeerLink {
    /// A link and the task that keeps it up; the task ends when the link is dropped.
    pub fn new(
        peer: NodeId,
        addr: String,
        me: Introduction,
        queued_bytes_max: usize,
        connect: Duration,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send) {
        let (queue, outgoing) = mpsc::unbounded_channel();
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let up = Arc::new(AtomicBool::new(false));
        let (broke, breaks) = watch::channel(());
        let keeper = Keeper {
            peer,
            addr,
            me,
            connect,
            up: Arc::clone(&up),
            queued_bytes: Arc::clone(&queued_bytes),
            broke,
        };
        (Arc::new(Self { peer, queue, queued_bytes, queued_bytes_max, up, breaks }), keeper.run(outgoing))
    }

    /// The peer.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Changes whenever a connection has broken.
    #[must_use]
    pub fn breaks(&self) -> watch::Receiver<()> {
        self.breaks.clone()
    }

    /// Queues a request; the reply comes on the returned channel.
    ///
    /// # Errors
    /// At once when the link is down or its queue is full: the peer did not get it.
    pub fn send(
        &self,
        body: impl Into<PeerBody>,
        size: usize,
    ) -> Result<oneshot::Receiver<Result<PeerBody, LinkError>>, LinkError> {
        let (reply, receiver) = oneshot::channel();
        self.queue(Outgoing::Request { body: body.into(), size, reply: Waiting::One(reply) }, size)?;
        Ok(receiver)
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// [`LinkError`]; only a definite one says that the peer did not act.
    pub async fn ask(
        &self,
        body: impl Into<PeerBody>,
        size: usize,
        within: Duration,
    ) -> Result<PeerBody, LinkError> {
        let reply = self.send(body, size)?;
        match timeout(within, reply).await {
            Ok(Ok(Ok(PeerBody::Refused(refused)))) => Err(LinkError::Refused(refused.refusal.text)),
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(LinkError::Broken),
            Err(_) => Err(LinkError::Timeout),
        }
    }

    /// Queues a heartbeat, to share a frame with those of other groups.
    ///
    /// # Errors
    /// As [`PeerLink::send`].
    pub fn beat(&self, beat: Beat) -> Result<BeatReply, LinkError> {
        let (reply, receiver) = oneshot::channel();
        self.queue(Outgoing::Beat { beat, reply }, BEAT_BYTES)?;
        Ok(receiver)
    }

    /// Queues calls for the peer to serve; answers come as they are ready.
    ///
    /// # Errors
    /// As [`PeerLink::send`].
    pub fn forward(
        &self,
        body: hapax_wire::peer::Forward,
        size: usize,
    ) -> Result<(ForwardStream, ForwardNumber), LinkError> {
        let (replies, receiver) = mpsc::unbounded_channel();
        let number = ForwardNumber::default();
        let reply = Waiting::Forward { left: body.calls.len(), replies, number: Arc::clone(&number) };
        self.queue(Outgoing::Request { body: body.into(), size, reply }, size)?;
        Ok((receiver, number))
    }

    /// Tells the peer that callers of a forwarded message are gone. Where the message did not get
    /// through, or the connection has broken since, there is nobody to tell.
    pub fn cancel_forward(&self, number: &ForwardNumber, ids: Vec<u64>) {
        let size = BEAT_BYTES + 8 * ids.len();
        let _nobody_to_tell = self.queue(Outgoing::Cancel { number: Arc::clone(number), ids, size }, size);
    }

    fn queue(&self, outgoing: Outgoing, size: usize) -> Result<(), LinkError> {
        if !self.is_up() {
            return Err(LinkError::Down);
        }
        if self.queued_bytes.fetch_add(size, Ordering::AcqRel) + size > self.queued_bytes_max {
            self.queued_bytes.fetch_sub(size, Ordering::AcqRel);
            return Err(LinkError::Full);
        }
        self.queue.send(outgoing).map_err(|_| LinkError::Down)
    }
}

/// What a heartbeat counts for in the queue.
const BEAT_BYTES: usize = 96;

type WaitingMap = Arc<Mutex<HashMap<u64, Waiting>>>;

/// Keeps one link's connection up.
struct Keeper {
    peer: NodeId,
    addr: String,
    me: Introduction,
    connect: Duration,
    up: Arc<AtomicBool>,
    queued_bytes: Arc<AtomicUsize>,
    broke: watch::Sender<()>,
}

impl Keeper {
    async fn run(self, mut outgoing: mpsc::UnboundedReceiver<Outgoing>) {
        let mut pause = RETRY_FIRST;
        // Goes on from connection to connection, so that a number never means two messages.
        let mut rpc = 0;
        loop {
            tokio::select! {
                connected = dial(&self.addr, &self.me, Channel::Control, self.connect) => match connected {
                    Ok((stream, decoder, welcome)) if NodeId::from_u64(welcome.node) == self.peer => {
                        pause = RETRY_FIRST;
                        if self.serve(stream, decoder, &mut outgoing, &mut rpc).await.is_none() { return }
                    }
                    Ok((_, _, welcome)) => {
                        let found = NodeId::from_u64(welcome.node);
                        tracing::warn!(expected = %self.peer, %found, addr = %self.addr, "another node answers at this address");
                        pause = RETRY_LONGEST;
                    }
                    Err(error) => tracing::debug!(peer = %self.peer, addr = %self.addr, %error, "could not connect"),
                },
                // While the link is down only what was queued just before it broke is here.
                message = outgoing.recv() => match message {
                    None => return,
                    Some(message) => self.fail(message, &LinkError::Down),
                },
            }
            let wait = sleep(pause);
            pause = (pause * 2).min(RETRY_LONGEST);
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    message = outgoing.recv() => match message {
                        None => return,
                        Some(message) => self.fail(message, &LinkError::Down),
                    },
                }
            }
        }
    }

    fn fail(&self, message: Outgoing, error: &LinkError) {
        match message {
            Outgoing::Request { size, reply, .. } => {
                self.queued_bytes.fetch_sub(size, Ordering::AcqRel);
                reply.fail(error);
            }
            Outgoing::Cancel { size, .. } => drop(self.queued_bytes.fetch_sub(size, Ordering::AcqRel)),
            Outgoing::Beat { reply, .. } => {
                self.queued_bytes.fetch_sub(BEAT_BYTES, Ordering::AcqRel);
                let _nobody_waits = reply.send(Err(error.clone()));
            }
        }
    }

    /// Serves one connection until it breaks; `None` when the link itself is gone.
    async fn serve(
        &self,
        stream: TcpStream,
        decoder: Decoder,
        outgoing: &mut mpsc::UnboundedReceiver<Outgoing>,
        rpc: &mut u64,
    ) -> Option<()> {
        let waiting: WaitingMap = Arc::default();
        let (read, write) = tokio::io::split(stream);
        self.up.store(true, Ordering::Release);
        tracing::info!(peer = %self.peer, addr = %self.addr, "connected");
        let ended = tokio::select! {
            result = read_replies(read, decoder, &waiting) => Some(result),
            result = self.write_requests(write, outgoing, &waiting, rpc) => result,
        };
        self.up.store(false, Ordering::Release);
        self.broke.send_replace(());
        for (_, reply) in waiting.lock().drain() {
            reply.fail(&LinkError::Broken);
        }
        let result = ended?;
        tracing::info!(peer = %self.peer, error = ?result.err().map(|error| error.to_string()), "disconnected");
        Some(())
    }

    /// Writes what is queued; `None` when the link itself is gone.
    async fn write_requests(
        &self,
        mut write: WriteHalf<TcpStream>,
        outgoing: &mut mpsc::UnboundedReceiver<Outgoing>,
        waiting: &WaitingMap,
        rpc: &mut u64,
    ) -> Option<io::Result<()>> {
        let mut out = BytesMut::new();
        loop {
            let first = outgoing.recv().await?;
            let mut beats = Vec::new();
            self.encode(first, rpc, &mut out, &mut beats, waiting);
            // Tasks that are ready have their say first: one write for all of them.
            tokio::task::yield_now().await;
            for _ in 0..GATHER {
                if out.len() >= GATHER_BYTES {
                    break;
                }
                let Ok(next) = outgoing.try_recv() else { break };
                self.encode(next, rpc, &mut out, &mut beats, waiting);
            }
            encode_beats(rpc, &mut out, beats, waiting);
            match timeout(WRITE, write.write_all_buf(&mut out)).await {
                Ok(Ok(())) => out.clear(),
                Ok(Err(error)) => return Some(Err(error)),
                Err(_) => return Some(Err(io::ErrorKind::TimedOut.into())),
            }
            // A burst's buffer is not kept.
            if out.capacity() > 4 * GATHER_BYTES {
                out = BytesMut::new();
            }
        }
    }

    fn encode(
        &self,
        message: Outgoing,
        rpc: &mut u64,
        out: &mut BytesMut,
        beats: &mut Vec<(Beat, oneshot::Sender<Result<AppendOutcome, LinkError>>)>,
        waiting: &WaitingMap,
    ) {
        match message {
            Outgoing::Beat { beat, reply } => {
                self.queued_bytes.fetch_sub(BEAT_BYTES, Ordering::AcqRel);
                beats.push((beat, reply));
            }
            Outgoing::Cancel { number, ids, size } => {
                self.queued_bytes.fetch_sub(size, Ordering::AcqRel);
                let frame =
                    PeerFrame { rpc: number.load(Ordering::Relaxed), body: ForwardCancel { ids }.into() };
                if let Err(fault) = frame.put(out) {
                    tracing::error!(%fault, "a cancellation could not be written");
                }
            }
            Outgoing::Request { body, size, reply } => {
                self.queued_bytes.fetch_sub(size, Ordering::AcqRel);
                *rpc += 1;
                if let Waiting::Forward { number, .. } = &reply {
                    number.store(*rpc, Ordering::Relaxed);
                }
                match (PeerFrame { rpc: *rpc, body }).put(out) {
                    Ok(()) => insert(waiting, *rpc, reply),
                    Err(fault) => reply.fail(&LinkError::TooLarge(fault.to_string())),
                }
            }
        }
    }
}

/// Notes who waits for a reply. Requests that were given up leave with the next sweep, so that a
/// peer that never replies costs no more than a sweep's worth.
fn insert(waiting: &WaitingMap, rpc: u64, reply: Waiting) {
    let mut waiting = waiting.lock();
    waiting.insert(rpc, reply);
    if rpc.is_multiple_of(SWEEP_EVERY) {
        waiting.retain(|_, reply| reply.is_wanted());
    }
}

fn encode_beats(
    rpc: &mut u64,
    out: &mut BytesMut,
    beats: Vec<(Beat, oneshot::Sender<Result<AppendOutcome, LinkError>>)>,
    waiting: &WaitingMap,
) {
    if beats.is_empty() {
        return;
    }
    *rpc += 1;
    let body = Beats { beats: beats.iter().map(|(beat, _)| *beat).collect() };
    let reply = Waiting::Beats(beats);
    match (PeerFrame { rpc: *rpc, body: body.into() }).put(out) {
        Ok(()) => insert(waiting, *rpc, reply),
        Err(fault) => reply.fail(&LinkError::TooLarge(fault.to_string())),
    }
}

async fn read_replies(
    mut read: ReadHalf<TcpStream>,
    mut decoder: Decoder,
    waiting: &WaitingMap,
) -> io::Result<()> {
    loop {
        // Every peer is asked for its clock each second: one that says nothing at all is out of
        // reach, and a new connection gets through again long before the old one's retries do.
        let frame = timeout(SILENCE, next_frame(&mut read, &mut decoder)).await;
        let Some(frame) = frame.map_err(|_| io::ErrorKind::TimedOut)?? else { return Ok(()) };
        let reply = match PeerFrame::take(&frame) {
            Ok(reply) => reply,
            Err(fault) => return Err(io::Error::new(io::ErrorKind::InvalidData, fault.to_string())),
        };
        let mut waiting = waiting.lock();
        match (waiting.remove(&reply.rpc), reply.body) {
            (Some(Waiting::One(sender)), body) => drop(sender.send(Ok(body))),
            (Some(Waiting::Beats(beats)), PeerBody::BeatReplies(replies)) => deliver_beats(beats, &replies),
            (Some(Waiting::Forward { left, replies, number }), PeerBody::ForwardReplies(body)) => {
                let left = left.saturating_sub(body.answers.len());
                let still_wanted = replies.send(body).is_ok();
                if left > 0 && still_wanted {
                    waiting.insert(reply.rpc, Waiting::Forward { left, replies, number });
                }
            }
            (Some(other), _) => other.fail(&LinkError::Confused),
            // A late reply to a request that has been given up.
            (None, _) => {}
        }
    }
}

fn deliver_beats(
    beats: Vec<(Beat, oneshot::Sender<Result<AppendOutcome, LinkError>>)>,
    replies: &BeatReplies,
) {
    for (beat, sender) in beats {
        let reply = replies.replies.iter().find(|reply| reply.shard == beat.shard && reply.to == beat.to);
        let result = reply.map(|reply| reply.outcome).ok_or(LinkError::Confused);
        let _nobody_waits = sender.send(result);
    }
}
