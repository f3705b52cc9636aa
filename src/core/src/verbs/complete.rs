//! complete: end a claim with an outcome.
//!
//! A token whose lease lapsed may still complete while nobody has taken over: the work was done,
//! and to lose its result would only invite a second run.

use crate::command::Complete;
use crate::outcome::Outcome;
use crate::record::{Completed, OpenCause, Record, State};
use crate::reply::{CompletedReply, Reply};
use crate::seeded::{self, Bug};
use crate::time::LogTime;
use crate::transition::{Scene, Transition};
use crate::verbs::Owner;

pub(crate) fn apply(complete: &Complete, scene: &Scene<'_>) -> Transition {
    let record = match scene.owner(complete.token) {
        Owner::Shadow => return Transition::keep(Reply::Ignored),
        Owner::Absent | Owner::Other => return Transition::keep(Reply::Fenced),
        Owner::Own(record) => record,
    };
    match &record.state {
        State::Claimed(_) => keep_outcome(complete, record, scene, false),
        State::Open(open) => match open.cause {
            OpenCause::Lapsed => keep_outcome(complete, record, scene, true),
            OpenCause::Released | OpenCause::Resolved => Transition::keep(Reply::Fenced),
        },
        State::InDoubt(_) => keep_outcome(complete, record, scene, true),
        State::Completed(_) if seeded::active(Bug::CompleteOverwrites) => {
            keep_outcome(complete, record, scene, false)
        }
        State::Completed(completed) => Transition::keep(compare(complete, Some(completed.digest))),
        State::Spent(spent) => Transition::keep(compare(complete, spent.class.map(|_| spent.digest))),
    }
}

/// The state of a record that ends now with this outcome.
pub(crate) fn completed(outcome: &Outcome, retention_ms: u64, now: LogTime) -> Completed {
    Completed {
        outcome: outcome.clone(),
        digest: outcome.digest(),
        completed_at: now,
        expires_at: now.after(retention_ms),
    }
}

fn keep_outcome(complete: &Complete, record: &Record, scene: &Scene<'_>, late: bool) -> Transition {
    let completed = completed(&complete.outcome, complete.retention_ms, scene.now());
    let reply = Reply::Completed(CompletedReply { late, expires_at: completed.expires_at });
    Transition::put(reply, record.with_state(State::Completed(completed)))
}

/// Whether this very outcome is already kept; none is where the claim was forgotten while it ran.
fn compare(complete: &Complete, kept_digest: Option<[u8; 16]>) -> Reply {
    if kept_digest == Some(complete.outcome.digest()) { Reply::AlreadyCompleted } else { Reply::Conflict }
}
