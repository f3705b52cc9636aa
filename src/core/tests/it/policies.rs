//! Which policy applies, and which tables are refused.

use hapax_core::policy::{DURATION_MAX_MS, FingerprintRule, Mode, OnLapse, PolicyRule, RULES_MAX};
use hapax_core::{Policies, Policy, PolicyTable};

fn rule(tenant: &str, operation: Option<&str>, lease_ms: u64) -> PolicyRule {
    PolicyRule {
        tenant: tenant.to_owned(),
        operation: operation.map(str::to_owned),
        policy: Policy { lease_ms, ..Policy::default() },
    }
}

fn table(rules: Vec<PolicyRule>) -> PolicyTable {
    PolicyTable { default: Policy { lease_ms: 1000, ..Policy::default() }, rules }
}

#[test]
fn the_longest_tenant_prefix_wins_then_the_operation_then_the_default() {
    let policies = Policies::new(&table(vec![
        rule("acme", None, 1001),
        rule("acme", Some("pay"), 1002),
        rule("acme/m1", None, 1003),
        rule("acme/m1/x", Some("pay"), 1004),
        rule("zeta", Some("pay"), 1005),
    ]))
    .unwrap();
    let cases = [
        ("acme", "refund", 1001),
        ("acme", "pay", 1002),
        ("acme/m2", "pay", 1002),
        ("acme/m1", "pay", 1003),
        ("acme/m1", "refund", 1003),
        ("acme/m1/x", "pay", 1004),
        ("acme/m1/x", "refund", 1003),
        ("acme/m1/x/y", "pay", 1004),
        ("acme/m11", "refund", 1001),
        ("acm", "pay", 1000),
        ("acme2", "pay", 1000),
        ("zeta", "pay", 1005),
        ("zeta", "refund", 1000),
    ];
    for (tenant, operation, lease_ms) in cases {
        assert_eq!(policies.resolve(tenant, operation).lease_ms, lease_ms, "{tenant} {operation}");
    }
}

#[test]
fn the_order_of_the_rules_does_not_matter() {
    let rules = vec![rule("a", None, 1001), rule("a/b", None, 1002), rule("a", Some("x"), 1003)];
    let forward = Policies::new(&table(rules.clone())).unwrap();
    let backward = Policies::new(&table(rules.into_iter().rev().collect())).unwrap();
    assert_eq!(forward, backward);
}

#[test]
fn the_defaults_are_those_of_the_protocol() {
    let policy = Policy::default();
    assert_eq!(policy.check(), Ok(()));
    let hour = 3_600_000;
    assert_eq!(
        (policy.lease_ms, policy.lease_min_ms, policy.lease_max_ms, policy.max_hold_ms),
        (30_000, 1000, hour, 24 * hour)
    );
    assert_eq!(
        (policy.retention_success_ms, policy.retention_rejected_ms, policy.retention_error_ms),
        (24 * hour, 24 * hour, 300_000)
    );
    assert_eq!((policy.abandoned_ms, policy.memory_ms), (24 * hour, 7 * 24 * hour));
    assert_eq!((policy.on_lapse, policy.mode), (OnLapse::TakeoverUnlessMarked, Mode::Enforce));
    assert_eq!((policy.fingerprint, policy.name_fields), (FingerprintRule::Required, true));
    assert_eq!((policy.max_result_bytes, policy.max_inflight, policy.max_records), (262_144, None, None));
}

/// A change that breaks a policy, and the field that the refusal must name.
type Breakage = (&'static str, fn(&mut Policy));

#[test]
fn a_policy_whose_numbers_do_not_fit_is_refused_by_the_field() {
    let cases: [Breakage; 19] = [
        ("lease_min_ms", |policy| policy.lease_min_ms = 0),
        ("lease_max_ms", |policy| policy.lease_max_ms = 999),
        ("lease_ms", |policy| policy.lease_ms = 999),
        ("lease_ms", |policy| policy.lease_ms = 3_600_001),
        ("max_hold_ms", |policy| policy.max_hold_ms = 29_999),
        ("max_hold_ms", |policy| policy.max_hold_ms = DURATION_MAX_MS + 1),
        ("lease_max_ms", |policy| policy.lease_max_ms = DURATION_MAX_MS + 1),
        ("retention_min_ms", |policy| policy.retention_min_ms = 0),
        ("retention_max_ms", |policy| policy.retention_max_ms = DURATION_MAX_MS + 1),
        ("abandoned_ms", |policy| policy.abandoned_ms = DURATION_MAX_MS + 1),
        ("memory_ms", |policy| policy.memory_ms = DURATION_MAX_MS + 1),
        ("max_result_bytes", |policy| policy.max_result_bytes = 262_145),
        ("retention_success_ms", |policy| policy.retention_success_ms = 999),
        ("retention_rejected_ms", |policy| policy.retention_rejected_ms = 999),
        ("retention_error_ms", |policy| policy.retention_error_ms = 999),
        ("retention_success_ms", |policy| policy.retention_success_ms = policy.retention_max_ms + 1),
        ("retention_rejected_ms", |policy| policy.retention_rejected_ms = policy.retention_max_ms + 1),
        ("retention_error_ms", |policy| policy.retention_error_ms = policy.retention_max_ms + 1),
        ("retention_success_ms", |policy| policy.retention_min_ms = policy.retention_max_ms),
    ];
    for (i, (field, change)) in cases.into_iter().enumerate() {
        let mut policy = Policy::default();
        change(&mut policy);
        assert_eq!(policy.check().unwrap_err().field, field, "case {i}");
        let of_default = Policies::new(&PolicyTable { default: policy.clone(), rules: vec![] }).unwrap_err();
        assert!(of_default.to_string().starts_with(&format!("default.{field}: ")), "{of_default}");
        let rules = vec![rule("a", None, 1001), PolicyRule { policy, ..rule("b", None, 0) }];
        let of_rule = Policies::new(&table(rules)).unwrap_err();
        assert!(of_rule.to_string().starts_with(&format!("rules[1].{field}: ")), "{of_rule}");
    }
}

#[test]
fn the_edges_of_a_policy_are_allowed() {
    let cases: [fn(&mut Policy); 12] = [
        |policy| policy.lease_min_ms = 1,
        |policy| policy.lease_min_ms = policy.lease_ms,
        |policy| policy.lease_max_ms = policy.lease_ms,
        |policy| {
            (policy.lease_min_ms, policy.lease_ms, policy.lease_max_ms) = (5, 5, 5);
        },
        |policy| policy.max_hold_ms = policy.lease_ms,
        |policy| policy.max_hold_ms = DURATION_MAX_MS,
        |policy| policy.lease_max_ms = DURATION_MAX_MS,
        |policy| (policy.abandoned_ms, policy.memory_ms) = (DURATION_MAX_MS, DURATION_MAX_MS),
        |policy| policy.memory_ms = 0,
        |policy| policy.retention_min_ms = 1,
        |policy| policy.retention_error_ms = policy.retention_min_ms,
        |policy| {
            policy.retention_max_ms = DURATION_MAX_MS;
            policy.retention_success_ms = DURATION_MAX_MS;
        },
    ];
    for change in cases {
        let mut policy = Policy::default();
        change(&mut policy);
        assert_eq!(policy.check(), Ok(()));
    }
}

#[test]
fn a_rule_must_name_a_tenant_an_operation_and_no_pair_twice() {
    let refused = |rules| Policies::new(&table(rules)).unwrap_err().to_string();
    assert!(refused(vec![rule("", None, 1000)]).starts_with("rules[0].tenant: "));
    assert!(refused(vec![rule("acme/", None, 1000)]).starts_with("rules[0].tenant: "));
    assert!(refused(vec![rule("acme", Some("Pay"), 1000)]).starts_with("rules[0].operation: "));
    let twice = vec![rule("acme", None, 1000), rule("acme", Some("pay"), 1000), rule("acme", None, 2000)];
    assert!(refused(twice).starts_with("rules[2].tenant: an earlier rule"));
    let twice = vec![rule("acme", Some("pay"), 1000), rule("acme", Some("pay"), 1000)];
    assert!(refused(twice).starts_with("rules[1].tenant: an earlier rule"));
}

#[test]
fn a_table_is_written_as_toml_with_what_it_does_not_say_left_out() {
    let text = r#"
        [default]
        lease_ms = 5000

        [[rules]]
        tenant = "acme/m1"
        operation = "pay"
        on_lapse = "always_in_doubt"
        mode = "observe"
        fingerprint = "optional"
        max_inflight = 10
    "#;
    let table: PolicyTable = toml::from_str(text).unwrap();
    assert_eq!(table.default, Policy { lease_ms: 5000, ..Policy::default() });
    let rule = &table.rules[0];
    assert_eq!((rule.tenant.as_str(), rule.operation.as_deref()), ("acme/m1", Some("pay")));
    let expected = Policy {
        on_lapse: OnLapse::AlwaysInDoubt,
        mode: Mode::Observe,
        fingerprint: FingerprintRule::Optional,
        max_inflight: Some(10),
        ..Policy::default()
    };
    assert_eq!(rule.policy, expected);
    let again: PolicyTable = toml::from_str(&toml::to_string(&table).unwrap()).unwrap();
    assert_eq!(again, table);
}

#[test]
fn an_unknown_or_missing_field_is_refused_by_its_name() {
    let refused = |text: &str| toml::from_str::<PolicyTable>(text).unwrap_err().to_string();
    assert!(refused("[default]\nlease = 5").contains("`lease`"));
    assert!(refused("[[rules]]\ntenant = \"acme\"\nleese_ms = 5").contains("leese_ms"));
    assert!(refused("[[rules]]\nlease_ms = 5").contains("tenant"));
    assert!(refused("[[rules]]\ntenant = \"acme\"\nmode = \"maybe\"").contains("maybe"));
    assert!(refused("rule = []").contains("`rule`"));
}

#[test]
fn a_table_has_a_bounded_number_of_rules() {
    let mut rules: Vec<_> = (0..RULES_MAX).map(|i| rule(&format!("t{i}"), None, 1000)).collect();
    assert!(Policies::new(&table(rules.clone())).is_ok());
    rules.push(rule("more", None, 1000));
    let error = Policies::new(&table(rules)).unwrap_err();
    assert_eq!((error.rule, error.invalid.field), (Some(RULES_MAX), "tenant"));
}
