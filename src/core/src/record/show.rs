//! What get and list show of a record.

use super::{Record, State};
use crate::bytes::Blob;
use crate::time::LogTime;
use crate::token::Token;
use crate::view::{StateKind, View, ViewDetail};

/// How much of a record its reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// State, token and times, not how it ended: a caller without the matching fingerprint or the reader role.
    Outline,
    /// All but outcome and checkpoint: the rows of a listing.
    Summary,
    /// Everything.
    Full,
}

impl Record {
    /// What is shown of this record at `now`.
    #[must_use]
    pub fn view(&self, now: LogTime, access: Access) -> View {
        self.settle(now).map_or_else(View::absent, |settled| settled.view_settled(access))
    }

    /// What is shown of a record through which no deadline has passed.
    fn view_settled(&self, access: Access) -> View {
        let (since, until, marked, class) = match &self.state {
            State::Claimed(claimed) => (claimed.claimed_at, Some(claimed.deadline), claimed.marked, None),
            State::Open(open) => (open.since, Some(self.open_ends_at(open)), open.marked, None),
            State::InDoubt(doubt) => (doubt.since, None, doubt.marked, None),
            State::Completed(completed) => {
                let class = Some(completed.outcome.class);
                (completed.completed_at, Some(completed.expires_at), false, class)
            }
            State::Spent(spent) => (spent.completed_at, Some(spent.forgotten_at), false, spent.class),
        };
        View {
            state: self.state.kind(),
            token: self.token,
            attempt: self.attempt,
            since: Some(since),
            until,
            marked,
            class: class.filter(|_| access != Access::Outline),
            detail: self.detail(access),
        }
    }

    fn detail(&self, access: Access) -> Option<ViewDetail> {
        let (outcome, checkpoint) = match (access, &self.state) {
            (Access::Outline, _) => return None,
            (Access::Summary, _) => (None, Blob::default()),
            (Access::Full, State::Completed(completed)) => (Some(completed.outcome.clone()), Blob::default()),
            (Access::Full, State::Claimed(claimed)) => (None, claimed.checkpoint.clone()),
            (Access::Full, State::Open(open)) => (None, open.checkpoint.clone()),
            (Access::Full, State::InDoubt(doubt)) => (None, doubt.checkpoint.clone()),
            (Access::Full, State::Spent(_)) => (None, Blob::default()),
        };
        Some(ViewDetail {
            outcome,
            checkpoint,
            label: self.label.clone(),
            first_trace: self.first_trace.clone(),
            value: self.value,
            resolution: self.resolution.clone(),
        })
    }
}

impl View {
    /// What is shown where there is no record.
    #[must_use]
    pub fn absent() -> Self {
        Self {
            state: StateKind::Absent,
            token: Token::NONE,
            attempt: 0,
            since: None,
            until: None,
            marked: false,
            class: None,
            detail: None,
        }
    }
}
