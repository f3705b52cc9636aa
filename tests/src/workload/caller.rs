//! One caller: it picks a node, says a call once, and records what it heard.

use super::recorder::{Begun, Recorder};
use super::rng::Rng;
use super::session::{Heard, Session, Ticket};
use super::targets::{Lane, Routes};
use hapax_checker::history::Name;
use hapax_core::reply::Answer;
use hapax_core::{ErrorCode, Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a caller waits beyond what it told the node.
const GRACE: Duration = Duration::from_secs(1);
/// The pause after an answer that sends a caller elsewhere, ms: from and to.
const PAUSE_MS: (u64, u64) = (2, 25);
/// Calls in one frame, which is what a batch is.
pub(super) const FRAME: usize = 256;
/// How many calls of a thousand go to a node chosen by chance.
const ANYWHERE: u64 = 40;
/// Calls of unknown effect after which an address is left alone.
pub(super) const UNKNOWN_MOST: u32 = 4;
/// What callers tell nodes that they wait, ms.
pub(super) const DEADLINE_MS: u32 = 3000;

/// What a call came to.
#[derive(Debug)]
pub(super) enum Said {
    Reply(Box<Reply>),
    /// A refusal that another node, or a later moment, may not repeat.
    Elsewhere,
    /// Nobody knows.
    Unknown,
}

pub(super) struct Caller {
    pub(super) lane: Arc<Lane>,
    pub(super) routes: Arc<Routes>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) rng: Rng,
    pub(super) client: Name,
    pub(super) shards: u32,
}

/// Calls under way.
pub(super) struct Sent {
    calls: Vec<(Begun, Ticket)>,
    deadline: Instant,
}

impl Sent {
    /// Waits for their answers and records them; `requests` are those that were sent.
    pub(super) async fn heard(self, recorder: &Recorder, requests: &[Request]) -> Vec<Heard> {
        let mut all = Vec::with_capacity(requests.len());
        for ((begun, ticket), request) in self.calls.into_iter().zip(requests) {
            let heard = ticket.heard_by(self.deadline).await;
            recorder.end(begun, request, &heard);
            all.push(heard);
        }
        all
    }
}

impl Caller {
    /// The node that is believed to lead the request's shard; now and then any.
    pub(super) fn node_for(&mut self, request: &Request) -> usize {
        if self.rng.chance(ANYWHERE) {
            return self.rng.index(self.lane.len());
        }
        self.routes.leader(request.ask.shard(self.shards))
    }

    /// Says it once, to the node that should know.
    pub(super) async fn call(&mut self, request: &Request) -> Said {
        let node = self.node_for(request);
        self.call_at(node, request, DEADLINE_MS).await
    }

    /// Says it once, to this node.
    pub(super) async fn call_at(&mut self, node: usize, request: &Request, deadline_ms: u32) -> Said {
        let mut heard = self.call_all(node, std::slice::from_ref(request), deadline_ms).await;
        heard.pop().map_or(Said::Unknown, |heard| self.learn(node, request, heard))
    }

    /// Says them all at once, in one frame where they fit.
    pub(super) async fn call_all(&self, node: usize, requests: &[Request], deadline_ms: u32) -> Vec<Heard> {
        let Some(session) = self.lane.session(node).await else {
            return vec![Heard::NotSent; requests.len()];
        };
        let heard = self.call_on(&session, node, requests, deadline_ms).await;
        if heard.contains(&Heard::Lost) && session.is_open() {
            self.lane.give_up(node, &session).await;
        }
        heard
    }

    /// As [`Caller::call_all`], on this connection.
    pub(super) async fn call_on(
        &self,
        session: &Session,
        node: usize,
        requests: &[Request],
        deadline_ms: u32,
    ) -> Vec<Heard> {
        self.send_on(session, node, requests, deadline_ms).await.heard(&self.recorder, requests).await
    }

    /// Says them on this connection, and leaves the answers to be waited for.
    pub(super) async fn send_on(
        &self,
        session: &Session,
        node: usize,
        requests: &[Request],
        deadline_ms: u32,
    ) -> Sent {
        let patience = Duration::from_millis(u64::from(deadline_ms)) + GRACE;
        let deadline = Instant::now() + patience;
        let (mut begun, mut tickets) = (Vec::new(), Vec::new());
        for frame in requests.chunks(FRAME) {
            begun.extend(self.recorder.begin(&self.client, node, frame.len()));
            tickets.extend(session.send(frame, deadline_ms).await);
        }
        Sent { calls: begun.into_iter().zip(tickets).collect(), deadline }
    }

    /// Takes from an answer what it says about the cluster.
    pub(super) fn learn(&mut self, node: usize, request: &Request, heard: Heard) -> Said {
        let shard = request.ask.shard(self.shards);
        let next = (node + 1) % self.lane.len().max(1);
        let Answer { reply, witness } = match heard {
            Heard::Answer(answer) => *answer,
            Heard::NotSent => {
                self.routes.set_leader(shard, next);
                return Said::Elsewhere;
            }
            Heard::Lost => {
                self.routes.set_leader(shard, next);
                return Said::Unknown;
            }
        };
        if let Some(witness) = &witness {
            self.routes.saw(witness);
        }
        let Reply::Error(refusal) = &reply else { return Said::Reply(Box::new(reply)) };
        match refusal.code {
            ErrorCode::NotLeader => {
                let hinted = refusal.hint.as_ref().and_then(|hint| self.routes.hinted(hint));
                self.routes.set_leader(shard, hinted.unwrap_or(next));
            }
            ErrorCode::Unavailable => self.routes.set_leader(shard, next),
            ErrorCode::Deadline | ErrorCode::Overloaded => {}
            _ => return Said::Reply(Box::new(reply)),
        }
        if refusal.definite { Said::Elsewhere } else { Said::Unknown }
    }

    /// Says it again, each time as a call of its own, until somebody answers or so many tries are
    /// over: every verb may be sent again verbatim.
    pub(super) async fn insist(&mut self, request: &Request, tries: u32) -> Option<Reply> {
        for _ in 0..tries {
            // Nobody could tell any more what to expect of it.
            if request.ask.address().is_some_and(|address| self.recorder.unknown(address) >= UNKNOWN_MOST) {
                return None;
            }
            if let Said::Reply(reply) = self.call(request).await {
                return Some(*reply);
            }
            self.pause().await;
        }
        None
    }

    pub(super) async fn pause(&mut self) {
        sleep(Duration::from_millis(self.rng.between(PAUSE_MS.0, PAUSE_MS.1))).await;
    }
}
