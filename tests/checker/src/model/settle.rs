//! What time alone does.

use super::cell::{Cause, Record, Stage};
use super::{After, Cell, Clock, Instant, Model};
use crate::history::OnLapse;

/// The ways in which a deadline may lie at a moment: the moment and the deadline if it has not
/// passed, and if it has.
pub(super) struct Passing {
    pub(super) ahead: Option<(Instant, Instant)>,
    pub(super) passed: Option<(Instant, Instant)>,
}

pub(super) fn passing(deadline: Instant, now: Instant) -> Passing {
    let ahead = (now.lo < deadline.hi).then(|| {
        let until = Instant { hi: now.hi.min(deadline.hi - 1), ..now };
        (until, Instant { lo: deadline.lo.max(now.lo + 1), ..deadline })
    });
    let passed = (now.hi >= deadline.lo).then(|| {
        let from = Instant { lo: now.lo.max(deadline.lo), ..now };
        (from, Instant { hi: deadline.hi.min(now.hi), ..deadline })
    });
    Passing { ahead, passed }
}

impl<'h, C: Clock> Model<'h, C> {
    /// Adds every state that `cell` may have come to by itself at `now`.
    pub(super) fn settle(&self, cell: Cell<'h>, now: Instant, out: &mut Vec<After<'h>>) {
        let Some(record) = cell.record else { return out.push((cell, now)) };
        match record.stage {
            Stage::Claimed { deadline, .. } => self.settle_claimed(cell, record, deadline, now, out),
            Stage::Open { ends, .. } => self.settle_open(cell, record, ends, now, out),
            Stage::InDoubt { .. } => out.push((cell, now)),
            Stage::Completed { outcome, since, expires } => {
                let passing = passing(expires, now);
                if let Some((now, expires)) = passing.ahead {
                    let stage = Stage::Completed { outcome, since, expires };
                    out.push((cell.with(Record { stage, ..record }), now));
                }
                let Some((now, expires)) = passing.passed else { return };
                if self.policy.memory_ms == 0 {
                    return out.push((cell.without(), now));
                }
                let forgotten = self.clock.after(expires, self.policy.memory_ms);
                let class = Some(outcome.class);
                let stage = Stage::Spent { class, outcome: Some(outcome), since, forgotten };
                self.settle(cell.with(Record { stage, ..record }), now, out);
            }
            Stage::Spent { class, outcome, since, forgotten } => {
                let passing = passing(forgotten, now);
                if let Some((now, forgotten)) = passing.ahead {
                    let stage = Stage::Spent { class, outcome, since, forgotten };
                    out.push((cell.with(Record { stage, ..record }), now));
                }
                if let Some((now, _)) = passing.passed {
                    out.push((cell.without(), now));
                }
            }
        }
    }

    fn settle_claimed(
        &self,
        cell: Cell<'h>,
        record: Record<'h>,
        deadline: Instant,
        now: Instant,
        out: &mut Vec<After<'h>>,
    ) {
        let Stage::Claimed { since, hold_ends, checkpoint, seq, marked, prior_mark, .. } = record.stage
        else {
            return;
        };
        let passing = passing(deadline, now);
        if let Some((now, deadline)) = passing.ahead {
            let stage = Stage::Claimed { since, deadline, hold_ends, checkpoint, seq, marked, prior_mark };
            out.push((cell.with(Record { stage, ..record }), now));
        }
        let Some((now, since)) = passing.passed else { return };
        let in_doubt = match self.policy.on_lapse {
            OnLapse::TakeoverUnlessMarked => marked,
            OnLapse::AlwaysInDoubt => true,
            OnLapse::AlwaysTakeover => false,
        };
        let stage = if in_doubt {
            Stage::InDoubt { since, checkpoint, marked }
        } else {
            self.open(Cause::Lapsed, since, checkpoint, marked)
        };
        self.settle(cell.with(Record { stage, ..record }), now, out);
    }

    fn settle_open(
        &self,
        cell: Cell<'h>,
        record: Record<'h>,
        ends: Instant,
        now: Instant,
        out: &mut Vec<After<'h>>,
    ) {
        let Stage::Open { cause, since, checkpoint, checkpoint_ends, marked, .. } = record.stage else {
            return;
        };
        let passing_end = passing(ends, now);
        if let Some((now, _)) = passing_end.passed {
            out.push((cell.without(), now));
        }
        let Some((now, ends)) = passing_end.ahead else { return };
        let open = |checkpoint, checkpoint_ends| {
            let stage = Stage::Open { cause, since, ends, checkpoint, checkpoint_ends, marked };
            cell.with(Record { stage, ..record })
        };
        if checkpoint.is_none() {
            return out.push((open(None, checkpoint_ends), now));
        }
        let passing_checkpoint = passing(checkpoint_ends, now);
        if let Some((now, checkpoint_ends)) = passing_checkpoint.ahead {
            out.push((open(checkpoint, checkpoint_ends), now));
        }
        if let Some((now, checkpoint_ends)) = passing_checkpoint.passed {
            out.push((open(None, checkpoint_ends), now));
        }
    }

    /// Nobody holds it from `since` on.
    pub(super) fn open(
        &self,
        cause: Cause,
        since: Instant,
        checkpoint: super::cell::Checkpoint<'h>,
        marked: bool,
    ) -> Stage<'h> {
        let abandoned = self.clock.after(since, self.policy.abandoned_ms);
        let ends = if cause == Cause::Lapsed { self.remembered(since) } else { abandoned };
        Stage::Open { cause, since, ends, checkpoint, checkpoint_ends: abandoned, marked }
    }

    /// Until when it is remembered of an attempt that ended then without an outcome that it may have run.
    pub(super) fn remembered(&self, since: Instant) -> Instant {
        self.clock.after(since, self.policy.retention_success_ms.saturating_add(self.policy.memory_ms))
    }
}
