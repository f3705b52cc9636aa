//! S6, S7: no byte of a record reaches a caller with another fingerprint or tenant.
//!
//! Results and checkpoints say in their own bytes whose they are.

use super::facts::{Facts, replayed, shown_checkpoint, shown_outcome};
use crate::history::{Call, Fingerprint, Name, Operation, Payload, Reply, Row};
use crate::report::Report;

const FINGERPRINT: &str = "S6 fingerprint isolation";
const TENANT: &str = "S7 tenant isolation";

pub(super) fn scan(facts: &Facts<'_, '_>, report: &mut Report) {
    for operation in &facts.all {
        let result = shown_outcome(operation).map(|outcome| &outcome.result);
        for payload in result.into_iter().chain(shown_checkpoint(operation)) {
            scan_payload(facts, operation, payload, report);
        }
        scan_mismatch(facts, operation, report);
        if let (Call::Get(get), Reply::State(view)) = (&operation.call, &operation.reply) {
            let opened = view.detail.is_some() || view.class.is_some();
            let mine = facts.granted_for.get(&view.token).is_none_or(|kept| *kept == get.fingerprint);
            if opened && !mine && !facts.index.history.header.everyone_reads {
                report.add(facts.violation(FINGERPRINT, &[operation], "a detail shown to another request"));
            }
        }
    }
    for touch in facts.group.touches.iter().filter(|touch| touch.row.is_some()) {
        scan_rows(facts, touch.operation, report);
    }
}

/// The fingerprint for which a payload may be shown; none where everybody may see it.
fn may_see(operation: &Operation, everyone_reads: bool) -> Option<Option<Fingerprint>> {
    match &operation.call {
        Call::Claim(claim) => Some(claim.fingerprint),
        Call::Get(get) if !everyone_reads => Some(get.fingerprint),
        _ => None,
    }
}

fn scan_payload(facts: &Facts<'_, '_>, operation: &Operation, payload: &Payload, report: &mut Report) {
    let Some(owner) = &payload.owner else {
        if payload.len > 0 {
            report.add(facts.violation("S12 damage", &[operation], "bytes that name no owner"));
        }
        return;
    };
    if owner.address != *facts.group.address {
        let rule = if tenant(&owner.address) == tenant(facts.group.address) { "S6 address" } else { TENANT };
        report.add(facts.violation(rule, &[operation], "bytes of another record"));
    }
    let asked = may_see(operation, facts.index.history.header.everyone_reads);
    if asked.is_some_and(|asked| asked.unwrap_or_default() != owner.fingerprint) {
        report.add(facts.violation(FINGERPRINT, &[operation], "bytes made for another request"));
    }
    let granted = facts.granted_for.contains_key(&owner.token);
    if !granted && facts.loose_claims == 0 {
        report.add(facts.violation("S5 fencing", &[operation], "bytes of a holder that was never granted"));
    }
}

/// A mismatch names only fields that the caller named itself, and only under that policy.
fn scan_mismatch(facts: &Facts<'_, '_>, operation: &Operation, report: &mut Report) {
    let (Call::Claim(claim), Reply::Mismatch { fields, .. }) = (&operation.call, &operation.reply) else {
        if let (Call::Claim(claim), Some(_)) = (&operation.call, replayed(operation)) {
            scan_other_request(facts, operation, claim.fingerprint, report);
        }
        return;
    };
    let named = |name: &Name| claim.fields.iter().any(|field| field.name == *name);
    if !fields.iter().all(named) || (!facts.policy.name_fields && !fields.is_empty()) {
        report.add(facts.violation(FINGERPRINT, &[operation], "a field named that the caller did not name"));
    }
}

/// A replay to a request other than any that was granted here.
fn scan_other_request(
    facts: &Facts<'_, '_>,
    operation: &Operation,
    fingerprint: Option<Fingerprint>,
    report: &mut Report,
) {
    let ran = facts.granted_for.values().any(|granted| *granted == fingerprint);
    if !ran && facts.loose_claims == 0 {
        report.add(facts.violation(FINGERPRINT, &[operation], "a replay to a request that never ran"));
    }
}

fn scan_rows(facts: &Facts<'_, '_>, operation: &Operation, report: &mut Report) {
    let (Call::List(list), Reply::Page { rows, .. }) = (&operation.call, &operation.reply) else { return };
    let outside = |row: &&Row| {
        let mut parts = row.address.as_str().split('|');
        parts.next() != Some(list.tenant.as_str())
            || list.operation.as_ref().is_some_and(|wanted| parts.next() != Some(wanted.as_str()))
    };
    if rows.iter().filter(outside).any(|row| row.address == *facts.group.address) {
        report.add(facts.violation(TENANT, &[operation], "a row outside of what was listed"));
    }
}

fn tenant(address: &Name) -> &str {
    address.as_str().split('|').next().unwrap_or_default()
}
