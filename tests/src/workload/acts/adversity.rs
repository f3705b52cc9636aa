//! Callers that nodes do not like: batches on one key, the same call on two nodes at once, callers
//! that are gone before their answer comes.

use super::Worker;
use crate::workload::asks;
use crate::workload::caller::DEADLINE_MS;
use crate::workload::keys::{Key, recall, remember};
use hapax_core::request::ClaimAsk;
use hapax_core::{Ask, Fingerprint, Reply, Request};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Calls in one batch.
const BATCH: (u64, u64) = (2, 12);
/// Calls of one batch on its own key: all of them may be lost at once.
const ON_ONE_KEY: usize = 4;
/// How long a call that is cancelled is left alone first, ms.
const CANCELLED_AFTER_MS: u64 = 80;

impl Worker {
    /// A batch: some verbs on one key, in their order, and some on others.
    pub(super) async fn batch(&mut self, key: &Key) {
        let length = self.caller.rng.between(BATCH.0, BATCH.1);
        let mut requests = Vec::new();
        let mut on_key = 0;
        for _ in 0..length {
            let elsewhere = on_key == ON_ONE_KEY || self.caller.rng.chance(500);
            let other = if elsewhere { self.keys.pick(&mut self.caller.rng) } else { None };
            on_key += usize::from(!elsewhere);
            requests.push(asks::request(self.any(other.as_deref().unwrap_or(key))));
        }
        let Some(first) = requests.first() else { return };
        let node = self.caller.node_for(first);
        let heard = self.caller.call_all(node, &requests, DEADLINE_MS).await;
        for (request, heard) in requests.iter().zip(heard) {
            let said = self.caller.learn(node, request, heard);
            if let (Ask::Claim(ask), super::super::caller::Said::Reply(reply)) = (&request.ask, said)
                && let Reply::Granted(granted) = *reply
                && ask.address == key.address
            {
                let fingerprint = ask.fingerprint.unwrap_or(Fingerprint::EMPTY);
                remember(&mut key.known.lock().tokens, (granted.token, fingerprint));
            }
        }
    }

    /// Any verb on a key, with what is known of it.
    fn any(&mut self, key: &Key) -> Ask {
        let rng = &mut self.caller.rng;
        let known = recall(&key.known.lock().tokens, rng);
        match (rng.below(6), known) {
            (0, Some((token, fingerprint))) => {
                Ask::Complete(asks::complete(key, &fingerprint, token, 64, rng))
            }
            (1, Some((token, fingerprint))) => {
                let seq = rng.between(1, 4);
                Ask::Renew(asks::renew(key, &fingerprint, token, seq, rng))
            }
            (2, Some((token, _))) => asks::release(key, token),
            (3, _) => asks::get(key, rng),
            _ => Ask::Claim(ClaimAsk { wait_ms: 0, ..asks::claim(key, key.fingerprint(), rng) }),
        }
    }

    /// The same call at the same time through two nodes.
    pub(super) async fn twice(&mut self, key: &Key) {
        let request = asks::request(self.any(key));
        let nodes = self.caller.lane.len();
        let first = self.caller.node_for(&request);
        let second = (first + self.caller.rng.index(nodes)) % nodes.max(1);
        let both = std::slice::from_ref(&request);
        let (one, other) = tokio::join!(
            biased;
            self.caller.call_all(first, both, DEADLINE_MS),
            self.caller.call_all(second, both, DEADLINE_MS),
        );
        for (node, heard) in [(first, one), (second, other)] {
            for heard in heard {
                self.caller.learn(node, &request, heard);
            }
        }
    }

    /// A claim that waits, and whose caller goes away meanwhile.
    pub(super) async fn cancel(&mut self, key: &Key) {
        let mut claim = asks::claim(key, key.fingerprint(), &mut self.caller.rng);
        claim.wait_ms = 2000;
        let request = asks::request(Ask::Claim(claim));
        let node = self.caller.node_for(&request);
        let Some(session) = self.caller.lane.session(node).await else { return };
        let begun = self.caller.recorder.begin(&self.caller.client, node, 1);
        let deadline = Instant::now() + Duration::from_millis(u64::from(DEADLINE_MS) + 1000);
        let tickets = session.send(std::slice::from_ref(&request), DEADLINE_MS).await;
        sleep(Duration::from_millis(self.caller.rng.below(CANCELLED_AFTER_MS))).await;
        for (begun, ticket) in begun.into_iter().zip(tickets) {
            session.cancel(ticket.id()).await;
            let heard = ticket.heard_by(deadline).await;
            self.caller.recorder.end(begun, &request, &heard);
            self.caller.learn(node, &request, heard);
        }
    }

    /// Calls on a connection that is cut under them.
    pub(super) async fn cut(&mut self, key: &Key) {
        let count = self.caller.rng.between(1, 4);
        let requests: Vec<Request> = (0..count).map(|_| asks::request(self.any(key))).collect();
        let Some(first) = requests.first() else { return };
        let node = self.caller.node_for(first);
        let Some(session) = self.caller.lane.own_session(node).await else { return };
        let pause = Duration::from_millis(self.caller.rng.below(12));
        let cut = async {
            sleep(pause).await;
            session.cut();
        };
        let calls = self.caller.call_on(&session, node, &requests, DEADLINE_MS);
        tokio::join!(biased; calls, cut);
    }
}
