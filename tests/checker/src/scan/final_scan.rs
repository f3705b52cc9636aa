//! After healing, every acknowledged key is read from every node.
//!
//! That what is read is right is checked by the other scanners and tiers; here, that it was read.

use super::facts::Facts;
use crate::history::{Call, History, Phase, Reply};
use crate::report::Report;
use std::collections::BTreeSet;

/// How far the final scan reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct FinalScan {
    nodes: BTreeSet<Option<u32>>,
    /// Addresses with an acknowledged outcome.
    pub(crate) acknowledged: u64,
    /// Of those, the ones read from every node that took part.
    pub(crate) scanned: u64,
    /// One that was missed.
    pub(crate) missed: Option<String>,
}

impl FinalScan {
    pub(super) fn new(history: &History) -> Self {
        let of_scan = history.operations.iter().filter(|operation| operation.phase == Phase::Final);
        Self { nodes: of_scan.map(|operation| operation.node).collect(), ..Self::default() }
    }

    /// Whether there was one at all.
    pub(crate) fn was_made(&self) -> bool {
        !self.nodes.is_empty()
    }

    pub(super) fn scan(&mut self, facts: &Facts<'_, '_>, _: &mut Report) {
        let acknowledged = |reply: &Reply| matches!(reply, Reply::Completed { .. });
        if !facts.all.iter().any(|operation| acknowledged(&operation.reply)) {
            return;
        }
        self.acknowledged += 1;
        let reads = facts.all.iter().filter(|operation| {
            let reads = matches!(operation.call, Call::Get(_) | Call::Claim(_));
            operation.phase == Phase::Final && reads && operation.is_success()
        });
        let nodes: BTreeSet<Option<u32>> = reads.map(|operation| operation.node).collect();
        if nodes == self.nodes {
            self.scanned += 1;
        } else if self.missed.is_none() {
            self.missed = Some(facts.group.address.to_string());
        }
    }
}
