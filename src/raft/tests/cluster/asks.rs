//! Requests, and callers that wait for their answers.

use crate::node::TestNode;
use hapax_core::request::{ClaimAsk, CompleteAsk, GetAsk, ReleaseAsk};
use hapax_core::{
    Address, Answer, Ask, ErrorCode, Fingerprint, Key, Metadata, Nonce, Operation, Outcome, OutcomeClass,
    Principal, Refusal, Reply, Request, Tenant, Token,
};
use hapax_raft::call::{Call, Caller, ReplySink};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

struct OneReply(Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>);

impl ReplySink for OneReply {
    fn deliver(&self, answers: Vec<(u64, Answer)>) {
        for (id, answer) in answers {
            let sender = self.0.lock().remove(&id).expect("each call is answered once");
            let _gone = sender.send(answer);
        }
    }
}

/// A connection to a node.
pub(crate) struct Connection {
    pub(crate) caller: Arc<Caller>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>,
    next: Mutex<u64>,
}

impl Connection {
    pub(crate) fn new() -> Self {
        let waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>> = Arc::default();
        let caller = Caller::new(Principal::default(), Box::new(OneReply(Arc::clone(&waiting))));
        Self { caller, waiting, next: Mutex::new(1) }
    }

    /// Sends requests in one frame; the answers come on the receivers.
    pub(crate) fn send(
        &self,
        node: &TestNode,
        asks: Vec<Ask>,
        deadline_ms: u32,
    ) -> Vec<(u64, oneshot::Receiver<Answer>)> {
        self.send_each(node, asks.into_iter().map(|ask| (ask, deadline_ms)).collect())
    }

    /// The same, each with a deadline of its own.
    pub(crate) fn send_each(
        &self,
        node: &TestNode,
        asks: Vec<(Ask, u32)>,
    ) -> Vec<(u64, oneshot::Receiver<Answer>)> {
        let mut receivers = Vec::new();
        let mut calls = Vec::new();
        for (ask, deadline_ms) in asks {
            let (sender, receiver) = oneshot::channel();
            let id = {
                let mut next = self.next.lock();
                *next += 1;
                *next
            };
            self.waiting.lock().insert(id, sender);
            receivers.push((id, receiver));
            calls.push(Call { id, deadline_ms, frame: 0, request: Request { not_after: None, ask } });
        }
        node.enter(|node| node.submit(calls, &self.caller));
        receivers
    }
}

/// Waits for an answer; every call has one.
pub(crate) async fn answer(receiver: oneshot::Receiver<Answer>) -> Answer {
    tokio::time::timeout(Duration::from_secs(60), receiver).await.expect("no answer came").unwrap()
}

/// Sends one request to a node and waits for its answer.
pub(crate) async fn ask_node(node: &TestNode, ask: Ask, deadline_ms: u32) -> Answer {
    ask_all(node, vec![ask], deadline_ms).await.remove(0)
}

/// Sends requests in one frame and waits for all answers.
pub(crate) async fn ask_all(node: &TestNode, asks: Vec<Ask>, deadline_ms: u32) -> Vec<Answer> {
    let connection = Connection::new();
    let mut answers = Vec::new();
    for (_, receiver) in connection.send(node, asks, deadline_ms) {
        answers.push(answer(receiver).await);
    }
    answers
}

pub(crate) fn address(key: &str) -> Address {
    let operation = Operation::new("payments.charge").unwrap();
    Address::new(&Tenant::new("acme").unwrap(), &operation, &Key::new(key).unwrap())
}

/// A key of this shard.
pub(crate) fn key_in(shard: u32, shards: u32, name: &str) -> String {
    (0..).map(|n| format!("{name}-{n}")).find(|key| address(key).shard(shards) == shard).unwrap()
}

pub(crate) fn nonce(n: u64) -> Nonce {
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    Nonce::try_from(bytes).unwrap()
}

pub(crate) fn claim(key: &str, n: u64, wait_ms: u64) -> Ask {
    claim_for(key, n, wait_ms, None)
}

pub(crate) fn claim_for(key: &str, n: u64, wait_ms: u64, lease_ms: Option<u64>) -> Ask {
    Ask::Claim(ClaimAsk {
        address: address(key),
        fingerprint: Some(Fingerprint { algorithm: 1, digest: [9; 32] }),
        fields: Default::default(),
        nonce: nonce(n),
        lease_ms,
        wait_ms,
        first_sent: None,
        label: None,
        trace: None,
        value: None,
    })
}

/// The same key, claimed for another request.
pub(crate) fn other_claim(key: &str, n: u64, wait_ms: u64) -> Ask {
    let Ask::Claim(mut ask) = claim(key, n, wait_ms) else { unreachable!() };
    ask.fingerprint = Some(Fingerprint { algorithm: 1, digest: [8; 32] });
    Ask::Claim(ask)
}

pub(crate) fn complete(key: &str, token: Token, result: &str) -> Ask {
    let outcome =
        Outcome { class: OutcomeClass::Success, result: result.into(), metadata: Metadata::default() };
    Ask::Complete(CompleteAsk { address: address(key), token, outcome, retention_ms: None })
}

pub(crate) fn release(key: &str, token: Token) -> Ask {
    Ask::Release(ReleaseAsk { address: address(key), token, reason: None })
}

pub(crate) fn get(key: &str, wait_ms: u64) -> Ask {
    Ask::Get(GetAsk { address: address(key), fingerprint: None, wait_ms, stale: false })
}

pub(crate) fn token_of(answer: &Answer) -> Token {
    match &answer.reply {
        Reply::Granted(granted) => granted.token,
        other => panic!("expected a grant, got {other:?}"),
    }
}

/// The refusal that an answer is.
pub(crate) fn refusal_of(answer: &Answer) -> &Refusal {
    match &answer.reply {
        Reply::Error(refusal) => refusal,
        other => panic!("expected an error, got {other:?}"),
    }
}

/// Whether an answer is this error, and definite.
pub(crate) fn is_definite(answer: &Answer, code: ErrorCode) -> bool {
    let refusal = refusal_of(answer);
    refusal.code == code && refusal.definite
}
