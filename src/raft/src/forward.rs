//! Calls of clients that do not know the leader, passed on to it.
//!
//! A call is passed on once. Where the other node turns out not to lead and names who does, the
//! call goes there, also once; then the client is told. A link that breaks with the call out leaves
//! its outcome open, and the client is told that.
//!
//! Calls that go to the same node reach it in their order, over several messages too, and those of
//! one frame in one message: commands on one address take effect in that order, and so a read in
//! front of a command is answered by what was there before it.

use crate::call::{Call, Caller};
use crate::ids::NodeId;
use crate::node::Node;
use crate::peer::link::{ForwardNumber, ForwardStream, LinkError};
use hapax_core::{Answer, ErrorCode, Refusal, Reply, Request};
use hapax_wire::peer::{Forward, Forwarded};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Calls in one message, unless a single frame has more.
const CALLS: usize = 256;
/// Bytes of requests in one message, unless a single frame has more. What a client may send in one
/// frame fits one between nodes, by its bytes and also by the estimate of [`size_bytes`].
const BYTES: usize = 4 << 20;
const _: () = assert!(
    hapax_wire::limits::CALLS * OVERHEAD + hapax_wire::limits::CLIENT_FRAME_BYTES
        < hapax_wire::limits::PEER_FRAME_BYTES
);

/// One call that is out.
struct Out {
    /// Its place among the calls that arrived together.
    place: usize,
    request: Request,
    deadline: Instant,
    redirected: bool,
    /// The other node was told that its caller is gone.
    cancelled: bool,
}

/// Passes calls on to `to`, and their answers back to `caller`.
pub(crate) fn forward(node: &Arc<Node>, to: NodeId, calls: Vec<Call>, caller: Arc<Caller>) {
    let arrived = Instant::now();
    let mut out = HashMap::new();
    let mut bytes = 0;
    let mut calls = calls.into_iter().enumerate().peekable();
    while let Some(first) = calls.next() {
        let number = first.1.frame;
        let mut frame = vec![first];
        while let Some(next) = calls.next_if(|(_, call)| call.frame == number) {
            frame.push(next);
        }
        let size: usize = frame.iter().map(|(_, call)| size_bytes(&call.request)).sum();
        if !out.is_empty() && (out.len() + frame.len() > CALLS || bytes + size > BYTES) {
            start(node, to, std::mem::take(&mut out), &caller, bytes);
            bytes = 0;
        }
        bytes += size;
        for (place, call) in frame {
            let deadline = arrived + Duration::from_millis(u64::from(call.deadline_ms));
            let request = call.request;
            out.insert(call.id, Out { place, request, deadline, redirected: false, cancelled: false });
        }
    }
    start(node, to, out, &caller, bytes);
}

/// Hands the calls to the link at once, so that the next ones are behind them; a task sees to their
/// answers.
fn start(node: &Arc<Node>, to: NodeId, out: HashMap<u64, Out>, caller: &Arc<Caller>, bytes: usize) {
    if out.is_empty() {
        return;
    }
    let sent = match node.context().links.get(to) {
        Some(link) => link.forward(message(&out, caller), bytes),
        None => Err(LinkError::Down),
    };
    match sent {
        Ok(replies) => drop(tokio::spawn(pass_on(Arc::clone(node), to, out, Arc::clone(caller), replies))),
        Err(error) => {
            forget(node, to, &out);
            refuse(caller, out, &Refusal::definite(ErrorCode::Unavailable, error.to_string()));
        }
    }
}

/// The calls as another node takes them, in their order.
fn message(out: &HashMap<u64, Out>, caller: &Caller) -> Forward {
    let now = Instant::now();
    let mut calls: Vec<(&u64, &Out)> = out.iter().collect();
    calls.sort_unstable_by_key(|(_, call)| call.place);
    let forwarded = |(id, call): (&u64, &Out)| {
        let left = call.deadline.saturating_duration_since(now);
        let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        let call = hapax_wire::client::Call { id: *id, deadline_ms, request: call.request.clone() };
        Forwarded { call, principal: caller.principal().clone() }
    };
    Forward { hops: 0, calls: calls.into_iter().map(forwarded).collect(), malformed: Vec::new() }
}

async fn pass_on(
    node: Arc<Node>,
    to: NodeId,
    mut out: HashMap<u64, Out>,
    caller: Arc<Caller>,
    (mut replies, number): (ForwardStream, ForwardNumber),
) {
    let mut changes = caller.changes();
    while let Some(earliest) = out.values().map(|call| call.deadline).min() {
        tell_gone(&node, to, &caller, &mut out, &number);
        tokio::select! {
            answers = replies.recv() => match answers {
                Some(answers) => {
                    let answers = answers.answers.into_iter().map(|answer| (answer.id, answer.answer));
                    deliver(&node, to, &caller, &mut out, answers.collect());
                }
                None => {
                    forget(&node, to, &out);
                    let why = "the connection to the leader broke before its answer came";
                    return refuse(&caller, out, &Refusal::indefinite(ErrorCode::Unavailable, why));
                }
            },
            // The sender is the caller, which is held here.
            _ = changes.changed() => {}
            () = sleep_until(earliest) => {
                let now = Instant::now();
                let late = out.extract_if(|_, call| call.deadline <= now).collect();
                forget(&node, to, &late);
                let why = "the leader did not answer before the deadline";
                refuse(&caller, late, &Refusal::indefinite(ErrorCode::Deadline, why));
            }
        }
    }
}

/// Tells the other node about callers that are gone, each once.
fn tell_gone(node: &Node, to: NodeId, caller: &Caller, out: &mut HashMap<u64, Out>, number: &ForwardNumber) {
    let mut gone = Vec::new();
    for (id, call) in out.iter_mut().filter(|(id, call)| !call.cancelled && !caller.wants(**id)) {
        call.cancelled = true;
        gone.push(*id);
    }
    if let (false, Some(link)) = (gone.is_empty(), node.context().links.get(to)) {
        link.cancel_forward(number, gone);
    }
}

/// Hands answers on; a call that was redirected goes to the node named, once.
fn deliver(
    node: &Arc<Node>,
    from: NodeId,
    caller: &Arc<Caller>,
    out: &mut HashMap<u64, Out>,
    answers: Vec<(u64, Answer)>,
) {
    let mut done = Vec::new();
    let mut again: HashMap<NodeId, HashMap<u64, Out>> = HashMap::new();
    for (id, answer) in answers {
        let Some(call) = out.remove(&id) else { continue };
        match redirect(&answer) {
            Some(leader) if leader != from && !call.redirected => {
                node.note_leader(call.request.ask.shard(node.context().shards), leader);
                let call = Out { redirected: true, cancelled: false, ..call };
                again.entry(leader).or_default().insert(id, call);
            }
            _ => {
                let not_leader = is_not_leader(&answer);
                if not_leader {
                    node.forget_leader(call.request.ask.shard(node.context().shards), from);
                }
                let answer = if not_leader { without_leader(answer) } else { answer };
                done.push((id, answer));
            }
        }
    }
    caller.deliver(done);
    for (leader, calls) in again {
        if leader == node.context().config.node {
            // It leads itself by now; the client's next try finds it.
            let refusal = Refusal::definite(ErrorCode::Unavailable, "the lead has just moved");
            refuse(caller, calls, &refusal);
        } else {
            let bytes = calls.values().map(|call| size_bytes(&call.request)).sum();
            start(node, leader, calls, caller, bytes);
        }
    }
}

/// The other node may not lead these shards any more: others are asked next time.
fn forget(node: &Node, to: NodeId, out: &HashMap<u64, Out>) {
    let shards: BTreeSet<u32> =
        out.values().map(|call| call.request.ask.shard(node.context().shards)).collect();
    for shard in shards {
        node.forget_leader(shard, to);
    }
}

/// "This node does not lead", where that node knows nobody who does, tells the client nothing that
/// it can use.
fn without_leader(answer: Answer) -> Answer {
    match &answer.reply {
        Reply::Error(refusal) if refusal.definite && refusal.hint.is_none() => {
            Answer { reply: Reply::Error(crate::node::no_leader()), witness: None }
        }
        _ => answer,
    }
}

fn is_not_leader(answer: &Answer) -> bool {
    matches!(&answer.reply, Reply::Error(refusal) if refusal.code == ErrorCode::NotLeader)
}

fn redirect(answer: &Answer) -> Option<NodeId> {
    match &answer.reply {
        Reply::Error(refusal) if refusal.code == ErrorCode::NotLeader && refusal.definite => {
            refusal.hint.as_ref().map(|hint| NodeId::from_u64(hint.node))
        }
        _ => None,
    }
}

fn refuse(caller: &Caller, out: HashMap<u64, Out>, refusal: &Refusal) {
    let answer = |id| (id, Answer { reply: Reply::Error(refusal.clone()), witness: None });
    caller.deliver(out.into_keys().map(answer).collect());
}

/// What a request takes on the wire beside its payload, bytes; an estimate from above.
const OVERHEAD: usize = 4096;

/// An estimate from above of what a request takes on the wire.
fn size_bytes(request: &Request) -> usize {
    use hapax_core::Ask;
    let payload = match &request.ask {
        Ask::Complete(ask) => ask.outcome.result.len() + ask.outcome.metadata.size_bytes(),
        Ask::Resolve(ask) => {
            ask.outcome.as_ref().map_or(0, |outcome| outcome.result.len() + outcome.metadata.size_bytes())
        }
        Ask::Renew(ask) => ask.checkpoint.as_ref().map_or(0, hapax_core::Blob::len),
        _ => 0,
    };
    OVERHEAD + payload
}
