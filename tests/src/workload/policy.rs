//! The policies that the load wants: short enough that every state and deadline comes by within a
//! run, one tenant of everything that a policy may say, and some that keep what they are told.

use hapax_core::policy::{FingerprintRule, PolicyRule};
use hapax_core::{Mode, OnLapse, Policy, PolicyTable};

/// A family of tenants under one policy.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The leading segment of its tenants.
    pub name: &'static str,
    /// How much of the load is on it.
    pub weight: u64,
    /// What its policy says.
    pub policy: fn(u64) -> Policy,
}

/// Every family.
pub const FAMILIES: [Family; 10] = [
    Family { name: "brief", weight: 30, policy: brief },
    Family { name: "kept", weight: 25, policy: kept },
    Family { name: "takeover", weight: 8, policy: takeover },
    Family { name: "doubt", weight: 8, policy: doubt },
    Family { name: "forgetful", weight: 8, policy: forgetful },
    Family { name: "unnamed", weight: 6, policy: unnamed },
    Family { name: "observed", weight: 6, policy: observed },
    Family { name: "off", weight: 2, policy: off },
    Family { name: "narrow", weight: 4, policy: narrow },
    Family { name: "held", weight: 3, policy: held },
];

/// Tenants of each family: whoever sees another's bytes has found a leak.
pub const TENANTS: [&str; 2] = ["a", "b"];
/// Operations of each tenant.
pub const OPERATIONS: [&str; 2] = ["pay", "ship"];
/// The largest result under the policy of `narrow`.
pub const NARROW_RESULT_BYTES: u64 = 512;

/// The table for a run whose deadlines are `scale` times the shortest ones: 1 where leases of a
/// fifth of a second make sense, more where faults last for many seconds.
#[must_use]
pub fn table(scale: u64) -> PolicyTable {
    let scale = scale.max(1);
    let rule = |family: &Family| PolicyRule {
        tenant: family.name.to_owned(),
        operation: None,
        policy: (family.policy)(scale),
    };
    let longer = PolicyRule {
        // The rule of a longer tenant path and of one operation of it wins.
        tenant: "brief/b".to_owned(),
        operation: Some("ship".to_owned()),
        policy: Policy { retention_success_ms: 900 * scale, ..brief(scale) },
    };
    PolicyTable { default: kept(scale), rules: FAMILIES.iter().map(rule).chain([longer]).collect() }
}

/// The table as a node's configuration, TOML.
///
/// # Errors
/// Never: a table of policies is a table of TOML.
pub fn toml(scale: u64) -> Result<String, toml::ser::Error> {
    let policies = toml::Table::try_from(table(scale))?;
    toml::to_string(&toml::Table::from_iter([("policies".to_owned(), policies.into())]))
}

/// Everything is over within seconds: lapse, retention, memory.
fn brief(scale: u64) -> Policy {
    Policy {
        lease_ms: 400 * scale,
        lease_min_ms: 50,
        lease_max_ms: 4000 * scale,
        max_hold_ms: 8000 * scale,
        retention_success_ms: 1500 * scale,
        retention_rejected_ms: 1000 * scale,
        retention_error_ms: 300 * scale,
        retention_min_ms: 100,
        retention_max_ms: 3000 * scale,
        abandoned_ms: 800 * scale,
        memory_ms: 1500 * scale,
        ..Policy::default()
    }
}

/// What was acknowledged outlives the run; leases do not.
fn kept(scale: u64) -> Policy {
    Policy {
        lease_ms: 600 * scale,
        lease_min_ms: 50,
        retention_error_ms: 24 * 3600 * 1000,
        retention_min_ms: 3600 * 1000,
        ..Policy::default()
    }
}

fn takeover(scale: u64) -> Policy {
    Policy { on_lapse: OnLapse::AlwaysTakeover, ..brief(scale) }
}

fn doubt(scale: u64) -> Policy {
    Policy { on_lapse: OnLapse::AlwaysInDoubt, ..brief(scale) }
}

/// Remembers nothing once retention is over, and hardly keeps what was abandoned.
fn forgetful(scale: u64) -> Policy {
    Policy { memory_ms: 0, abandoned_ms: 200 * scale, ..brief(scale) }
}

fn unnamed(scale: u64) -> Policy {
    Policy { fingerprint: FingerprintRule::Optional, name_fields: false, ..brief(scale) }
}

fn observed(scale: u64) -> Policy {
    Policy { mode: Mode::Observe, ..brief(scale) }
}

fn off(scale: u64) -> Policy {
    Policy { mode: Mode::Off, ..brief(scale) }
}

fn narrow(scale: u64) -> Policy {
    Policy {
        max_result_bytes: NARROW_RESULT_BYTES,
        max_inflight: Some(8),
        max_records: Some(64),
        ..brief(scale)
    }
}

/// Renewals end at the longest hold.
fn held(scale: u64) -> Policy {
    Policy { max_hold_ms: 900 * scale, lease_max_ms: 800 * scale, ..brief(scale) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hapax_core::Policies;

    #[test]
    fn the_table_keeps_its_own_rules_and_reads_back_from_a_configuration() {
        for scale in [1, 10] {
            let wanted = table(scale);
            let policies = Policies::new(&wanted).expect("it keeps the rules");
            assert_eq!(policies.resolve("brief/b", "ship").retention_success_ms, 900 * scale);
            assert_eq!(policies.resolve("observed/a", "pay").mode, Mode::Observe);
            let text = toml(scale).expect("it is TOML");
            let read: toml::Table = text.parse().expect("it is TOML");
            let read: PolicyTable = read["policies"].clone().try_into().expect("it is a table of policies");
            assert_eq!(read, wanted);
        }
    }
}
