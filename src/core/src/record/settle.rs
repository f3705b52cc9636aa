//! What a stored record is at a log time.
//!
//! A record is stored as it was when it last changed; deadlines that have passed since then take
//! effect here, in order, however many there are. The result depends on the stored record and τ
//! alone, and settling early and then again gives what settling once gives: so it does not matter
//! whether a replica has reclaimed or shrunk what a deadline ended.

use super::{Claimed, Completed, InDoubt, Open, OpenCause, Record, Spent, State};
use crate::bytes::Blob;
use crate::fingerprint::Fields;
use crate::policy::OnLapse;
use crate::time::LogTime;
use crate::view::StateKind;
use std::borrow::Cow;

/// A record as it is at a log time: borrowed where no deadline has passed, `None` where it is
/// absent by then.
pub type Settled<'a> = Option<Cow<'a, Record>>;

impl Record {
    /// What this record is at `now`.
    #[must_use]
    pub fn settle(&self, now: LogTime) -> Settled<'_> {
        match &self.state {
            State::Claimed(claimed) if claimed.deadline.has_passed_at(now) => {
                let lapsed = self.with_state(self.lapse(claimed));
                let later = match lapsed.settle(now)? {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(later) => Some(later),
                };
                Some(Cow::Owned(later.unwrap_or(lapsed)))
            }
            State::Open(open) if self.open_ends_at(open).has_passed_at(now) => None,
            State::Open(open) if self.checkpoint_ends_at(open).is_some_and(|end| end.has_passed_at(now)) => {
                let open = Open { checkpoint: Blob::default(), ..open.clone() };
                Some(Cow::Owned(self.with_state(State::Open(open))))
            }
            State::Completed(completed) if completed.expires_at.has_passed_at(now) => {
                let spent = self.expire(completed);
                (!spent.forgotten_at.has_passed_at(now)).then(|| Cow::Owned(self.with_spent(spent)))
            }
            State::Spent(spent) if spent.forgotten_at.has_passed_at(now) => None,
            _ => Some(Cow::Borrowed(self)),
        }
    }

    /// The state at `now`.
    #[must_use]
    pub fn kind_at(&self, now: LogTime) -> StateKind {
        self.settle(now).map_or(StateKind::Absent, |settled| settled.state.kind())
    }

    /// The next log time after `now` at which this record changes by itself, if it ever does.
    #[must_use]
    pub fn next_deadline(&self, now: LogTime) -> Option<LogTime> {
        let settled = self.settle(now)?;
        match &settled.state {
            State::Claimed(claimed) => Some(claimed.deadline),
            State::Open(open) => {
                let end = settled.open_ends_at(open);
                Some(settled.checkpoint_ends_at(open).map_or(end, |checkpoint| checkpoint.min(end)))
            }
            State::InDoubt(_) => None,
            State::Completed(completed) => Some(completed.expires_at),
            State::Spent(spent) => Some(spent.forgotten_at),
        }
    }

    /// From when on this record is absent, if it is left alone; `None` where it never is, because
    /// it is in doubt or comes to be.
    #[must_use]
    pub fn absent_at(&self) -> Option<LogTime> {
        match &self.state {
            State::Claimed(claimed) => match self.lapse(claimed) {
                State::Open(open) => Some(self.open_ends_at(&open)),
                _ => None,
            },
            State::Open(open) => Some(self.open_ends_at(open)),
            State::InDoubt(_) => None,
            State::Completed(completed) => Some(self.expire(completed).forgotten_at),
            State::Spent(spent) => Some(spent.forgotten_at),
        }
    }

    /// This record in another state. (Field by field: a clone would copy the old state too.)
    pub(crate) fn with_state(&self, state: State) -> Self {
        Self {
            fingerprint: self.fingerprint,
            fields: self.fields.clone(),
            incarnation: self.incarnation,
            token: self.token,
            nonce: self.nonce,
            attempt: self.attempt,
            principal: self.principal.clone(),
            first_trace: self.first_trace.clone(),
            value: self.value,
            label: self.label.clone(),
            terms: self.terms,
            resolution: self.resolution.clone(),
            state,
        }
    }

    /// This record with nothing left but the memory of it.
    pub(crate) fn with_spent(&self, spent: Spent) -> Self {
        let fields = Fields::default();
        Self { fields, first_trace: None, label: None, ..self.with_state(State::Spent(spent)) }
    }

    /// What the memory holds once a completed record's retention has ended.
    pub(crate) fn expire(&self, completed: &Completed) -> Spent {
        Spent {
            class: Some(completed.outcome.class),
            digest: completed.digest,
            completed_at: completed.completed_at,
            forgotten_at: completed.expires_at.after(self.terms.memory_ms),
        }
    }

    /// How long an attempt that may have run is remembered from `since`.
    pub(crate) fn remembered_until(&self, since: LogTime) -> LogTime {
        since.after(self.terms.retention_success_ms).after(self.terms.memory_ms)
    }

    /// What a claim turns into at its deadline.
    fn lapse(&self, claimed: &Claimed) -> State {
        let in_doubt = match self.terms.on_lapse {
            OnLapse::TakeoverUnlessMarked => claimed.marked,
            OnLapse::AlwaysInDoubt => true,
            OnLapse::AlwaysTakeover => false,
        };
        let (since, checkpoint, marked) = (claimed.deadline, claimed.checkpoint.clone(), claimed.marked);
        if in_doubt {
            State::InDoubt(InDoubt { claimed_at: claimed.claimed_at, since, checkpoint, marked })
        } else {
            State::Open(Open { cause: OpenCause::Lapsed, since, checkpoint, marked })
        }
    }

    /// When an open record is absent: an attempt that lapsed may have run and is remembered for
    /// as long as a success would be; one that was released or resolved did not happen.
    pub(crate) fn open_ends_at(&self, open: &Open) -> LogTime {
        match open.cause {
            OpenCause::Lapsed => self.remembered_until(open.since),
            OpenCause::Released | OpenCause::Resolved => open.since.after(self.terms.abandoned_ms),
        }
    }

    /// When an open record loses the checkpoint that it still has.
    fn checkpoint_ends_at(&self, open: &Open) -> Option<LogTime> {
        (!open.checkpoint.is_empty()).then(|| open.since.after(self.terms.abandoned_ms))
    }
}

impl State {
    /// Which state this is.
    #[must_use]
    pub fn kind(&self) -> StateKind {
        match self {
            Self::Claimed(_) => StateKind::Claimed,
            Self::Open(_) => StateKind::Open,
            Self::InDoubt(_) => StateKind::InDoubt,
            Self::Completed(_) => StateKind::Completed,
            Self::Spent(_) => StateKind::Spent,
        }
    }
}
