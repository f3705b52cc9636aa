//! The table of claim.

use super::cell::{Cause, Record, Stage, Token};
use super::{After, Cell, Clock, Event, Instant, Model, Ref};
use crate::history::{Claim, Ended, Granted, Mode, Name, Payload, Reply};

impl<'h, C: Clock> Model<'h, C> {
    pub(super) fn claim(
        &self,
        cell: &Cell<'h>,
        claim: &'h Claim,
        event: &Event<'h>,
        now: Instant,
        out: &mut Vec<After<'h>>,
    ) {
        let mode = self.policy.mode;
        let Some(reply) = event.reply else {
            if mode != Mode::Off {
                self.granted_unseen(cell, claim, event, now, out);
            }
            return;
        };
        let shadow = match reply {
            Reply::Granted(granted) if granted.token == 0 => Some(granted),
            _ => None,
        };
        match (mode, shadow) {
            (Mode::Off, Some(granted)) if granted.shadow_of.is_none() => out.push((*cell, now)),
            (Mode::Observe, Some(granted)) => match granted.shadow_of.as_deref() {
                Some(Reply::Error { .. }) => out.push((*cell, now)),
                Some(Reply::Granted(_)) | None => (),
                Some(refusal) => self.claimed(cell, claim, refusal, event, now, out),
            },
            // Under observe only a grant comes as itself.
            (Mode::Observe, None) if matches!(reply, Reply::Granted(_)) => {
                self.claimed(cell, claim, reply, event, now, out);
            }
            (Mode::Enforce, None) => self.claimed(cell, claim, reply, event, now, out),
            _ => (),
        }
    }

    /// The rows of the table, in their order, for a reply that is known.
    fn claimed(
        &self,
        cell: &Cell<'h>,
        claim: &'h Claim,
        reply: &'h Reply,
        event: &Event<'h>,
        now: Instant,
        out: &mut Vec<After<'h>>,
    ) {
        let (may_be_old, may_be_young) = self.age(claim, now);
        if matches!(reply, Reply::TooOld) {
            if may_be_old {
                out.push((*cell, now));
            }
            return;
        }
        if !may_be_young {
            return;
        }
        let Some(record) = cell.record else { return self.granted(cell, claim, reply, event, now, out) };
        if record.claim.fingerprint != claim.fingerprint {
            if self.is_mismatch(&record, claim, reply) {
                out.push((*cell, now));
            }
            return;
        }
        let same_nonce = record.claim.nonce == claim.nonce;
        let next = match (record.stage, reply) {
            (Stage::Claimed { .. }, Reply::Granted(granted)) => {
                let own = same_nonce && record.principal.0 == event.principal;
                if own { self.recovered(cell, &record, granted, event, now) } else { None }
            }
            (Stage::Claimed { deadline, .. }, Reply::InFlight { attempt, lease_left_ms }) => {
                let own = same_nonce && record.principal.0 == event.principal;
                let fits = !own && *attempt == record.attempt;
                let deadline =
                    if fits { self.clock.left(deadline, now, *lease_left_ms, event.exact) } else { None };
                deadline.map(|deadline| cell.with(with_deadline(&record, deadline)))
            }
            (Stage::Open { .. }, Reply::Granted(_)) if !same_nonce => {
                return self.granted(cell, claim, reply, event, now, out);
            }
            (Stage::Open { cause, .. }, Reply::Ended(ended)) => {
                let said = if cause == Cause::Lapsed { Ended::Lapsed } else { Ended::Released };
                (same_nonce && *ended == said).then_some(*cell)
            }
            (Stage::InDoubt { .. }, Reply::InDoubt { .. }) => self.in_doubt(cell, &record, reply),
            (Stage::Completed { .. }, Reply::Replayed(_)) => self.replayed(cell, &record, reply),
            (Stage::Spent { .. }, Reply::Spent { .. }) => self.spent(cell, &record, reply),
            _ => None,
        };
        out.extend(next.map(|cell| (cell, now)));
    }

    fn age(&self, claim: &Claim, now: Instant) -> (bool, bool) {
        let Some(sent_ms) = claim.first_sent_ms else { return (false, true) };
        let span_ms = self.policy.retention_success_ms.saturating_add(self.policy.memory_ms);
        self.clock.reached(now, sent_ms.saturating_add(span_ms))
    }

    fn is_mismatch(&self, record: &Record<'h>, claim: &Claim, reply: &Reply) -> bool {
        let Reply::Mismatch { algorithm, fields } = reply else { return false };
        let id = |claim: &Claim| claim.fingerprint.map(|fingerprint| fingerprint.algorithm);
        let differs = id(&record.claim).unwrap_or_default() != id(claim).unwrap_or_default();
        let kept: &[_] = if matches!(record.stage, Stage::Spent { .. }) { &[] } else { &record.claim.fields };
        let is_named = |name: &&Name| {
            let asked = claim.fields.iter().find(|field| field.name == **name);
            let kept = kept.iter().find(|field| field.name == **name);
            matches!((asked, kept), (Some(asked), Some(kept)) if asked.digest != kept.digest)
        };
        if differs || !self.policy.name_fields {
            return *algorithm == differs && fields.is_empty();
        }
        let expected = claim.fields.iter().map(|field| &field.name).filter(is_named).count();
        !algorithm && fields.len() == expected && fields.iter().all(|name| is_named(&name))
    }

    fn recovered(
        &self,
        cell: &Cell<'h>,
        record: &Record<'h>,
        granted: &Granted,
        event: &Event<'h>,
        now: Instant,
    ) -> Option<Cell<'h>> {
        let cell = cell.bound(granted.token)?;
        let record = Record { token: Token::Known(granted.token), ..*record };
        let Stage::Claimed { deadline, checkpoint, marked, prior_mark, .. } = record.stage else {
            return None;
        };
        let mark_fits = granted.prior_mark == prior_mark || granted.prior_mark == (prior_mark || marked);
        let fits = granted.recovered
            && granted.attempt == record.attempt
            && granted.takeover == (record.attempt > 1)
            && mark_fits
            && same_payload(checkpoint.map(|checkpoint| checkpoint.0), granted.checkpoint.as_ref());
        let deadline = if fits {
            self.clock.left(deadline, now, granted.lease_left_ms, event.exact)?
        } else {
            return None;
        };
        Some(cell.with(with_deadline(&record, deadline)))
    }

    fn granted(
        &self,
        cell: &Cell<'h>,
        claim: &'h Claim,
        reply: &Reply,
        event: &Event<'h>,
        now: Instant,
        out: &mut Vec<After<'h>>,
    ) {
        let Reply::Granted(granted) = reply else { return };
        let record = self.grant(cell, claim, Token::Known(granted.token), event, now);
        let Stage::Claimed { checkpoint, prior_mark, .. } = record.stage else { return };
        let lease_ms = self.lease(claim.lease_ms);
        let fits = event.exact
            && !granted.recovered
            && granted.token > cell.floor
            && granted.attempt == record.attempt
            && granted.lease_ms == lease_ms
            && granted.lease_left_ms == lease_ms
            && granted.takeover == (record.attempt > 1)
            && granted.prior_mark == prior_mark
            && same_payload(checkpoint.map(|checkpoint| checkpoint.0), granted.checkpoint.as_ref());
        if fits {
            out.push((Cell { floor: granted.token, record: Some(record) }, now));
        }
    }

    /// A grant that nobody was told of.
    fn granted_unseen(
        &self,
        cell: &Cell<'h>,
        claim: &'h Claim,
        event: &Event<'h>,
        now: Instant,
        out: &mut Vec<After<'h>>,
    ) {
        let free = match cell.record {
            None => true,
            Some(Record { stage: Stage::Open { .. }, claim: last, .. }) => {
                last.fingerprint == claim.fingerprint && last.nonce != claim.nonce
            }
            Some(_) => false,
        };
        if free && self.age(claim, now).1 {
            let token = Token::Unknown { indexes: event.indexes };
            out.push((cell.with(self.grant(cell, claim, token, event, now)), now));
        }
    }

    fn grant(
        &self,
        cell: &Cell<'h>,
        claim: &'h Claim,
        token: Token,
        event: &Event<'h>,
        now: Instant,
    ) -> Record<'h> {
        let (checkpoint, prior_mark) = match cell.record.map(|record| record.stage) {
            Some(Stage::Open { checkpoint, marked, .. }) => (checkpoint, marked),
            _ => (None, false),
        };
        let stage = Stage::Claimed {
            since: now,
            deadline: self.clock.after(now, self.lease(claim.lease_ms)),
            hold_ends: self.clock.after(now, self.policy.max_hold_ms),
            checkpoint,
            seq: 0,
            marked: false,
            prior_mark,
        };
        Record {
            claim: Ref(claim),
            principal: Ref(event.principal),
            first: cell.record.map_or(Ref(claim), |record| record.first),
            token,
            attempt: cell.record.map_or(1, |record| record.attempt + 1),
            verdict: None,
            stage,
        }
    }

    /// The lease that is given.
    fn lease(&self, asked_ms: Option<u64>) -> u64 {
        self.clamped_lease(asked_ms).min(self.policy.max_hold_ms)
    }

    /// The lease asked for, as policy clamps it.
    pub(super) fn clamped_lease(&self, asked_ms: Option<u64>) -> u64 {
        asked_ms.unwrap_or(self.policy.lease_ms).max(self.policy.lease_min_ms).min(self.policy.lease_max_ms)
    }

    fn in_doubt(&self, cell: &Cell<'h>, record: &Record<'h>, reply: &Reply) -> Option<Cell<'h>> {
        let Reply::InDoubt { token, attempt, since_ms, checkpoint: said } = reply else { return None };
        let Stage::InDoubt { since, checkpoint, marked } = record.stage else { return None };
        let cell = cell.bound(*token)?;
        let fits = *attempt == record.attempt
            && same_payload(checkpoint.map(|checkpoint| checkpoint.0), said.as_ref());
        let since = if fits { self.clock.said(since, *since_ms)? } else { return None };
        let stage = Stage::InDoubt { since, checkpoint, marked };
        Some(cell.with(Record { token: Token::Known(*token), stage, ..*record }))
    }

    fn replayed(&self, cell: &Cell<'h>, record: &Record<'h>, reply: &Reply) -> Option<Cell<'h>> {
        let Reply::Replayed(replayed) = reply else { return None };
        let Stage::Completed { outcome, since, expires } = record.stage else { return None };
        let trace = self.policy.mode != Mode::Off && replayed.first_trace == record.first.trace;
        let fits = *outcome == replayed.outcome && replayed.attempt == record.attempt && trace;
        if !fits {
            return None;
        }
        let since = self.clock.said(since, replayed.completed_at_ms)?;
        let expires = self.clock.said(expires, replayed.expires_at_ms)?;
        Some(cell.with(Record { stage: Stage::Completed { outcome, since, expires }, ..*record }))
    }

    fn spent(&self, cell: &Cell<'h>, record: &Record<'h>, reply: &Reply) -> Option<Cell<'h>> {
        let Reply::Spent { class: said, completed_at_ms } = reply else { return None };
        let Stage::Spent { class, outcome, since, forgotten } = record.stage else { return None };
        let since = if *said == class { self.clock.said(since, *completed_at_ms)? } else { return None };
        Some(cell.with(Record { stage: Stage::Spent { class, outcome, since, forgotten }, ..*record }))
    }
}

/// The record with its deadline known better.
fn with_deadline<'h>(record: &Record<'h>, deadline: Instant) -> Record<'h> {
    let mut next = *record;
    if let Stage::Claimed { deadline: old, .. } = &mut next.stage {
        *old = deadline;
    }
    next
}

/// Whether both are the same bytes; an absent payload is an empty one.
pub(super) fn same_payload(left: Option<&Payload>, right: Option<&Payload>) -> bool {
    let full = |payload: &&Payload| payload.len > 0;
    left.filter(full) == right.filter(full)
}
