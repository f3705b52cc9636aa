//! Each verb is answered by its own replies, and each error code is used as the protocol says.

use crate::history::{Basis, Call, ErrorCode, Operation, Reply};
use crate::index::Index;
use crate::report::Report;
use crate::violation::{Tier, Violation, brief};

pub(super) fn scan(index: &Index<'_>, report: &mut Report) {
    for operation in &index.history.operations {
        let found = wrong_kind(operation)
            .or_else(|| wrong_error(index, operation))
            .or_else(|| wrong_time(operation))
            .or_else(|| wrong_witness(operation));
        if let Some((rule, what)) = found {
            report.add(Violation {
                tier: Tier::Scan,
                rule,
                about: operation.call.address().map_or_else(|| "a listing".to_owned(), ToString::to_string),
                operations: vec![operation.id],
                what: format!("{what}: {}", brief(operation)),
            });
        }
    }
}

type Found = Option<(&'static str, &'static str)>;

fn wrong_kind(operation: &Operation) -> Found {
    let own: &[&str] = match operation.call {
        Call::Claim(_) => {
            &["granted", "in_flight", "mismatch", "ended", "in_doubt", "replayed", "spent", "too_old"]
        }
        Call::Renew(_) => &["renewed", "fenced", "ignored"],
        Call::Complete(_) => &["completed", "already_completed", "conflict", "fenced", "ignored"],
        Call::Release(_) => &["released", "fenced", "ignored"],
        Call::Resolve(_) => &["resolved", "not_in_doubt", "fenced", "ignored"],
        Call::Forget(_) => &["forgotten", "changed", "ignored"],
        Call::Get(_) => &["state"],
        Call::List(_) => &["page"],
    };
    let fits = own.contains(&operation.reply.kind()) || !operation.is_success();
    (!fits).then_some(("kinds", "a reply of another verb"))
}

fn wrong_error(index: &Index<'_>, operation: &Operation) -> Found {
    let Reply::Error { code, definite } = operation.reply else { return None };
    let always_definite =
        !matches!(code, ErrorCode::NotLeader | ErrorCode::Unavailable | ErrorCode::Deadline);
    if always_definite && !definite {
        return Some(("errors", "an error that is always definite is said not to be"));
    }
    match code {
        ErrorCode::TooLate if operation.not_after_ms.is_none() => {
            Some(("errors", "too late for a call that has no end"))
        }
        ErrorCode::TooLate => {
            let time = operation.witness.map(|witness| witness.log_time_ms);
            let early = time.is_some_and(|time| operation.not_after_ms.is_some_and(|end| time <= end));
            early.then_some(("errors", "too late before it was late"))
        }
        ErrorCode::Quota => {
            let limited = operation.call.address().is_some_and(|address| index.policy(address).has_quota);
            let claim = matches!(operation.call, Call::Claim(_));
            (!limited || !claim).then_some(("errors", "over a quota where there is none"))
        }
        ErrorCode::Unauthenticated | ErrorCode::Forbidden if operation.principal.is_empty() => {
            Some(("errors", "refused for its credentials where nobody has any"))
        }
        _ => None,
    }
}

/// Past `not_after` nothing has an effect.
fn wrong_time(operation: &Operation) -> Found {
    let (end, witness) = (operation.not_after_ms?, operation.witness?);
    let reads = matches!(operation.call, Call::Get(_) | Call::List(_));
    let late = operation.is_success() && !reads && witness.log_time_ms > end;
    late.then_some(("S10 too late", "answered past its not_after"))
}

/// What changes a record went through the log, and stale answers come only to those who allow them.
fn wrong_witness(operation: &Operation) -> Found {
    let basis = operation.witness?.basis;
    let changes = match &operation.reply {
        Reply::Completed { .. } => true,
        Reply::Granted(granted) => granted.token != 0 && !granted.recovered,
        _ => false,
    };
    if changes && basis != Basis::Applied {
        return Some(("S11 durable", "a change that did not go through the log"));
    }
    let allowed = matches!(&operation.call, Call::Get(get) if get.stale);
    let completed =
        matches!(&operation.reply, Reply::State(view) if view.state == crate::history::StateKind::Completed);
    (basis == Basis::Stale && !(allowed && completed))
        .then_some(("S9 stale", "a stale answer where none may be"))
}
