//! claim: ask for the right to run.
//!
//! The rows are tried in the order of the protocol's table. All but the grant change nothing.

use crate::bytes::Blob;
use crate::command::Claim;
use crate::error::{ErrorCode, Refusal};
use crate::fingerprint::Fingerprint;
use crate::outcome::Metadata;
use crate::policy::Mode;
use crate::record::{Claimed, Completed, InDoubt, Open, OpenCause, Record, State};
use crate::reply::{Ended, Granted, InDoubtReply, InFlight, Mismatch, Replayed, Reply, SpentReply};
use crate::seeded::{self, Bug};
use crate::time::LogTime;
use crate::token::Token;
use crate::transition::{Scene, Transition};

/// The longest that a caller is told to wait before it asks again, ms: most holders end long
/// before their lease does.
const RETRY_AFTER_MAX_MS: u64 = 1000;

pub(crate) fn apply(claim: &Claim, scene: &Scene<'_>) -> Transition {
    if claim.terms.mode == Mode::Off {
        return Transition::keep(shadow(claim, None));
    }
    match answer(claim, scene) {
        Some(reply @ Reply::Granted(_)) => Transition::keep(reply),
        Some(reply) if claim.terms.mode == Mode::Observe => Transition::keep(shadow(claim, Some(reply))),
        Some(reply) => Transition::keep(reply),
        None => grant(claim, scene),
    }
}

/// The shadow grant for a claim, with what enforce would have said beside it.
pub(crate) fn shadow(claim: &Claim, shadow_of: Option<Reply>) -> Reply {
    Reply::Granted(Granted {
        token: Token::NONE,
        attempt: 0,
        lease_ms: claim.lease_ms,
        lease_left_ms: claim.lease_ms,
        checkpoint: None,
        takeover: false,
        prior_mark: false,
        recovered: false,
        shadow_of: shadow_of.map(Box::new),
    })
}

/// The answer of the first row that matches, or `None` where the claim is to be granted.
fn answer(claim: &Claim, scene: &Scene<'_>) -> Option<Reply> {
    if is_too_old(claim, scene.now()) {
        return Some(Reply::TooOld);
    }
    let record = scene.found?;
    if record.fingerprint != claim.fingerprint && !seeded_prefix(record, claim) {
        return Some(Reply::Mismatch(mismatch(record, claim)));
    }
    match &record.state {
        State::Claimed(_) if seeded::active(Bug::RetryGrantedAnew) && record.nonce == claim.nonce => None,
        State::Claimed(claimed) => {
            let same_nonce = seeded::active(Bug::NonceIgnored) || record.nonce == claim.nonce;
            let own = same_nonce && record.principal == *scene.principal;
            Some(if own { recover(record, claimed, scene) } else { in_flight(record, claimed, scene) })
        }
        State::Open(open) => (record.nonce == claim.nonce).then(|| Reply::Ended(ended(open))),
        State::InDoubt(_) if seeded::active(Bug::InDoubtTakenOver) => None,
        State::InDoubt(doubt) => Some(in_doubt(record, doubt)),
        State::Completed(completed) => Some(replay(record, completed)),
        State::Spent(_) if seeded::active(Bug::MemorySkipped) => None,
        State::Spent(spent) => {
            Some(Reply::Spent(SpentReply { class: spent.class, completed_at: spent.completed_at }))
        }
    }
}

/// [`Bug::FingerprintPrefix`]: whether the halves that it compares are the same.
fn seeded_prefix(record: &Record, claim: &Claim) -> bool {
    let prefix = |fingerprint: &Fingerprint| fingerprint.digest.first_chunk::<16>().copied();
    seeded::active(Bug::FingerprintPrefix) && prefix(&record.fingerprint) == prefix(&claim.fingerprint)
}

/// Whether the request was first sent so long ago that what came of it may be forgotten by now.
fn is_too_old(claim: &Claim, now: LogTime) -> bool {
    claim.first_sent.is_some_and(|sent| {
        sent.after(claim.terms.retention_success_ms).after(claim.terms.memory_ms).has_passed_at(now)
    })
}

/// What may be said of a difference: field names only, and only those that the caller gave and the
/// record has a digest of.
fn mismatch(record: &Record, claim: &Claim) -> Mismatch {
    let algorithm = record.fingerprint.algorithm != claim.fingerprint.algorithm;
    let mut fields = Vec::new();
    if claim.name_fields && !algorithm {
        for asked in claim.fields.as_slice() {
            let kept = record.fields.as_slice().iter().find(|kept| kept.name == asked.name);
            if kept.is_some_and(|kept| kept.digest != asked.digest) {
                fields.push(asked.name.clone());
            }
        }
    }
    Mismatch { algorithm, fields }
}

/// The same grant again, for a caller whose reply was lost.
fn recover(record: &Record, claimed: &Claimed, scene: &Scene<'_>) -> Reply {
    Reply::Granted(Granted {
        token: record.token,
        attempt: record.attempt,
        lease_ms: claimed.lease_ms,
        lease_left_ms: claimed.deadline.left_at(scene.stamp),
        checkpoint: some_checkpoint(&claimed.checkpoint),
        takeover: record.attempt > 1,
        prior_mark: claimed.prior_mark || claimed.marked,
        recovered: true,
        shadow_of: None,
    })
}

fn in_flight(record: &Record, claimed: &Claimed, scene: &Scene<'_>) -> Reply {
    let lease_left_ms = claimed.deadline.left_at(scene.stamp);
    Reply::InFlight(InFlight {
        attempt: record.attempt,
        lease_left_ms,
        retry_after_ms: lease_left_ms.min(RETRY_AFTER_MAX_MS),
    })
}

fn ended(open: &Open) -> Ended {
    match open.cause {
        OpenCause::Released | OpenCause::Resolved => Ended::Released,
        OpenCause::Lapsed => Ended::Lapsed,
    }
}

fn in_doubt(record: &Record, doubt: &InDoubt) -> Reply {
    Reply::InDoubt(InDoubtReply {
        token: record.token,
        attempt: record.attempt,
        since: doubt.since,
        checkpoint: doubt.checkpoint.clone(),
    })
}

fn replay(record: &Record, completed: &Completed) -> Reply {
    Reply::Replayed(Replayed {
        class: completed.outcome.class,
        result: completed.outcome.result.clone(),
        metadata: kept_metadata(completed),
        completed_at: completed.completed_at,
        expires_at: completed.expires_at,
        attempt: record.attempt,
        first_trace: record.first_trace.clone(),
    })
}

fn kept_metadata(completed: &Completed) -> Metadata {
    if seeded::active(Bug::MetadataDropped) {
        Metadata::default()
    } else {
        completed.outcome.metadata.clone()
    }
}

/// Grants the claim: the first of an incarnation, or the next attempt of an open record.
fn grant(claim: &Claim, scene: &Scene<'_>) -> Transition {
    let last = scene.found;
    let token = scene.at.token().filter(|token| last.is_none_or(|record| *token > record.token));
    let Some(token) = token else {
        let text = "this shard can make no further tokens";
        return Transition::keep(Reply::Error(Refusal::definite(ErrorCode::Unavailable, text)));
    };
    let token = last.filter(|_| seeded::active(Bug::TokenReused)).map_or(token, |record| record.token);
    let now = scene.now();
    let lease_ms = claim.lease_ms.min(claim.terms.max_hold_ms);
    let (checkpoint, prior_mark) = match last.map(|record| &record.state) {
        Some(State::Open(open)) => (open.checkpoint.clone(), open.marked),
        _ => (Blob::default(), false),
    };
    let granted = Granted {
        token,
        attempt: last.map_or(1, |record| record.attempt.saturating_add(1)),
        lease_ms,
        lease_left_ms: lease_ms,
        checkpoint: some_checkpoint(&checkpoint),
        takeover: last.is_some(),
        prior_mark,
        recovered: false,
        shadow_of: None,
    };
    let claimed = Claimed {
        claimed_at: now,
        deadline: now.after(lease_ms),
        lease_ms,
        checkpoint,
        renewal_seq: 0,
        marked: false,
        prior_mark,
        trace: claim.trace.clone(),
    };
    let record = Record {
        fingerprint: claim.fingerprint,
        fields: claim.fields.clone(),
        incarnation: last.map_or(token, |record| record.incarnation),
        token,
        nonce: claim.nonce,
        attempt: granted.attempt,
        principal: scene.principal.clone(),
        first_trace: last.map_or_else(|| claim.trace.clone(), |record| record.first_trace.clone()),
        value: claim.value,
        label: claim.label.clone(),
        terms: claim.terms,
        resolution: last.and_then(|record| record.resolution.clone()),
        state: State::Claimed(claimed),
    };
    Transition::put(Reply::Granted(granted), record)
}

fn some_checkpoint(checkpoint: &Blob) -> Option<Blob> {
    (!checkpoint.is_empty()).then(|| checkpoint.clone())
}
