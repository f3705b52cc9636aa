//! resolve: an operator or a reconciler decides a claim in doubt.
//!
//! The record keeps its last resolution, by whose verdict digest the same resolve sent again is
//! told from another one that comes too late.

use crate::command::{Resolve, Verdict};
use crate::record::{InDoubt, Open, OpenCause, Record, Resolution, State};
use crate::reply::Reply;
use crate::transition::{Scene, Transition};
use crate::verbs::{Owner, complete};

pub(crate) fn apply(resolve: &Resolve, scene: &Scene<'_>) -> Transition {
    let record = match scene.owner(resolve.token) {
        Owner::Shadow => return Transition::keep(Reply::Ignored),
        Owner::Other => return Transition::keep(Reply::Fenced),
        Owner::Absent => return Transition::keep(Reply::NotInDoubt),
        Owner::Own(record) => record,
    };
    match &record.state {
        State::Claimed(_) => Transition::keep(Reply::NotInDoubt),
        State::InDoubt(doubt) => decide(resolve, record, doubt, scene),
        State::Open(_) | State::Completed(_) | State::Spent(_) => {
            let repeated = record.resolution.as_ref().is_some_and(|resolution| {
                resolution.token == resolve.token && resolution.verdict_digest == resolve.verdict.digest()
            });
            Transition::keep(if repeated { Reply::Resolved } else { Reply::NotInDoubt })
        }
    }
}

fn decide(resolve: &Resolve, record: &Record, doubt: &InDoubt, scene: &Scene<'_>) -> Transition {
    let now = scene.now();
    let state = match &resolve.verdict {
        Verdict::Complete(verdict) => {
            State::Completed(complete::completed(&verdict.outcome, verdict.retention_ms, now))
        }
        Verdict::Release => State::Open(Open {
            cause: OpenCause::Resolved,
            since: now,
            checkpoint: doubt.checkpoint.clone(),
            marked: doubt.marked,
        }),
    };
    let resolution = Resolution {
        token: resolve.token,
        verdict_digest: resolve.verdict.digest(),
        at: now,
        principal: scene.principal.clone(),
        reason: resolve.reason.clone(),
    };
    let record = Record { resolution: Some(resolution), ..record.with_state(state) };
    Transition::put(Reply::Resolved, record)
}
