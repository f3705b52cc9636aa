//! Where an address stands, worked out from its whole history.

use super::{Fact, Grant, What};
use hapax_core::command::Verdict;
use hapax_core::policy::OnLapse;
use hapax_core::{Blob, Outcome};

#[derive(Clone, Debug)]
pub(super) enum Status {
    Absent,
    Running { since: u64, deadline: u64, checkpoint: Blob, marked: bool },
    Open { why: Why, since: u64, until: u64, checkpoint: Blob, marked: bool },
    Doubt { since: u64, checkpoint: Blob },
    Done { outcome: Outcome, at: u64, expires: u64 },
    Gone { outcome: Option<Outcome>, at: u64, until: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Released,
    Lapsed,
    Resolved,
}

/// The last grant and where in the history it is.
pub(super) fn last_grant(history: &[Fact]) -> Option<(usize, &Grant)> {
    history.iter().enumerate().rev().find_map(|(i, fact)| match &fact.what {
        What::Granted(grant) => Some((i, grant)),
        _ => None,
    })
}

/// All renewals of the last grant, in order: when, and what they asked.
pub(super) fn deadline(history: &[Fact]) -> u64 {
    let Some((i, grant)) = last_grant(history) else { return 0 };
    let granted_at = history[i].at;
    let latest = granted_at.saturating_add(grant.terms.max_hold_ms);
    let renewals = history[i + 1..].iter().filter_map(|fact| match fact.what {
        What::Renewed { lease_ms, .. } => Some(fact.at.saturating_add(lease_ms)),
        _ => None,
    });
    let asked = renewals.chain([granted_at.saturating_add(grant.lease_ms)]);
    asked.map(|end| end.min(latest)).max().unwrap_or(0)
}

/// The highest sequence number, the recovery point and the mark that the last grant's renewals led
/// to: each counts only if its number is above all before it.
pub(super) fn progress(history: &[Fact]) -> (u64, Blob, bool) {
    let Some((i, grant)) = last_grant(history) else { return (0, Blob::default(), false) };
    let (mut highest, mut point, mut marked) = (0, grant.inherited.clone(), false);
    for fact in &history[i + 1..] {
        if let What::Renewed { seq, checkpoint, mark, .. } = &fact.what
            && *seq > highest
        {
            highest = *seq;
            marked = marked || *mark;
            point = checkpoint.clone().unwrap_or(point);
        }
    }
    (highest, point, marked)
}

pub(super) fn status(history: &[Fact], now: u64) -> Status {
    let Some((i, grant)) = last_grant(history) else { return Status::Absent };
    let remembered = grant.terms.retention_success_ms + grant.terms.memory_ms;
    let end = history[i + 1..].iter().rposition(|fact| !matches!(fact.what, What::Renewed { .. }));
    let Some(end) = end.map(|end| end + i + 1) else { return never_ended(history, now) };
    let fact = &history[end];
    let found = match &fact.what {
        What::Reset | What::Granted(_) | What::Renewed { .. } => Status::Absent,
        What::Completed { outcome, retention_ms } => done(outcome, fact.at, *retention_ms),
        What::Resolved(Verdict::Complete(verdict)) => done(&verdict.outcome, fact.at, verdict.retention_ms),
        What::Released => open_again(&history[..end], Why::Released, fact.at),
        What::Resolved(Verdict::Release) => open_again(&history[..end], Why::Resolved, fact.at),
        What::Erased => match status(&history[..end], fact.at) {
            Status::Done { outcome, at, expires } => {
                Status::Gone { outcome: Some(outcome), at, until: expires + grant.terms.memory_ms }
            }
            _ => Status::Gone { outcome: None, at: fact.at, until: fact.at + remembered },
        },
    };
    match found {
        Status::Done { outcome, at, expires } if now >= expires => {
            until(Status::Gone { outcome: Some(outcome), at, until: expires + grant.terms.memory_ms }, now)
        }
        other => until(other, now),
    }
}

fn until(status: Status, now: u64) -> Status {
    match status {
        Status::Open { until, .. } | Status::Gone { until, .. } if now >= until => Status::Absent,
        other => other,
    }
}

fn done(outcome: &Outcome, at: u64, retention_ms: u64) -> Status {
    Status::Done { outcome: outcome.clone(), at, expires: at.saturating_add(retention_ms) }
}

/// Released or resolved at `since`: the recovery point is what was left of it then.
fn open_again(before: &[Fact], why: Why, since: u64) -> Status {
    let checkpoint = match status(before, since) {
        Status::Running { checkpoint, .. }
        | Status::Open { checkpoint, .. }
        | Status::Doubt { checkpoint, .. } => checkpoint,
        _ => Blob::default(),
    };
    let abandoned = last_grant(before).map_or(0, |(_, grant)| grant.terms.abandoned_ms);
    Status::Open {
        why,
        since,
        until: since.saturating_add(abandoned),
        checkpoint,
        marked: progress(before).2,
    }
}

/// Only granted and renewed so far.
fn never_ended(history: &[Fact], now: u64) -> Status {
    let Some((i, grant)) = last_grant(history) else { return Status::Absent };
    let (deadline, (_, checkpoint, marked)) = (deadline(history), progress(history));
    if now < deadline {
        return Status::Running { since: history[i].at, deadline, checkpoint, marked };
    }
    let doubtful = match grant.terms.on_lapse {
        OnLapse::AlwaysInDoubt => true,
        OnLapse::AlwaysTakeover => false,
        OnLapse::TakeoverUnlessMarked => marked,
    };
    if doubtful {
        return Status::Doubt { since: deadline, checkpoint };
    }
    let dropped = now >= deadline.saturating_add(grant.terms.abandoned_ms);
    let checkpoint = if dropped { Blob::default() } else { checkpoint };
    let ends = deadline.saturating_add(grant.terms.retention_success_ms + grant.terms.memory_ms);
    until(Status::Open { why: Why::Lapsed, since: deadline, until: ends, checkpoint, marked }, now)
}
