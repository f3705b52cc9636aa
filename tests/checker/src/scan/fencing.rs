//! S5: a dead token changes nothing, ever; a lapsed one is never renewed.

use super::facts::{
    Facts, accepted_token, fresh, grant, log_time, offered_outcome, shown_checkpoint, shown_outcome,
};
use crate::history::{Call, ForgetMode, Operation, Outcome, Reply};
use crate::report::Report;
use std::collections::{HashMap, HashSet};

const RULE: &str = "S5 fencing";

pub(super) fn scan(facts: &Facts<'_, '_>, report: &mut Report) {
    scan_dead(facts, report);
    scan_unknown(facts, report);
    scan_refused(facts, report);
}

fn scan_dead(facts: &Facts<'_, '_>, report: &mut Report) {
    let mut latest: Option<(&Operation, u64)> = None;
    let mut ended: HashMap<u64, &Operation> = HashMap::new();
    let mut deadlines: HashMap<u64, u64> = HashMap::new();
    let loose_renews: HashSet<u64> =
        facts.all.iter().filter_map(|operation| loose_renew(operation)).collect();
    for operation in &facts.ordered {
        if let Some(granted) = fresh(operation) {
            latest = Some((operation, granted.token));
            deadlines.insert(granted.token, log_time(operation).saturating_add(granted.lease_left_ms));
            continue;
        }
        if let (Call::Forget(forget), Reply::Forgotten) = (&operation.call, &operation.reply)
            && !keeps_resolution(forget.mode, forget.token, &ended, facts)
        {
            ended.insert(forget.token, operation);
        }
        let Some(token) = accepted_token(operation) else { continue };
        let repeats = matches!(operation.reply, Reply::Released | Reply::Resolved);
        if let Some((by, newer)) = latest
            && token < newer
        {
            report.add(facts.violation(RULE, &[by, operation], "a superseded token was accepted"));
        }
        if let Some(by) = ended.get(&token)
            && !(repeats && by.reply == operation.reply)
            && !(operation.reply == Reply::Resolved && facts.loose_verdicts.contains(&token))
        {
            report.add(facts.violation(RULE, &[by, operation], "an ended token was accepted"));
        }
        if let Reply::Renewed { deadline_ms, .. } = operation.reply {
            let known = deadlines.get(&token).copied();
            if known.is_some_and(|deadline| log_time(operation) >= deadline) && !loose_renews.contains(&token)
            {
                report.add(facts.violation(RULE, &[operation], "a lapsed token was renewed"));
            }
            if known.is_some_and(|deadline| deadline_ms < deadline) {
                report.add(facts.violation(RULE, &[operation], "a deadline moved back"));
            }
            deadlines.insert(token, deadline_ms);
        } else {
            ended.insert(token, operation);
        }
    }
}

/// An erased record still knows how it was resolved, and answers whoever resolves it again alike.
fn keeps_resolution(
    mode: ForgetMode,
    token: u64,
    ended: &HashMap<u64, &Operation>,
    facts: &Facts<'_, '_>,
) -> bool {
    let loose = |operation: &&Operation| match &operation.call {
        Call::Resolve(resolve) => resolve.token == token && operation.is_indefinite(),
        _ => false,
    };
    let was_resolved = ended.get(&token).is_some_and(|by| by.reply == Reply::Resolved);
    mode == ForgetMode::Erase && (was_resolved || facts.all.iter().any(loose))
}

fn loose_renew(operation: &Operation) -> Option<u64> {
    match &operation.call {
        Call::Renew(renew) if operation.is_indefinite() => Some(renew.token),
        _ => None,
    }
}

/// A token that was accepted, or is shown, had been granted to somebody.
fn scan_unknown(facts: &Facts<'_, '_>, report: &mut Report) {
    if facts.loose_claims > 0 {
        return;
    }
    let given: HashSet<u64> =
        facts.all.iter().filter_map(|operation| fresh(operation)).map(|granted| granted.token).collect();
    for operation in &facts.all {
        let shown = match &operation.reply {
            Reply::InDoubt { token, .. } => Some(*token),
            Reply::State(view) if view.token != 0 => Some(view.token),
            _ => accepted_token(operation),
        };
        if shown.is_some_and(|token| !facts.granted_for.contains_key(&token)) {
            report.add(facts.violation(RULE, &[operation], "a token that nobody was granted"));
        }
        let again = grant(operation).filter(|granted| granted.recovered);
        if again.is_some_and(|again| !given.contains(&again.token)) {
            report.add(facts.violation(RULE, &[operation], "a token given again that was never given"));
        }
    }
}

/// Whether a call was answered by a refusal that says it changed nothing.
fn refused(operation: &Operation) -> bool {
    matches!(operation.reply, Reply::Fenced | Reply::Conflict | Reply::NotInDoubt | Reply::Ignored)
}

/// What a fenced call offered is never shown, unless somebody else offered the same.
fn scan_refused(facts: &Facts<'_, '_>, report: &mut Report) {
    let calls = || {
        facts.all.iter().filter(|operation| !matches!(operation.reply, Reply::Error { definite: true, .. }))
    };
    let offers = |is_refused: bool| -> HashSet<&Outcome> {
        let fits = calls().filter(|operation| refused(operation) == is_refused);
        fits.filter_map(|operation| offered_outcome(&operation.call)).collect()
    };
    let (good, bad) = (offers(false), offers(true));
    let points = |is_refused: bool| -> HashSet<_> {
        let fits = calls().filter(|operation| refused(operation) == is_refused);
        fits.filter_map(|operation| checkpoint_of(&operation.call)).collect()
    };
    let (good_points, bad_points) = (points(false), points(true));
    for operation in &facts.all {
        if shown_outcome(operation).is_some_and(|outcome| bad.contains(outcome) && !good.contains(outcome)) {
            report.add(facts.violation(RULE, &[operation], "the result of a refused call shows"));
        }
        let point = shown_checkpoint(operation).map(|payload| payload.digest);
        if point.is_some_and(|digest| bad_points.contains(&digest) && !good_points.contains(&digest)) {
            report.add(facts.violation(RULE, &[operation], "the checkpoint of a refused call shows"));
        }
    }
}

pub(super) fn checkpoint_of(call: &Call) -> Option<crate::history::Hash16> {
    match call {
        Call::Renew(renew) => renew.checkpoint.as_ref().map(|payload| payload.digest),
        _ => None,
    }
}
