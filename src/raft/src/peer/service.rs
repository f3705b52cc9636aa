//! What a node does for its peers.
//!
//! One reader a connection hands requests on and never waits for their work, except where a
//! bounded queue is full: then the peer's own sending slows down. Replies leave through one writer
//! in any order.

use crate::call::{Call, Caller, ReplySink};
use crate::group::Group;
use crate::ids::NodeId;
use crate::node::Node;
use crate::peer::acceptor::PeerAcceptor;
use crate::peer::append_worker::AppendWorkers;
use crate::peer::connection::next_frame;
use crate::peer::convert::{ballot, outcome, place, unplace, vote};
use crate::peer::snapshot_in;
use crate::peer::snapshot_out::{Ends, SnapshotError, write_snapshot};
use crate::types::Types;
use bytes::BytesMut;
use hapax_core::{Answer, ErrorCode, Refusal, Reply};
use hapax_wire::peer::{
    AppendOutcome, AppendReply, Ballot, Beat, BeatReplies, BeatReply, Beats, ClockReply, Forward,
    ForwardReplies, ForwardedAnswer, PeerBody, PeerFrame, PeerStatus, Refused, RosterReply, SnapshotAsk,
    SnapshotReply, Transfer, TransferReply, Vote, VoteAnswer, VoteReply,
};
use hapax_wire::{Decoder, Frame, MessageFault};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Replies that wait for a peer to read them; a peer that does not read is dropped.
const REPLIES: usize = 65_536;
/// How long a heartbeat's group may take to answer before the others' answers leave without it.
const BEAT: Duration = Duration::from_millis(500);
/// How long one write may take before the peer counts as gone.
const WRITE: Duration = Duration::from_secs(5);
/// How long a peer may be silent on a control connection before it counts as gone; every node asks
/// its peers for their clocks each second.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes that one write gathers.
const GATHER_BYTES: usize = 1 << 20;

/// Where the replies of one connection go; cheap to clone.
#[derive(Clone)]
pub struct Replies(mpsc::Sender<(u64, PeerBody)>);

impl Replies {
    /// Queues a reply. When the queue is full the peer does not read; the connection ends by the
    /// writer's deadline, and the reply with it.
    pub fn send(&self, rpc: u64, body: impl Into<PeerBody>) {
        let _dropped_with_its_connection = self.0.try_send((rpc, body.into()));
    }
}

/// Serves a control connection until it ends.
///
/// # Errors
/// When the socket fails or carries what is no frame.
pub async fn serve_control(
    acceptor: &Arc<PeerAcceptor>,
    stream: crate::env::net::TcpStream,
    mut decoder: Decoder,
    from: NodeId,
) -> io::Result<()> {
    let (mut read, write) = tokio::io::split(stream);
    let (replies, queue) = mpsc::channel(REPLIES);
    let replies = Replies(replies);
    let open = Arc::new(AtomicBool::new(true));
    let mut forwarded = Forwarders { open: Arc::clone(&open), callers: HashMap::new(), prune_at: PRUNE };
    let requests = async {
        let mut workers = AppendWorkers::new(replies.clone());
        loop {
            let frame = timeout(SILENCE, next_frame(&mut read, &mut decoder)).await;
            let Some(frame) = frame.map_err(|_| io::ErrorKind::TimedOut)?? else { return Ok(()) };
            take_request(acceptor, &frame, from, &replies, &mut workers, &mut forwarded).await;
        }
    };
    let result = tokio::select! {
        result = requests => result,
        result = write_replies(write, queue) => result,
    };
    // Whoever waits here for a grant, by way of that peer, is out of reach.
    open.store(false, Ordering::Release);
    result
}

/// Serves a snapshot connection until it ends.
///
/// # Errors
/// When the socket fails or carries what is no frame.
pub async fn serve_snapshots(
    acceptor: &Arc<PeerAcceptor>,
    stream: crate::env::net::TcpStream,
    mut decoder: Decoder,
    _from: NodeId,
) -> io::Result<()> {
    let (mut read, mut write) = tokio::io::split(stream);
    while let Some(frame) = next_frame(&mut read, &mut decoder).await? {
        let request = PeerFrame::take(&frame).map_err(|fault| io::Error::other(fault.to_string()))?;
        let reply = match request.body {
            PeerBody::SnapshotOpen(open) => {
                snapshot_in::receive(acceptor, open, request.rpc, &mut read, &mut decoder).await?
            }
            PeerBody::SnapshotAsk(ask) => {
                match give_snapshot(acceptor, &ask, request.rpc, &mut write).await {
                    Ok(()) => continue,
                    Err(error) => {
                        if error.is_damage()
                            && let Some(group) =
                                acceptor.node().and_then(|node| node.group(ask.shard, ask.to))
                        {
                            group.shard().damaged.raise();
                        }
                        SnapshotReply { ballot: Ballot::default(), refusal: Some(error.to_string()) }
                    }
                }
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a snapshot's opening was expected")),
        };
        let mut out = BytesMut::new();
        let frame = PeerFrame { rpc: request.rpc, body: reply.into() };
        frame.put(&mut out).map_err(|fault| io::Error::other(fault.to_string()))?;
        timeout(WRITE, write.write_all(&out)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
    Ok(())
}

/// Sends this node's own snapshot to a replica that lost its records.
async fn give_snapshot(
    acceptor: &PeerAcceptor,
    ask: &SnapshotAsk,
    rpc: u64,
    write: &mut tokio::io::WriteHalf<crate::env::net::TcpStream>,
) -> Result<(), SnapshotError> {
    let refused = |why: &str| SnapshotError::Refused(why.to_owned());
    let group = acceptor.node().and_then(|node| node.group(ask.shard, ask.to));
    let group = group.ok_or_else(|| refused("the replica is not there"))?;
    group.shard().records.flush().await?;
    let source = group.shard().records.view()?;
    let meta = crate::group::snapshot::meta_of(&source)?;
    if meta.last_log_id.as_ref().map(place) < ask.least {
        return Err(refused("the snapshot does not reach far enough"));
    }
    let ends = Ends { shard: ask.shard, from: ask.to, to: 0, ballot: Ballot::default() };
    write_snapshot(write, rpc, &ends, &meta, &source).await
}

async fn write_replies(
    mut write: tokio::io::WriteHalf<crate::env::net::TcpStream>,
    mut queue: mpsc::Receiver<(u64, PeerBody)>,
) -> io::Result<()> {
    let mut out = BytesMut::new();
    while let Some((rpc, body)) = queue.recv().await {
        put(&mut out, rpc, body);
        // Tasks that are ready have their say first: one write for all of them.
        tokio::task::yield_now().await;
        while out.len() < GATHER_BYTES {
            let Ok((rpc, body)) = queue.try_recv() else { break };
            put(&mut out, rpc, body);
        }
        timeout(WRITE, write.write_all_buf(&mut out)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        out.clear();
    }
    Ok(())
}

fn put(out: &mut BytesMut, rpc: u64, body: PeerBody) {
    if let Err(fault) = (PeerFrame { rpc, body }).put(out) {
        let refusal = Refusal::definite(ErrorCode::TooLarge, fault.to_string());
        let frame = PeerFrame { rpc, body: Refused { refusal }.into() };
        if let Err(fault) = frame.put(out) {
            tracing::error!(%fault, "a reply to a peer could not be written");
        }
    }
}

async fn take_request(
    acceptor: &Arc<PeerAcceptor>,
    frame: &Frame,
    from: NodeId,
    replies: &Replies,
    workers: &mut AppendWorkers,
    forwarded: &mut Forwarders,
) {
    let PeerFrame { rpc, body } = match PeerFrame::take(frame) {
        Ok(request) => request,
        Err(fault) => return refuse_malformed(&fault, replies),
    };
    if let PeerBody::RosterAsk(_) = body {
        let me = acceptor.me();
        let roster = acceptor.roster();
        return replies.send(rpc, RosterReply { node: me.node.as_u64(), name: me.name.clone(), roster });
    }
    let Some(node) = acceptor.node() else {
        let refusal = Refusal::definite(ErrorCode::Unavailable, "the node is starting");
        return replies.send(rpc, Refused { refusal });
    };
    match body {
        PeerBody::Append(append) => match node.group(append.shard, append.to) {
            Some(group) => workers.append(rpc, append, &group).await,
            None => replies.send(rpc, AppendReply { outcome: AppendOutcome::Gone }),
        },
        PeerBody::Beats(beats) => drop(tokio::spawn(beat(node, rpc, beats, replies.clone()))),
        PeerBody::Vote(ask) => drop(tokio::spawn(answer_vote(node, rpc, ask, replies.clone()))),
        PeerBody::Transfer(ask) => drop(tokio::spawn(answer_transfer(node, rpc, ask, replies.clone()))),
        PeerBody::Clock(ask) => {
            let times = node.shard_times(&ask.shards);
            replies.send(rpc, ClockReply { wall_ms: acceptor.env().clock.wall_ms(), times });
        }
        PeerBody::ForwardCancel(cancel) => forwarded.cancel(rpc, &cancel.ids),
        PeerBody::DigestsAsk(ask) => replies.send(rpc, crate::group::compare::answer(&node, &ask)),
        PeerBody::Forward(forward) => take_forward(&node, rpc, forward, replies, forwarded),
        PeerBody::PeerStatusAsk(_) => replies.send(rpc, PeerStatus { status: node.status() }),
        other => {
            tracing::debug!(peer = %from, kind = other.kind(), "a peer's message is of no use here");
            let refusal = Refusal::definite(ErrorCode::Invalid, "not a request of this connection");
            replies.send(rpc, Refused { refusal });
        }
    }
}

fn refuse_malformed(fault: &MessageFault, replies: &Replies) {
    let rpc = match fault {
        MessageFault::UnknownKind { id, .. } | MessageFault::Malformed { id, .. } => *id,
    };
    tracing::warn!(%fault, "a peer's message could not be read");
    if let Some(rpc) = rpc {
        replies.send(rpc, Refused { refusal: Refusal::definite(ErrorCode::Invalid, fault.to_string()) });
    }
}

/// Hands each heartbeat to its own group; a group never answers for another.
async fn beat(node: Arc<Node>, rpc: u64, beats: Beats, replies: Replies) {
    let answers = beats.beats.into_iter().map(|beat| {
        let group = node.group(beat.shard, beat.to);
        async move {
            let outcome = match group {
                None => Some(AppendOutcome::Gone),
                Some(group) => timeout(BEAT, beat_one(&group, &beat)).await.unwrap_or_default(),
            };
            outcome.map(|outcome| BeatReply { shard: beat.shard, to: beat.to, outcome })
        }
    });
    let answered = futures_util::future::join_all(answers).await.into_iter().flatten().collect();
    replies.send(rpc, BeatReplies { replies: answered });
}

async fn beat_one(group: &Group, beat: &Beat) -> Option<AppendOutcome> {
    let request = AppendEntriesRequest::<Types> {
        vote: vote(beat.ballot),
        prev_log_id: beat.prev.map(unplace),
        entries: Vec::new(),
        leader_commit: beat.committed.map(unplace),
    };
    group.raft().append_entries(request).await.ok().map(|response| outcome(&response))
}

async fn answer_vote(node: Arc<Node>, rpc: u64, ask: Vote, replies: Replies) {
    let Some(group) = node.group(ask.shard, ask.to) else { return replies.send(rpc, VoteReply::Gone) };
    let request = VoteRequest::<Types> {
        vote: vote(ask.ballot),
        last_log_id: ask.last.map(unplace),
        leadership_transfer: ask.handover,
    };
    let result =
        if ask.pre { group.raft().pre_vote(request).await } else { group.raft().vote(request).await };
    match result {
        Ok(answer) => {
            let last = answer.last_log_id.as_ref().map(place);
            let answer = VoteAnswer { ballot: ballot(&answer.vote), last, granted: answer.vote_granted };
            replies.send(rpc, VoteReply::Answer(answer));
        }
        Err(error) => {
            let refusal = Refusal::indefinite(ErrorCode::Unavailable, error.to_string());
            replies.send(rpc, Refused { refusal });
        }
    }
}

async fn answer_transfer(node: Arc<Node>, rpc: u64, ask: Transfer, replies: Replies) {
    let Some(group) = node.group(ask.shard, ask.to) else { return replies.send(rpc, TransferReply::Gone) };
    let request = TransferLeaderRequest::<Types>::new(vote(ask.ballot), ask.to, ask.last.map(unplace));
    match group.raft().handle_transfer_leader(request).await {
        Ok(_) => replies.send(rpc, TransferReply::Taken),
        Err(error) => {
            let refusal = Refusal::indefinite(ErrorCode::Unavailable, error.to_string());
            replies.send(rpc, Refused { refusal });
        }
    }
}

/// Serves calls that a peer passed on. They are not passed on again.
fn take_forward(node: &Arc<Node>, rpc: u64, forward: Forward, replies: &Replies, forwarded: &mut Forwarders) {
    let refused: Vec<_> = forward
        .malformed
        .into_iter()
        .map(|malformed| {
            answer_of(malformed.id, Answer { reply: Reply::Error(malformed.refusal), witness: None })
        })
        .collect();
    if !refused.is_empty() {
        replies.send(rpc, ForwardReplies { answers: refused });
    }
    let mut calls = forward.calls.into_iter().peekable();
    while let Some(first) = calls.next() {
        let principal = first.principal.clone();
        let mut share = vec![first.call];
        while let Some(next) = calls.next_if(|next| next.principal == principal) {
            share.push(next.call);
        }
        let share = share
            .into_iter()
            .map(|call| Call { id: call.id, deadline_ms: call.deadline_ms, frame: 0, request: call.request })
            .collect();
        let sink = Box::new(ForwardSink { rpc, replies: replies.clone() });
        let caller = Caller::sharing(principal, sink, Arc::clone(&forwarded.open));
        forwarded.note(rpc, &caller);
        node.submit_here(share, &caller);
    }
}

/// At so many noted messages, those that were answered are forgotten.
const PRUNE: usize = 256;

/// Who waits behind a peer's forwarded messages.
struct Forwarders {
    /// False once the connection has ended.
    open: Arc<AtomicBool>,
    /// The callers of each message; they live as long as a call of theirs is unanswered.
    callers: HashMap<u64, Vec<Weak<Caller>>>,
    prune_at: usize,
}

impl Forwarders {
    fn note(&mut self, rpc: u64, caller: &Arc<Caller>) {
        if self.callers.len() >= self.prune_at {
            self.callers.retain(|_, callers| callers.iter().any(|caller| caller.strong_count() > 0));
            self.prune_at = PRUNE.max(2 * self.callers.len());
        }
        self.callers.entry(rpc).or_default().push(Arc::downgrade(caller));
    }

    fn cancel(&self, rpc: u64, ids: &[u64]) {
        let callers = self.callers.get(&rpc).into_iter().flatten().filter_map(Weak::upgrade);
        for caller in callers {
            // Ids are unique within the message: marks for calls of another caller do nothing.
            ids.iter().for_each(|id| caller.cancel(*id));
        }
    }
}

struct ForwardSink {
    rpc: u64,
    replies: Replies,
}

impl ReplySink for ForwardSink {
    fn deliver(&self, answers: Vec<(u64, Answer)>) {
        let answers = answers.into_iter().map(|(id, answer)| answer_of(id, answer)).collect();
        self.replies.send(self.rpc, ForwardReplies { answers });
    }
}

fn answer_of(id: u64, answer: Answer) -> ForwardedAnswer {
    ForwardedAnswer { id, answer }
}
