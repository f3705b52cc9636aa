//! The protocol itself as a script: a node that applies the real state machine to what arrives, and
//! one that also loses, repeats and delays as a bad network and dying nodes do.

use crate::world::{Act, Seen, refuse};
use hapax_client::ErrorCode;
use hapax_core::{
    Address, Batch, LogTime, Policies, PolicyTable, Principal, ReadAt, Record, Records, Reply, Request,
    Resolved, ShardState, apply_batch, read_get, resolve_request,
};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::time::Instant;

/// One shard's state machine, its log time being this process's clock.
pub(crate) struct Model {
    state: ShardState,
    records: Held,
    policies: Policies,
    begun: Instant,
}

#[derive(Default)]
struct Held(HashMap<Address, Arc<Record>>);

impl Records for Held {
    type Error = Infallible;

    fn get(&mut self, address: &Address) -> Result<Option<Arc<Record>>, Infallible> {
        Ok(self.0.get(address).cloned())
    }

    fn put(&mut self, address: &Address, record: Option<Arc<Record>>) -> Result<(), Infallible> {
        match record {
            Some(record) => drop(self.0.insert(address.clone(), record)),
            None => drop(self.0.remove(address)),
        }
        Ok(())
    }
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            state: ShardState::new(0, 0),
            records: Held::default(),
            policies: Policies::new(&PolicyTable::default()).expect("the defaults hold"),
            begun: Instant::now(),
        }
    }

    /// Applies one request at this moment.
    pub(crate) fn apply(&mut self, request: &Request) -> Reply {
        let elapsed_ms = u64::try_from(self.begun.elapsed().as_millis()).expect("a short test");
        let time = LogTime(1_700_000_000_000 + elapsed_ms);
        match resolve_request(request, &Principal::default(), &self.policies) {
            Err(refusal) => Reply::Error(refusal),
            Ok(Resolved::Answer(reply)) => reply,
            Ok(Resolved::List(_)) => refusal("nothing here lists"),
            Ok(Resolved::Get { address, fingerprint, is_reader, .. }) => {
                let at = ReadAt { applied: time, stamp: time };
                let found = self.records.0.get(&address);
                read_get(found.map(|found| &**found), fingerprint.as_ref(), is_reader, at)
                    .unwrap_or_else(|| refusal("a deadline lies between"))
            }
            Ok(Resolved::Command { command, .. }) => {
                let batch = Batch { time, commands: vec![command] };
                let index = self.state.index + 1;
                let replies = apply_batch(&mut self.state, &batch, index, &mut self.records);
                replies.expect("nothing fails here").remove(0)
            }
        }
    }
}

fn refusal(text: &str) -> Reply {
    Reply::Error(hapax_core::Refusal::definite(ErrorCode::Unavailable, text))
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A script that applies everything it is asked to, and misbehaves in one of `one_in` calls.
pub(crate) fn faulty(mut model: Model, seed: u64, one_in: u64) -> impl FnMut(&Seen) -> Act + Send {
    let mut dice = Dice(seed);
    // Copies that arrive when nobody expects them any more.
    let mut delayed: Vec<Request> = Vec::new();
    move |seen| {
        if dice.roll(one_in) > 0 {
            return Act::Reply(model.apply(&seen.request));
        }
        match dice.roll(8) {
            0 => Act::HangUp,
            1 => Act::Silence,
            2 => refuse(ErrorCode::Unavailable, true),
            3 => {
                model.apply(&seen.request);
                Act::HangUp
            }
            4 => {
                model.apply(&seen.request);
                Act::Silence
            }
            5 => {
                model.apply(&seen.request);
                refuse(ErrorCode::Unavailable, false)
            }
            6 => {
                delayed.push(seen.request.clone());
                refuse(ErrorCode::Deadline, false)
            }
            _ => {
                for request in delayed.drain(..) {
                    model.apply(&request);
                }
                model.apply(&seen.request);
                Act::Reply(model.apply(&seen.request))
            }
        }
    }
}
