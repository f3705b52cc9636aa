//! One record of the generated cluster, and what time does to it.

use crate::history::{Claim, Class, Detail, Fingerprint, OnLapse, Outcome, Payload, Policy, StateKind, View};

/// A record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The last claim that was granted.
    pub(super) claim: Box<Claim>,
    pub(super) first_trace: Option<crate::history::Name>,
    pub(super) token: u64,
    pub(super) attempt: u32,
    pub(super) since_ms: u64,
    pub(super) hold_ends_ms: u64,
    pub(super) checkpoint: Option<Payload>,
    pub(super) seq: u64,
    pub(super) marked: bool,
    pub(super) prior_mark: bool,
    /// The last resolution of this token; the inner is none for a release.
    pub(super) verdict: Option<Option<Outcome>>,
    pub(super) stage: Stage,
}

/// Where it stands.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    Claimed { deadline_ms: u64 },
    Open { why: Why, ends_ms: u64, checkpoint_ends_ms: u64 },
    InDoubt,
    Completed { outcome: Outcome, expires_ms: u64 },
    Spent { class: Option<Class>, outcome: Option<Outcome>, forgotten_ms: u64 },
}

/// Why nobody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Released,
    Lapsed,
    Resolved,
}

/// How long it is remembered of a lapsed or forgotten attempt that it may have run.
pub(super) fn remembered_ms(policy: &Policy) -> u64 {
    policy.retention_success_ms + policy.memory_ms
}

impl Record {
    /// The record as it is at a log time; none when it is absent by then.
    pub(super) fn at(mut self, policy: &Policy, now_ms: u64) -> Option<Self> {
        if let Stage::Claimed { deadline_ms } = self.stage
            && now_ms >= deadline_ms
        {
            self.lapse(policy, deadline_ms);
        }
        if let Stage::Completed { outcome, expires_ms } = &self.stage
            && now_ms >= *expires_ms
        {
            let forgotten_ms = expires_ms + policy.memory_ms;
            self.stage =
                Stage::Spent { class: Some(outcome.class), outcome: Some(outcome.clone()), forgotten_ms };
        }
        match self.stage {
            Stage::Open { ends_ms, .. } if now_ms >= ends_ms => None,
            Stage::Spent { forgotten_ms, .. } if now_ms >= forgotten_ms => None,
            Stage::Open { checkpoint_ends_ms, .. } if now_ms >= checkpoint_ends_ms => {
                self.checkpoint = None;
                Some(self)
            }
            _ => Some(self),
        }
    }

    fn lapse(&mut self, policy: &Policy, deadline_ms: u64) {
        let in_doubt = match policy.on_lapse {
            OnLapse::TakeoverUnlessMarked => self.marked,
            OnLapse::AlwaysInDoubt => true,
            OnLapse::AlwaysTakeover => false,
        };
        if in_doubt {
            self.since_ms = deadline_ms;
            self.stage = Stage::InDoubt;
        } else {
            self.open(policy, Why::Lapsed, deadline_ms);
        }
    }

    /// Nobody holds it from then on.
    pub(super) fn open(&mut self, policy: &Policy, why: Why, since_ms: u64) {
        let checkpoint_ends_ms = since_ms + policy.abandoned_ms;
        let ends_ms = if why == Why::Lapsed { since_ms + remembered_ms(policy) } else { checkpoint_ends_ms };
        self.since_ms = since_ms;
        self.stage = Stage::Open { why, ends_ms, checkpoint_ends_ms };
    }

    /// What get shows of it to a caller with this fingerprint.
    pub(super) fn view(&self, fingerprint: Option<Fingerprint>, everyone_reads: bool) -> View {
        let may_read = everyone_reads || fingerprint.is_some() && fingerprint == self.claim.fingerprint;
        let spent = matches!(self.stage, Stage::Spent { .. });
        let (state, until_ms, class, outcome) = match &self.stage {
            Stage::Claimed { deadline_ms } => (StateKind::Claimed, Some(*deadline_ms), None, None),
            Stage::Open { ends_ms, .. } => (StateKind::Open, Some(*ends_ms), None, None),
            Stage::InDoubt => (StateKind::InDoubt, None, None, None),
            Stage::Completed { outcome, expires_ms } => {
                (StateKind::Completed, Some(*expires_ms), Some(outcome.class), Some(outcome.clone()))
            }
            Stage::Spent { class, forgotten_ms, .. } => (StateKind::Spent, Some(*forgotten_ms), *class, None),
        };
        let ended = matches!(state, StateKind::Completed | StateKind::Spent);
        let detail = Detail {
            outcome,
            checkpoint: self.checkpoint.clone().filter(|_| !ended),
            label: self.claim.label.clone().filter(|_| !spent),
            first_trace: self.first_trace.clone().filter(|_| !spent),
        };
        View {
            state,
            token: self.token,
            attempt: self.attempt,
            since_ms: Some(self.since_ms),
            until_ms,
            marked: self.marked && !ended,
            class: class.filter(|_| may_read),
            detail: may_read.then(|| Box::new(detail)),
        }
    }
}
