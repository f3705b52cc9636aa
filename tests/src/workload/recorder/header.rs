//! The policies of a run as its history's header states them.

use crate::workload::policy::{FAMILIES, OPERATIONS, TENANTS, table};
use hapax_checker::history::{self as to, Name, PolicyRow};
use hapax_core::policy::FingerprintRule;
use hapax_core::{Mode, OnLapse, Policies, Policy, PolicyError};

/// One row for each tenant and operation that the load uses; resolved by the product's own table,
/// whose rules `hapax-core` tests by themselves.
///
/// # Errors
/// Never: the table keeps its rules.
pub fn policies(scale: u64) -> Result<Vec<PolicyRow>, PolicyError> {
    let policies = Policies::new(&table(scale))?;
    let mut rows = Vec::new();
    for family in &FAMILIES {
        for tenant in TENANTS {
            for operation in OPERATIONS {
                let tenant = format!("{}/{tenant}", family.name);
                let policy = row(policies.resolve(&tenant, operation));
                rows.push(PolicyRow { tenant: Name::from(tenant), operation: Name::from(operation), policy });
            }
        }
    }
    let default = row(policies.resolve("nobody", "nothing"));
    rows.push(PolicyRow { tenant: Name::from("*"), operation: Name::from("*"), policy: default });
    Ok(rows)
}

fn row(policy: &Policy) -> to::Policy {
    to::Policy {
        lease_ms: policy.lease_ms,
        lease_min_ms: policy.lease_min_ms,
        lease_max_ms: policy.lease_max_ms,
        max_hold_ms: policy.max_hold_ms,
        retention_success_ms: policy.retention_success_ms,
        retention_rejected_ms: policy.retention_rejected_ms,
        retention_error_ms: policy.retention_error_ms,
        retention_min_ms: policy.retention_min_ms,
        retention_max_ms: policy.retention_max_ms,
        abandoned_ms: policy.abandoned_ms,
        memory_ms: policy.memory_ms,
        on_lapse: match policy.on_lapse {
            OnLapse::TakeoverUnlessMarked => to::OnLapse::TakeoverUnlessMarked,
            OnLapse::AlwaysInDoubt => to::OnLapse::AlwaysInDoubt,
            OnLapse::AlwaysTakeover => to::OnLapse::AlwaysTakeover,
        },
        mode: match policy.mode {
            Mode::Enforce => to::Mode::Enforce,
            Mode::Observe => to::Mode::Observe,
            Mode::Off => to::Mode::Off,
        },
        name_fields: policy.name_fields,
        fingerprint_required: policy.fingerprint == FingerprintRule::Required,
        max_result_bytes: policy.max_result_bytes,
        has_quota: policy.max_inflight.is_some() || policy.max_records.is_some(),
    }
}
