//! The verbs that carry a token, as the page tells them.

use super::status::{Status, Why, deadline, progress};
use super::{Answered, Question, What, happens, says};
use hapax_core::command::{Complete, Forget, ForgetMode, Release, Renew, Resolve, Verdict};
use hapax_core::reply::{CompletedReply, Renewed};
use hapax_core::{LogTime, Outcome, Reply, Token};

/// The answers that need no look at the state: a shadow's token, no record, another's token.
fn not_own(token: Token, q: &Question<'_>, absent: Reply, other: Reply) -> Option<Answered> {
    if token == Token::NONE {
        return Some(says(Reply::Ignored));
    }
    if matches!(q.status, Status::Absent) {
        return Some(says(absent));
    }
    let own = q.last.as_ref().is_some_and(|last| last.token == token.as_u64());
    if own { None } else { Some(says(other)) }
}

pub(super) fn renew(renew: &Renew, q: &Question<'_>) -> Answered {
    if let Some(answer) = not_own(renew.token, q, Reply::Fenced, Reply::Fenced) {
        return answer;
    }
    let Status::Running { .. } = q.status else { return says(Reply::Fenced) };
    let what = What::Renewed {
        seq: renew.seq,
        lease_ms: renew.lease_ms,
        checkpoint: renew.checkpoint.clone(),
        mark: renew.mark,
    };
    let mut later = q.history.to_vec();
    later.push(super::Fact { at: q.now, what: what.clone() });
    let (deadline, (_, _, marked)) = (deadline(&later), progress(&later));
    let reply = Renewed { deadline: LogTime(deadline), lease_left_ms: deadline - q.now, marked };
    happens(Reply::Renewed(reply), what)
}

pub(super) fn complete(complete: &Complete, q: &Question<'_>) -> Answered {
    if let Some(answer) = not_own(complete.token, q, Reply::Fenced, Reply::Fenced) {
        return answer;
    }
    let repeated = |kept: Option<&Outcome>| {
        says(if kept == Some(&complete.outcome) { Reply::AlreadyCompleted } else { Reply::Conflict })
    };
    let late = match &q.status {
        Status::Running { .. } => false,
        Status::Doubt { .. } | Status::Open { why: Why::Lapsed, .. } => true,
        Status::Done { outcome, .. } => return repeated(Some(outcome)),
        Status::Gone { outcome, .. } => return repeated(outcome.as_ref()),
        Status::Open { .. } | Status::Absent => return says(Reply::Fenced),
    };
    let expires_at = LogTime(q.now + complete.retention_ms);
    let what = What::Completed { outcome: complete.outcome.clone(), retention_ms: complete.retention_ms };
    happens(Reply::Completed(CompletedReply { late, expires_at }), what)
}

pub(super) fn release(release: &Release, q: &Question<'_>) -> Answered {
    if let Some(answer) = not_own(release.token, q, Reply::Fenced, Reply::Fenced) {
        return answer;
    }
    match &q.status {
        Status::Running { .. } | Status::Doubt { .. } | Status::Open { why: Why::Lapsed, .. } => {
            happens(Reply::Released, What::Released)
        }
        Status::Open { why: Why::Released, .. } => says(Reply::Released),
        _ => says(Reply::Fenced),
    }
}

pub(super) fn resolve(resolve: &Resolve, q: &Question<'_>) -> Answered {
    if let Some(answer) = not_own(resolve.token, q, Reply::NotInDoubt, Reply::Fenced) {
        return answer;
    }
    if matches!(q.status, Status::Doubt { .. }) {
        return happens(Reply::Resolved, What::Resolved(resolve.verdict.clone()));
    }
    let decided = q.history.iter().rev().take_while(|fact| !matches!(fact.what, What::Granted(_)));
    let mut decided = decided.filter_map(|fact| match &fact.what {
        What::Resolved(verdict) => Some(verdict),
        _ => None,
    });
    let same = decided.any(|verdict| match (verdict, &resolve.verdict) {
        (Verdict::Release, Verdict::Release) => true,
        (Verdict::Complete(first), Verdict::Complete(second)) => first.outcome == second.outcome,
        _ => false,
    });
    let running = matches!(q.status, Status::Running { .. });
    says(if same && !running { Reply::Resolved } else { Reply::NotInDoubt })
}

pub(super) fn forget(forget: &Forget, q: &Question<'_>) -> Answered {
    if let Some(answer) = not_own(forget.token, q, Reply::Forgotten, Reply::Changed) {
        return answer;
    }
    if matches!(q.status, Status::Running { .. }) && !forget.force {
        return says(Reply::Changed);
    }
    match (forget.mode, &q.status) {
        (ForgetMode::Reset, _) => happens(Reply::Forgotten, What::Reset),
        (ForgetMode::Erase, Status::Gone { .. }) => says(Reply::Forgotten),
        (ForgetMode::Erase, _) => happens(Reply::Forgotten, What::Erased),
    }
}
