//! What a check has found so far; bounded, so that a hopeless history does not fill the memory.

use crate::violation::{Tier, Violation};
use std::collections::BTreeMap;

/// So many violations of one rule are kept; the rest are counted.
const KEPT_MAX: usize = 20;

/// The findings of all tiers.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    pub(crate) counts: BTreeMap<(Tier, &'static str), u64>,
    pub(crate) unknown: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, violation: Violation) {
        let count = self.counts.entry((violation.tier, violation.rule)).or_default();
        *count += 1;
        if *count <= KEPT_MAX as u64 {
            self.violations.push(violation);
        }
    }

    /// Something was too much to decide.
    pub(crate) fn unknown(&mut self, tier: Tier, about: &str, bound: usize) {
        self.unknown.push(format!("{}: {about}: more than {bound} possible states", tier.name()));
    }
}
