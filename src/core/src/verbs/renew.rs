//! renew: extend a claim, move its recovery point, set its mark.
//!
//! The deadline only moves forward, and never past the longest hold. Checkpoint and mark follow the
//! sequence number, so that a delayed copy moves neither back; the mark is never unset.

use crate::command::Renew;
use crate::record::{Claimed, Record, State};
use crate::reply::{Renewed, Reply};
use crate::seeded::{self, Bug};
use crate::transition::{Scene, Transition};
use crate::verbs::Owner;

pub(crate) fn apply(renew: &Renew, scene: &Scene<'_>) -> Transition {
    match scene.owner(renew.token) {
        Owner::Shadow => Transition::keep(Reply::Ignored),
        Owner::Absent | Owner::Other => Transition::keep(Reply::Fenced),
        Owner::Own(record) => match &record.state {
            State::Claimed(claimed) => extend(renew, record, claimed, scene),
            State::Open(_) | State::InDoubt(_) | State::Completed(_) | State::Spent(_) => {
                Transition::keep(Reply::Fenced)
            }
        },
    }
}

fn extend(renew: &Renew, record: &Record, claimed: &Claimed, scene: &Scene<'_>) -> Transition {
    let mut next = claimed.clone();
    let latest = claimed.claimed_at.after(record.terms.max_hold_ms);
    let deadline = scene.now().after(renew.lease_ms).min(latest);
    if deadline > claimed.deadline {
        next.deadline = deadline;
        next.lease_ms = deadline.left_at(scene.now());
    }
    if renew.seq > claimed.renewal_seq || seeded::active(Bug::StaleCheckpointTaken) {
        next.renewal_seq = renew.seq;
        next.marked |= renew.mark;
        if let Some(checkpoint) = &renew.checkpoint {
            next.checkpoint = checkpoint.clone();
        }
    }
    let reply = Reply::Renewed(Renewed {
        deadline: next.deadline,
        lease_left_ms: next.deadline.left_at(scene.stamp),
        marked: next.marked,
    });
    if next == *claimed {
        return Transition::keep(reply);
    }
    Transition::put(reply, record.with_state(State::Claimed(next)))
}
