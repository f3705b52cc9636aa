//! release: end a claim without an outcome.
//!
//! The holder vouches that nothing happened, even after its mark or its lease: the record is open
//! to the next claim, and the token is dead.

use crate::bytes::Blob;
use crate::command::Release;
use crate::record::{Open, OpenCause, State};
use crate::reply::Reply;
use crate::transition::{Scene, Transition};
use crate::verbs::Owner;

pub(crate) fn apply(release: &Release, scene: &Scene<'_>) -> Transition {
    let record = match scene.owner(release.token) {
        Owner::Shadow => return Transition::keep(Reply::Ignored),
        Owner::Absent | Owner::Other => return Transition::keep(Reply::Fenced),
        Owner::Own(record) => record,
    };
    let open = |checkpoint: &Blob, marked: bool| {
        let (cause, since) = (OpenCause::Released, scene.now());
        let open = Open { cause, since, checkpoint: checkpoint.clone(), marked };
        Transition::put(Reply::Released, record.with_state(State::Open(open)))
    };
    match &record.state {
        State::Claimed(claimed) => open(&claimed.checkpoint, claimed.marked),
        State::InDoubt(doubt) => open(&doubt.checkpoint, doubt.marked),
        State::Open(last) => match last.cause {
            OpenCause::Lapsed => open(&last.checkpoint, last.marked),
            OpenCause::Released => Transition::keep(Reply::Released),
            OpenCause::Resolved => Transition::keep(Reply::Fenced),
        },
        State::Completed(_) | State::Spent(_) => Transition::keep(Reply::Fenced),
    }
}
