//! claim, as the page tells it.

use super::status::{Status, Why, deadline, last_grant};
use super::{Answered, Grant, Question, What, happens, says};
use hapax_core::command::Claim;
use hapax_core::policy::Mode;
use hapax_core::reply::{Ended, Granted, InDoubtReply, InFlight, Mismatch, Replayed, SpentReply};
use hapax_core::{Blob, LogTime, Reply, Token, Trace};

pub(super) fn claim(claim: &Claim, q: &Question<'_>) -> Answered {
    let shadow = |of: Option<Reply>| {
        Reply::Granted(Granted {
            token: Token::NONE,
            attempt: 0,
            lease_ms: claim.lease_ms,
            lease_left_ms: claim.lease_ms,
            checkpoint: None,
            takeover: false,
            prior_mark: false,
            recovered: false,
            shadow_of: of.map(Box::new),
        })
    };
    if claim.terms.mode == Mode::Off {
        return says(shadow(None));
    }
    let enforced = enforce(claim, q);
    if claim.terms.mode == Mode::Observe && !matches!(enforced.reply, Reply::Granted(_)) {
        return says(shadow(Some(enforced.reply)));
    }
    enforced
}

fn enforce(claim: &Claim, q: &Question<'_>) -> Answered {
    if let Some(LogTime(sent)) = claim.first_sent
        && q.now >= sent + claim.terms.retention_success_ms + claim.terms.memory_ms
    {
        return says(Reply::TooOld);
    }
    let Some(last) = &q.last else { return grant(claim, q, 1, Blob::default(), false) };
    if !matches!(q.status, Status::Absent) && last.fingerprint != claim.fingerprint {
        return says(Reply::Mismatch(mismatch(claim, last, &q.status)));
    }
    match &q.status {
        Status::Absent => grant(claim, q, 1, Blob::default(), false),
        Status::Running { checkpoint, marked, .. } => {
            says(running(claim, last, q, some(checkpoint), last.prior_mark || *marked))
        }
        Status::Open { why, .. } if last.nonce == claim.nonce => {
            says(Reply::Ended(if *why == Why::Lapsed { Ended::Lapsed } else { Ended::Released }))
        }
        Status::Open { checkpoint, marked, .. } => {
            grant(claim, q, last.attempt + 1, checkpoint.clone(), *marked)
        }
        Status::Doubt { since, checkpoint } => says(Reply::InDoubt(InDoubtReply {
            token: Token::from(last.token),
            attempt: last.attempt,
            since: LogTime(*since),
            checkpoint: checkpoint.clone(),
        })),
        Status::Done { outcome, at, expires } => says(Reply::Replayed(Replayed {
            class: outcome.class,
            result: outcome.result.clone(),
            metadata: outcome.metadata.clone(),
            completed_at: LogTime(*at),
            expires_at: LogTime(*expires),
            attempt: last.attempt,
            first_trace: first_trace(q),
        })),
        Status::Gone { outcome, at, .. } => says(Reply::Spent(SpentReply {
            class: outcome.as_ref().map(|outcome| outcome.class),
            completed_at: LogTime(*at),
        })),
    }
}

fn some(checkpoint: &Blob) -> Option<Blob> {
    if checkpoint.is_empty() { None } else { Some(checkpoint.clone()) }
}

/// The trace of the first attempt of what is going on now.
fn first_trace(q: &Question<'_>) -> Option<Trace> {
    q.history.iter().rev().find_map(|fact| match &fact.what {
        What::Granted(grant) if grant.attempt == 1 => Some(grant.trace.clone()),
        _ => None,
    })?
}

fn mismatch(claim: &Claim, last: &Grant, status: &Status) -> Mismatch {
    if last.fingerprint.algorithm != claim.fingerprint.algorithm {
        return Mismatch { algorithm: true, fields: vec![] };
    }
    // With the result the field digests are gone too.
    let known = if matches!(status, Status::Gone { .. }) { &[] } else { last.fields.as_slice() };
    let differs = |name: &str, digest| known.iter().any(|field| field.name == name && field.digest != digest);
    let asked = claim.fields.as_slice().iter().filter(|_| claim.name_fields);
    let fields =
        asked.filter(|field| differs(&field.name, field.digest)).map(|field| field.name.clone()).collect();
    Mismatch { algorithm: false, fields }
}

fn running(
    claim: &Claim,
    last: &Grant,
    q: &Question<'_>,
    checkpoint: Option<Blob>,
    prior_mark: bool,
) -> Reply {
    let left = deadline(q.history) - q.now;
    if last.nonce == claim.nonce && last.principal == q.command.principal {
        return Reply::Granted(Granted {
            token: Token::from(last.token),
            attempt: last.attempt,
            lease_ms: lease_as_last_given(q),
            lease_left_ms: left,
            checkpoint,
            takeover: last.attempt > 1,
            prior_mark,
            recovered: true,
            shadow_of: None,
        });
    }
    let retry_after_ms = if left < 1000 { left } else { 1000 };
    Reply::InFlight(InFlight { attempt: last.attempt, lease_left_ms: left, retry_after_ms })
}

/// From the grant or renewal that last moved the deadline until that deadline.
fn lease_as_last_given(q: &Question<'_>) -> u64 {
    let Some((i, _)) = last_grant(q.history) else { return 0 };
    let end = deadline(q.history);
    let mover = (i..q.history.len()).find(|upto| deadline(&q.history[..=*upto]) == end);
    mover.map_or(0, |mover| end - q.history[mover].at)
}

fn grant(claim: &Claim, q: &Question<'_>, attempt: u32, inherited: Blob, prior_mark: bool) -> Answered {
    let lease_ms =
        if claim.lease_ms > claim.terms.max_hold_ms { claim.terms.max_hold_ms } else { claim.lease_ms };
    let reply = Reply::Granted(Granted {
        token: Token::from(q.next_token),
        attempt,
        lease_ms,
        lease_left_ms: lease_ms,
        checkpoint: some(&inherited),
        takeover: attempt > 1,
        prior_mark,
        recovered: false,
        shadow_of: None,
    });
    let grant = Grant {
        token: q.next_token,
        attempt,
        nonce: claim.nonce,
        principal: q.command.principal.clone(),
        fingerprint: claim.fingerprint,
        fields: claim.fields.clone(),
        lease_ms,
        terms: claim.terms,
        trace: claim.trace.clone(),
        inherited,
        prior_mark,
    };
    happens(reply, What::Granted(grant))
}
