//! Claims without an answer that nobody can tell apart.
//!
//! Two are alike if they ask for the same, from the same principal with the same limit of time, and their
//! nonces occur nowhere else on the address: then what the one may bring about, so may the other, and
//! no reply can say which of them it was. Labels and traces count only where some reply shows them.

use super::Loose;
use crate::history::{Call, Claim, Hash16, Reply};
use crate::index::{Group, Touch};
use std::collections::HashMap;

/// Gives each the number of the first that is alike.
pub(super) fn mark(loose: &mut [Loose<'_>], group: &Group<'_>) {
    let mut nonces: HashMap<Hash16, u32> = HashMap::new();
    for touch in &group.touches {
        if let Call::Claim(claim) = &touch.operation.call {
            *nonces.entry(claim.nonce).or_default() += 1;
        }
    }
    let shown = group.touches.iter().any(shows_names);
    for number in 0..loose.len() {
        let (before, rest) = loose.split_at_mut(number);
        let is_alike = |other: &&Loose<'_>| are_alike(other, &rest[0], &nonces, shown);
        rest[0].kind = before.iter().find(is_alike).map_or(number, |first| first.kind);
    }
}

fn are_alike(left: &Loose<'_>, right: &Loose<'_>, nonces: &HashMap<Hash16, u32>, shown: bool) -> bool {
    let (Call::Claim(one), Call::Claim(other)) = (&left.operation.call, &right.operation.call) else {
        return false;
    };
    let only = |claim: &Claim| nonces.get(&claim.nonce) == Some(&1);
    // What the model reads of a claim, but for the nonce.
    let asks = |claim: &Claim| Claim {
        nonce: Hash16::default(),
        wait_ms: 0,
        label: claim.label.clone().filter(|_| shown),
        trace: claim.trace.clone().filter(|_| shown),
        ..claim.clone()
    };
    only(one)
        && only(other)
        && left.operation.principal == right.operation.principal
        && left.operation.not_after_ms == right.operation.not_after_ms
        && asks(one) == asks(other)
}

/// Whether a reply may show the label or the trace of a claim.
fn shows_names(touch: &Touch<'_>) -> bool {
    if let Some(row) = touch.row {
        return row.detail.is_some();
    }
    match &touch.operation.reply {
        Reply::State(view) => view.detail.is_some(),
        Reply::Granted(granted) => granted.shadow_of.is_some(),
        Reply::Replayed(_) => true,
        _ => false,
    }
}
