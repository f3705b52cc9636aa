//! What each verb is answered and does, written apart from the reference model: here each answer
//! follows from the state, there each state must explain the answer.

use super::record::{Record, Stage, Why, remembered_ms};
use crate::history::{
    Call, Claim, Class, Complete, Ended, Forget, ForgetMode, Granted, Mode, Outcome, Policy, Renew, Replayed,
    Reply, Resolve, Row, View,
};

/// The answer of a verb and the record that it leaves.
pub(super) type Done = (Reply, Option<Record>);

/// Applies a verb to a record, already brought to `now_ms`. `token` is what a grant gives.
pub(super) fn apply(
    record: Option<Record>,
    call: &Call,
    policy: &Policy,
    now_ms: u64,
    token: u64,
    everyone_reads: bool,
) -> Done {
    match call {
        Call::Claim(claim) => claim_in_mode(record, claim, policy, now_ms, token),
        Call::Get(get) => {
            let view =
                record.as_ref().map_or(View::ABSENT, |record| record.view(get.fingerprint, everyone_reads));
            (Reply::State(Box::new(view)), record)
        }
        Call::List(_) => (Reply::Page { rows: Vec::<Row>::new(), next: None }, record),
        _ => by_token(record, call, policy, now_ms),
    }
}

fn claim_in_mode(record: Option<Record>, claim: &Claim, policy: &Policy, now_ms: u64, token: u64) -> Done {
    let shadow = |of: Option<Reply>| {
        let lease_ms = lease(policy, claim.lease_ms);
        Reply::Granted(Box::new(Granted {
            lease_ms,
            lease_left_ms: lease_ms,
            shadow_of: of.map(Box::new),
            ..Granted::default()
        }))
    };
    if policy.mode == Mode::Off {
        return (shadow(None), record);
    }
    let (reply, after) = claimed(record, claim, policy, now_ms, token);
    if policy.mode == Mode::Observe && !matches!(reply, Reply::Granted(_)) {
        return (shadow(Some(reply)), after);
    }
    (reply, after)
}

fn lease(policy: &Policy, asked_ms: Option<u64>) -> u64 {
    asked_ms.unwrap_or(policy.lease_ms).max(policy.lease_min_ms).min(policy.lease_max_ms)
}

fn claimed(record: Option<Record>, claim: &Claim, policy: &Policy, now_ms: u64, token: u64) -> Done {
    if claim.first_sent_ms.is_some_and(|sent| now_ms >= sent + remembered_ms(policy)) {
        return (Reply::TooOld, record);
    }
    let Some(found) = record else { return grant(None, claim, policy, now_ms, token) };
    if found.claim.fingerprint != claim.fingerprint {
        return (mismatch(&found, claim, policy), Some(found));
    }
    let own = found.claim.nonce == claim.nonce;
    let reply = match &found.stage {
        Stage::Claimed { deadline_ms } if own => Reply::Granted(Box::new(Granted {
            token: found.token,
            attempt: found.attempt,
            lease_ms: lease(policy, claim.lease_ms),
            lease_left_ms: deadline_ms - now_ms,
            checkpoint: found.checkpoint.clone(),
            takeover: found.attempt > 1,
            prior_mark: found.prior_mark,
            recovered: true,
            shadow_of: None,
        })),
        Stage::Claimed { deadline_ms } => {
            Reply::InFlight { attempt: found.attempt, lease_left_ms: deadline_ms - now_ms }
        }
        Stage::Open { why, .. } if own => {
            Reply::Ended(if *why == Why::Lapsed { Ended::Lapsed } else { Ended::Released })
        }
        Stage::Open { .. } => return grant(Some(found), claim, policy, now_ms, token),
        Stage::InDoubt => Reply::InDoubt {
            token: found.token,
            attempt: found.attempt,
            since_ms: found.since_ms,
            checkpoint: found.checkpoint.clone(),
        },
        Stage::Completed { outcome, expires_ms } => Reply::Replayed(Box::new(Replayed {
            outcome: outcome.clone(),
            completed_at_ms: found.since_ms,
            expires_at_ms: *expires_ms,
            attempt: found.attempt,
            first_trace: found.first_trace.clone(),
        })),
        Stage::Spent { class, .. } => Reply::Spent { class: *class, completed_at_ms: found.since_ms },
    };
    (reply, Some(found))
}

fn mismatch(found: &Record, claim: &Claim, policy: &Policy) -> Reply {
    let id = |claim: &Claim| claim.fingerprint.map(|it| it.algorithm).unwrap_or_default();
    let algorithm = id(&found.claim) != id(claim);
    let spent = matches!(found.stage, Stage::Spent { .. });
    let mut fields = Vec::new();
    if policy.name_fields && !algorithm && !spent {
        for asked in &claim.fields {
            let kept = found.claim.fields.iter().find(|kept| kept.name == asked.name);
            if kept.is_some_and(|kept| kept.digest != asked.digest) {
                fields.push(asked.name.clone());
            }
        }
    }
    Reply::Mismatch { algorithm, fields }
}

fn grant(from: Option<Record>, claim: &Claim, policy: &Policy, now_ms: u64, token: u64) -> Done {
    let lease_ms = lease(policy, claim.lease_ms).min(policy.max_hold_ms);
    let (attempt, checkpoint, prior_mark, first_trace) = match from {
        None => (1, None, false, claim.trace.clone()),
        Some(open) => (open.attempt + 1, open.checkpoint, open.marked, open.first_trace),
    };
    let reply = Reply::Granted(Box::new(Granted {
        token,
        attempt,
        lease_ms,
        lease_left_ms: lease_ms,
        checkpoint: checkpoint.clone(),
        takeover: attempt > 1,
        prior_mark,
        recovered: false,
        shadow_of: None,
    }));
    let record = Record {
        claim: Box::new(claim.clone()),
        first_trace,
        token,
        attempt,
        since_ms: now_ms,
        hold_ends_ms: now_ms + policy.max_hold_ms,
        checkpoint,
        seq: 0,
        marked: false,
        prior_mark,
        verdict: None,
        stage: Stage::Claimed { deadline_ms: now_ms + lease_ms },
    };
    (reply, Some(record))
}

fn by_token(record: Option<Record>, call: &Call, policy: &Policy, now_ms: u64) -> Done {
    let (named, absent, other) = match call {
        Call::Renew(renew) => (renew.token, Reply::Fenced, Reply::Fenced),
        Call::Complete(complete) => (complete.token, Reply::Fenced, Reply::Fenced),
        Call::Release(release) => (release.token, Reply::Fenced, Reply::Fenced),
        Call::Resolve(resolve) => (resolve.token, Reply::NotInDoubt, Reply::Fenced),
        Call::Forget(forget) => (forget.token, Reply::Forgotten, Reply::Changed),
        Call::Claim(_) | Call::Get(_) | Call::List(_) => (0, Reply::Ignored, Reply::Ignored),
    };
    if named == 0 {
        return (Reply::Ignored, record);
    }
    let Some(own) = record else { return (absent, None) };
    if own.token != named {
        return (other, Some(own));
    }
    match call {
        Call::Renew(renew) => renewed(own, renew, policy, now_ms),
        Call::Complete(complete) => completed(own, complete, policy, now_ms),
        Call::Release(_) => released(own, policy, now_ms),
        Call::Resolve(resolve) => resolved(own, resolve, policy, now_ms),
        Call::Forget(forget) => forgotten(own, forget, policy, now_ms),
        Call::Claim(_) | Call::Get(_) | Call::List(_) => (Reply::Ignored, Some(own)),
    }
}

fn renewed(mut own: Record, renew: &Renew, policy: &Policy, now_ms: u64) -> Done {
    let Stage::Claimed { deadline_ms } = own.stage else { return (Reply::Fenced, Some(own)) };
    let asked_ms = (now_ms + lease(policy, renew.lease_ms)).min(own.hold_ends_ms);
    let deadline_ms = deadline_ms.max(asked_ms);
    if renew.seq > own.seq {
        own.seq = renew.seq;
        own.marked |= renew.mark;
        if let Some(sent) = &renew.checkpoint {
            own.checkpoint = Some(sent.clone()).filter(|payload| payload.len > 0);
        }
    }
    own.stage = Stage::Claimed { deadline_ms };
    let reply =
        Reply::Renewed { deadline_ms, lease_left_ms: deadline_ms.saturating_sub(now_ms), marked: own.marked };
    (reply, Some(own))
}

fn retention(policy: &Policy, class: Class, asked_ms: Option<u64>) -> u64 {
    let usual_ms = match class {
        Class::Success => policy.retention_success_ms,
        Class::Rejected => policy.retention_rejected_ms,
        Class::Error => policy.retention_error_ms,
    };
    asked_ms.unwrap_or(usual_ms).max(policy.retention_min_ms).min(policy.retention_max_ms)
}

fn completed(mut own: Record, complete: &Complete, policy: &Policy, now_ms: u64) -> Done {
    let late = match &own.stage {
        Stage::Claimed { .. } => false,
        Stage::Open { why: Why::Lapsed, .. } | Stage::InDoubt => true,
        Stage::Open { .. } => return (Reply::Fenced, Some(own)),
        Stage::Completed { outcome, .. } => {
            let same = *outcome == complete.outcome;
            return (if same { Reply::AlreadyCompleted } else { Reply::Conflict }, Some(own));
        }
        Stage::Spent { outcome, .. } => {
            let same = outcome.as_ref() == Some(&complete.outcome);
            return (if same { Reply::AlreadyCompleted } else { Reply::Conflict }, Some(own));
        }
    };
    let expires_ms = now_ms + retention(policy, complete.outcome.class, complete.retention_ms);
    keep(&mut own, &complete.outcome, now_ms, expires_ms);
    (Reply::Completed { late, expires_at_ms: expires_ms }, Some(own))
}

fn keep(own: &mut Record, outcome: &Outcome, now_ms: u64, expires_ms: u64) {
    own.since_ms = now_ms;
    own.stage = Stage::Completed { outcome: outcome.clone(), expires_ms };
}

fn released(mut own: Record, policy: &Policy, now_ms: u64) -> Done {
    match own.stage {
        Stage::Claimed { .. } | Stage::InDoubt | Stage::Open { why: Why::Lapsed, .. } => {
            own.open(policy, Why::Released, now_ms);
            (Reply::Released, Some(own))
        }
        Stage::Open { why: Why::Released, .. } => (Reply::Released, Some(own)),
        _ => (Reply::Fenced, Some(own)),
    }
}

fn resolved(mut own: Record, resolve: &Resolve, policy: &Policy, now_ms: u64) -> Done {
    if !matches!(own.stage, Stage::InDoubt) {
        let same = own.verdict.as_ref() == Some(&resolve.outcome);
        let again = same && !matches!(own.stage, Stage::Claimed { .. });
        return (if again { Reply::Resolved } else { Reply::NotInDoubt }, Some(own));
    }
    match &resolve.outcome {
        None => own.open(policy, Why::Resolved, now_ms),
        Some(outcome) => {
            let expires_ms = now_ms + retention(policy, outcome.class, resolve.retention_ms);
            keep(&mut own, outcome, now_ms, expires_ms);
        }
    }
    own.verdict = Some(resolve.outcome.clone());
    (Reply::Resolved, Some(own))
}

fn forgotten(mut own: Record, forget: &Forget, policy: &Policy, now_ms: u64) -> Done {
    if matches!(own.stage, Stage::Claimed { .. }) && !forget.force {
        return (Reply::Changed, Some(own));
    }
    if forget.mode == ForgetMode::Reset {
        return (Reply::Forgotten, None);
    }
    match own.stage {
        Stage::Spent { .. } => (),
        Stage::Completed { outcome, expires_ms } => {
            let forgotten_ms = expires_ms + policy.memory_ms;
            own.stage = Stage::Spent { class: Some(outcome.class), outcome: Some(outcome), forgotten_ms };
        }
        _ => {
            own.since_ms = now_ms;
            let forgotten_ms = now_ms + remembered_ms(policy);
            own.stage = Stage::Spent { class: None, outcome: None, forgotten_ms };
        }
    }
    (Reply::Forgotten, Some(own))
}
