//! Replies on their way out, handed over one connection at a time.

use crate::observe::Observer;
use crate::serve::pending::Pending;
use hapax_core::{Answer, ErrorCode, LeaderHint, Refusal, Reply, Witness};
use std::sync::Arc;
use tokio::time::Instant;

/// Collects replies and delivers each connection's share in one call.
pub struct Outbox<'a> {
    shard: u32,
    observer: &'a dyn Observer,
    answers: Vec<(Pending, Answer)>,
}

impl<'a> Outbox<'a> {
    /// For replies of one shard.
    #[must_use]
    pub fn new(shard: u32, observer: &'a dyn Observer) -> Self {
        Self { shard, observer, answers: Vec::new() }
    }

    /// A reply with its witness.
    pub fn reply(&mut self, pending: Pending, reply: Reply, witness: Witness) {
        self.answers.push((pending, Answer { reply, witness: Some(witness) }));
    }

    /// A whole answer.
    pub fn answer(&mut self, pending: Pending, answer: Answer) {
        self.answers.push((pending, answer));
    }

    /// An error that never reached the log.
    pub fn refuse(&mut self, pending: Pending, refusal: Refusal) {
        self.answers.push((pending, Answer { reply: Reply::Error(refusal), witness: None }));
    }

    /// Delivers everything collected so far.
    pub fn flush(&mut self) {
        let now = Instant::now();
        let mut answers = std::mem::take(&mut self.answers).into_iter().peekable();
        while let Some((pending, answer)) = answers.next() {
            let caller = Arc::clone(&pending.caller);
            self.observe(&pending, &answer, now);
            let mut share = vec![(pending.id, answer)];
            while let Some((pending, answer)) =
                answers.next_if(|(next, _)| Arc::ptr_eq(&next.caller, &caller))
            {
                self.observe(&pending, &answer, now);
                share.push((pending.id, answer));
            }
            caller.deliver(share);
        }
    }

    fn observe(&self, pending: &Pending, answer: &Answer, now: Instant) {
        let latency = now.saturating_duration_since(pending.arrived).as_micros();
        self.observer.answered(self.shard, pending.verb, answer, u64::try_from(latency).unwrap_or(u64::MAX));
    }
}

impl Drop for Outbox<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// This node does not lead the shard, and the call was never proposed.
#[must_use]
pub fn not_leader(hint: Option<LeaderHint>) -> Refusal {
    Refusal { hint, ..Refusal::definite(ErrorCode::NotLeader, "this node does not lead the shard") }
}

/// The caller's time ran out before the call was proposed.
#[must_use]
pub fn too_slow() -> Refusal {
    Refusal::definite(ErrorCode::Deadline, "the deadline passed before the command was proposed")
}
