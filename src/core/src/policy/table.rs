//! A policy table that was checked, and which of its policies applies to whom.
//!
//! The longest tenant prefix by whole segments wins; at equal length the rule that names the
//! operation; where none matches, the default. A rule replaces the default whole: what it does not
//! say has the built-in value.

use super::{Policy, PolicyRule, PolicyTable, Terms};
use crate::address::{Operation, Tenant};
use crate::error::Invalid;
use crate::limits;
use std::collections::BTreeMap;

/// The longest duration that a policy may give, ms: ten years.
pub const DURATION_MAX_MS: u64 = 3650 * 24 * 3600 * 1000;
/// The most rules in a table.
pub const RULES_MAX: usize = 100_000;

/// Why a policy table is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{field}: {why}", place = Place(*rule), field = invalid.field, why = invalid.why)]
pub struct PolicyError {
    /// The rule at fault, counted from 0; the default policy where absent.
    pub rule: Option<usize>,
    /// Its field, and what is wrong with it.
    pub invalid: Invalid,
}

struct Place(Option<usize>);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("default."),
            Some(rule) => write!(f, "rules[{rule}]."),
        }
    }
}

impl Policy {
    /// Checks that the numbers fit each other.
    ///
    /// # Errors
    /// [`Invalid`] names the first field that does not.
    pub fn check(&self) -> Result<(), Invalid> {
        let rules = [
            ("lease_min_ms", self.lease_min_ms >= 1, "below 1"),
            ("lease_max_ms", self.lease_max_ms >= self.lease_min_ms, "below lease_min_ms"),
            ("lease_ms", self.lease_ms >= self.lease_min_ms, "below lease_min_ms"),
            ("lease_ms", self.lease_ms <= self.lease_max_ms, "above lease_max_ms"),
            ("max_hold_ms", self.max_hold_ms >= self.lease_ms, "below lease_ms"),
            ("max_hold_ms", self.max_hold_ms <= DURATION_MAX_MS, "longer than ten years"),
            ("lease_max_ms", self.lease_max_ms <= DURATION_MAX_MS, "longer than ten years"),
            ("retention_min_ms", self.retention_min_ms >= 1, "below 1"),
            ("retention_max_ms", self.retention_max_ms <= DURATION_MAX_MS, "longer than ten years"),
            ("abandoned_ms", self.abandoned_ms <= DURATION_MAX_MS, "longer than ten years"),
            ("memory_ms", self.memory_ms <= DURATION_MAX_MS, "longer than ten years"),
            ("max_result_bytes", self.max_result_bytes <= limits::RESULT_BYTES as u64, "above 262144"),
        ];
        for (field, holds, why) in rules {
            if !holds {
                return Err(Invalid::new(field, why));
            }
        }
        let retentions = [
            ("retention_success_ms", self.retention_success_ms),
            ("retention_rejected_ms", self.retention_rejected_ms),
            ("retention_error_ms", self.retention_error_ms),
        ];
        for (field, retention_ms) in retentions {
            if retention_ms < self.retention_min_ms {
                return Err(Invalid::new(field, "below retention_min_ms"));
            }
            if retention_ms > self.retention_max_ms {
                return Err(Invalid::new(field, "above retention_max_ms"));
            }
        }
        Ok(())
    }

    /// The values that a grant is given under.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            on_lapse: self.on_lapse,
            mode: self.mode,
            max_hold_ms: self.max_hold_ms,
            abandoned_ms: self.abandoned_ms,
            retention_success_ms: self.retention_success_ms,
            memory_ms: self.memory_ms,
        }
    }
}

/// A checked policy table, indexed for the path of every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    default: Policy,
    tenants: BTreeMap<String, TenantPolicies>,
}

/// The rules of one tenant path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TenantPolicies {
    any_operation: Option<Policy>,
    operations: BTreeMap<String, Policy>,
}

impl Policies {
    /// Checks and indexes a table.
    ///
    /// # Errors
    /// [`PolicyError`] names the first rule and field that break their rules, a rule that comes
    /// twice by its `tenant`, too many rules by the first that is too many.
    pub fn new(table: &PolicyTable) -> Result<Self, PolicyError> {
        table.default.check().map_err(|invalid| PolicyError { rule: None, invalid })?;
        let mut policies = Self { default: table.default.clone(), tenants: BTreeMap::new() };
        for (i, rule) in table.rules.iter().enumerate() {
            policies.add(i, rule).map_err(|invalid| PolicyError { rule: Some(i), invalid })?;
        }
        Ok(policies)
    }

    fn add(&mut self, i: usize, rule: &PolicyRule) -> Result<(), Invalid> {
        if i >= RULES_MAX {
            return Err(Invalid::new("tenant", "more than 100000 rules"));
        }
        Tenant::new(rule.tenant.as_str())?;
        rule.policy.check()?;
        let tenant = self.tenants.entry(rule.tenant.clone()).or_default();
        let earlier = match &rule.operation {
            None => tenant.any_operation.replace(rule.policy.clone()),
            Some(operation) => {
                Operation::new(operation.as_str())?;
                tenant.operations.insert(operation.clone(), rule.policy.clone())
            }
        };
        match earlier {
            None => Ok(()),
            Some(_) => Err(Invalid::new("tenant", "an earlier rule has the same tenant and operation")),
        }
    }

    /// The policy of a tenant's operation.
    #[must_use]
    pub fn resolve(&self, tenant: &str, operation: &str) -> &Policy {
        let mut prefix = Some(tenant);
        while let Some(path) = prefix {
            if let Some(rules) = self.tenants.get(path)
                && let Some(policy) = rules.operations.get(operation).or(rules.any_operation.as_ref())
            {
                return policy;
            }
            prefix = path.rsplit_once('/').map(|(parent, _)| parent);
        }
        &self.default
    }
}
