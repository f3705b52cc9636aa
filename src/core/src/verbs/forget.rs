//! forget: drop what is kept.
//!
//! Erasing leaves the memory that it ran for at least as long as it would have lasted, so that it
//! never leads to a second run; resetting is how somebody asks for one.

use crate::command::{Forget, ForgetMode};
use crate::record::{Record, Spent, State};
use crate::reply::Reply;
use crate::time::LogTime;
use crate::transition::{Scene, Transition};
use crate::verbs::Owner;

pub(crate) fn apply(forget: &Forget, scene: &Scene<'_>) -> Transition {
    let record = match scene.owner(forget.token) {
        Owner::Shadow => return Transition::keep(Reply::Ignored),
        Owner::Absent => return Transition::keep(Reply::Forgotten),
        Owner::Other => return Transition::keep(Reply::Changed),
        Owner::Own(record) => record,
    };
    if matches!(record.state, State::Claimed(_)) && !forget.force {
        return Transition::keep(Reply::Changed);
    }
    match forget.mode {
        ForgetMode::Reset => Transition::remove(Reply::Forgotten),
        ForgetMode::Erase => erase(record, scene.now()),
    }
}

fn erase(record: &Record, now: LogTime) -> Transition {
    let spent = match &record.state {
        State::Spent(spent) => spent.clone(),
        State::Completed(completed) => record.expire(completed),
        // It never ended, and may have run: remembered from now like a success.
        State::Claimed(_) | State::Open(_) | State::InDoubt(_) => Spent {
            class: None,
            digest: [0; 16],
            completed_at: now,
            forgotten_at: record.remembered_until(now),
        },
    };
    let erased = record.with_spent(spent);
    if erased == *record {
        return Transition::keep(Reply::Forgotten);
    }
    Transition::put(Reply::Forgotten, erased)
}
