//! The tables of the verbs that name a token.

use super::cell::{Cause, Record, Stage};
use super::claim::same_payload;
use super::{After, Cell, Clock, Event, Instant, Model, Ref};
use crate::history::{Call, Class, Complete, Forget, ForgetMode, Outcome, Renew, Reply, Resolve};

/// What a verb does from one state: the reply it gives, if it is one that says no more than its kind,
/// and the state that it leaves.
enum Effect<'h> {
    /// It is answered so, and changes nothing.
    Keep(Reply),
    /// It is answered so, and leaves this.
    Leave(Reply, Cell<'h>),
    /// It is answered by something that this function has matched already.
    Matched(Option<Cell<'h>>),
}

impl<'h, C: Clock> Model<'h, C> {
    pub(super) fn token_verb(
        &self,
        cell: &Cell<'h>,
        call: &'h Call,
        event: &Event<'h>,
        now: Instant,
        out: &mut Vec<After<'h>>,
    ) {
        let token = match call {
            Call::Renew(renew) => renew.token,
            Call::Complete(complete) => complete.token,
            Call::Release(release) => release.token,
            Call::Resolve(resolve) => resolve.token,
            Call::Forget(forget) => forget.token,
            Call::Claim(_) | Call::Get(_) | Call::List(_) => return,
        };
        if token == 0 {
            return accept(event, Effect::Keep(Reply::Ignored), cell, now, out);
        }
        let absent = match call {
            Call::Resolve(_) => Reply::NotInDoubt,
            Call::Forget(_) => Reply::Forgotten,
            _ => Reply::Fenced,
        };
        if cell.record.is_none() {
            return accept(event, Effect::Keep(absent), cell, now, out);
        }
        let (own, other) = Self::owners(cell, token);
        if let Some(cell) = other {
            let reply = if matches!(call, Call::Forget(_)) { Reply::Changed } else { Reply::Fenced };
            accept(event, Effect::Keep(reply), &cell, now, out);
        }
        if let Some((cell, record)) = own.and_then(|cell| Some((cell, cell.record?))) {
            let effect = match call {
                Call::Renew(renew) => self.renew(&cell, &record, renew, event, now),
                Call::Complete(complete) => self.complete(&cell, &record, complete, event, now),
                Call::Release(_) => self.release(&cell, &record, now),
                Call::Resolve(resolve) => self.resolve(&cell, &record, resolve, now),
                Call::Forget(forget) => self.forget(&cell, &record, forget, now),
                Call::Claim(_) | Call::Get(_) | Call::List(_) => return,
            };
            accept(event, effect, &cell, now, out);
        }
    }

    fn renew(
        &self,
        cell: &Cell<'h>,
        record: &Record<'h>,
        renew: &'h Renew,
        event: &Event<'h>,
        now: Instant,
    ) -> Effect<'h> {
        let Stage::Claimed { since, deadline, hold_ends, checkpoint, seq, marked, prior_mark } = record.stage
        else {
            return Effect::Keep(Reply::Fenced);
        };
        let asked = self.clock.after(now, self.clamped_lease(renew.lease_ms)).min(hold_ends);
        let newer = renew.seq > seq;
        let marked = marked || (newer && renew.mark);
        let checkpoint = match &renew.checkpoint {
            Some(sent) if newer => (sent.len > 0).then_some(Ref(sent)),
            _ => checkpoint,
        };
        let mut moved = deadline.max(asked);
        let before_ms = deadline.said_ms;
        match event.reply {
            None => (),
            Some(Reply::Renewed { deadline_ms, marked: said, .. }) => {
                let forward = before_ms <= *deadline_ms;
                match self.clock.said(moved, *deadline_ms) {
                    Some(known) if *said == marked && forward => moved = known,
                    _ => return Effect::Matched(None),
                }
            }
            Some(_) => return Effect::Matched(None),
        }
        let seq = seq.max(renew.seq);
        let stage = Stage::Claimed { since, deadline: moved, hold_ends, checkpoint, seq, marked, prior_mark };
        Effect::Matched(Some(cell.with(Record { stage, ..*record })))
    }

    fn complete(
        &self,
        cell: &Cell<'h>,
        record: &Record<'h>,
        complete: &'h Complete,
        event: &Event<'h>,
        now: Instant,
    ) -> Effect<'h> {
        let late = match record.stage {
            Stage::Claimed { .. } => false,
            Stage::Open { cause: Cause::Lapsed, .. } | Stage::InDoubt { .. } => true,
            Stage::Open { .. } => return Effect::Keep(Reply::Fenced),
            Stage::Completed { outcome, .. } => return compare(Some(&outcome), &complete.outcome),
            Stage::Spent { outcome, .. } => {
                return compare(outcome.map(|outcome| outcome.0), &complete.outcome);
            }
        };
        let retention_ms = self.retention(complete.outcome.class, complete.retention_ms);
        let mut expires = self.clock.after(now, retention_ms);
        match event.reply {
            None => (),
            Some(Reply::Completed { late: said, expires_at_ms }) if *said == late => {
                match self.clock.said(expires, *expires_at_ms) {
                    Some(known) => expires = known,
                    None => return Effect::Matched(None),
                }
            }
            Some(_) => return Effect::Matched(None),
        }
        let stage = Stage::Completed { outcome: Ref(&complete.outcome), since: now, expires };
        Effect::Matched(Some(cell.with(Record { stage, ..*record })))
    }

    fn release(&self, cell: &Cell<'h>, record: &Record<'h>, now: Instant) -> Effect<'h> {
        let (checkpoint, marked) = match record.stage {
            Stage::Claimed { checkpoint, marked, .. }
            | Stage::InDoubt { checkpoint, marked, .. }
            | Stage::Open { cause: Cause::Lapsed, checkpoint, marked, .. } => (checkpoint, marked),
            Stage::Open { cause: Cause::Released, .. } => return Effect::Keep(Reply::Released),
            _ => return Effect::Keep(Reply::Fenced),
        };
        let stage = self.open(Cause::Released, now, checkpoint, marked);
        Effect::Leave(Reply::Released, cell.with(Record { stage, ..*record }))
    }

    fn resolve(
        &self,
        cell: &Cell<'h>,
        record: &Record<'h>,
        resolve: &'h Resolve,
        now: Instant,
    ) -> Effect<'h> {
        let stage = match (record.stage, &resolve.outcome) {
            (Stage::InDoubt { checkpoint, marked, .. }, None) => {
                self.open(Cause::Resolved, now, checkpoint, marked)
            }
            (Stage::InDoubt { .. }, Some(outcome)) => {
                let retention_ms = self.retention(outcome.class, resolve.retention_ms);
                let expires = self.clock.after(now, retention_ms);
                Stage::Completed { outcome: Ref(outcome), since: now, expires }
            }
            (Stage::Claimed { .. }, _) => return Effect::Keep(Reply::NotInDoubt),
            _ => {
                let same = record
                    .verdict
                    .is_some_and(|verdict| verdict.map(|outcome| outcome.0) == resolve.outcome.as_ref());
                return Effect::Keep(if same { Reply::Resolved } else { Reply::NotInDoubt });
            }
        };
        let verdict = Some(resolve.outcome.as_ref().map(Ref));
        Effect::Leave(Reply::Resolved, cell.with(Record { verdict, stage, ..*record }))
    }

    fn forget(&self, cell: &Cell<'h>, record: &Record<'h>, forget: &Forget, now: Instant) -> Effect<'h> {
        if matches!(record.stage, Stage::Claimed { .. }) && !forget.force {
            return Effect::Keep(Reply::Changed);
        }
        if forget.mode == ForgetMode::Reset {
            return Effect::Leave(Reply::Forgotten, cell.without());
        }
        let stage = match record.stage {
            Stage::Spent { .. } => record.stage,
            Stage::Completed { outcome, since, expires } => {
                let forgotten = if self.policy.memory_ms == 0 {
                    expires
                } else {
                    self.clock.after(expires, self.policy.memory_ms)
                };
                Stage::Spent { class: Some(outcome.class), outcome: Some(outcome), since, forgotten }
            }
            Stage::Claimed { .. } | Stage::Open { .. } | Stage::InDoubt { .. } => {
                Stage::Spent { class: None, outcome: None, since: now, forgotten: self.remembered(now) }
            }
        };
        Effect::Leave(Reply::Forgotten, cell.with(Record { stage, ..*record }))
    }

    fn retention(&self, class: Class, asked_ms: Option<u64>) -> u64 {
        let usual_ms = match class {
            Class::Success => self.policy.retention_success_ms,
            Class::Rejected => self.policy.retention_rejected_ms,
            Class::Error => self.policy.retention_error_ms,
        };
        asked_ms.unwrap_or(usual_ms).max(self.policy.retention_min_ms).min(self.policy.retention_max_ms)
    }
}

fn compare<'h>(kept: Option<&Outcome>, sent: &Outcome) -> Effect<'h> {
    let same = kept.is_some_and(|kept| {
        kept.class == sent.class
            && kept.metadata == sent.metadata
            && same_payload(Some(&kept.result), Some(&sent.result))
    });
    Effect::Keep(if same { Reply::AlreadyCompleted } else { Reply::Conflict })
}

/// Adds what an effect comes to, if it fits what was answered.
fn accept<'h>(
    event: &Event<'h>,
    effect: Effect<'h>,
    cell: &Cell<'h>,
    now: Instant,
    out: &mut Vec<After<'h>>,
) {
    match (effect, event.reply) {
        (Effect::Keep(expected), Some(reply)) if expected == *reply => out.push((*cell, now)),
        (Effect::Leave(expected, next), Some(reply)) if expected == *reply => out.push((next, now)),
        (Effect::Leave(_, next), None) => out.push((next, now)),
        (Effect::Matched(Some(next)), _) => out.push((next, now)),
        _ => (),
    }
}
