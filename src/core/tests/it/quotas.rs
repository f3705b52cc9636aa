//! The ledger of quotas: what counts, until when, and what is refused.

use crate::stages::{Stage, stage};
use crate::world::*;
use hapax_core::command::{Command, Verb};
use hapax_core::policy::Mode;
use hapax_core::quota::{Usage, refuse_claim, share};
use hapax_core::{
    Address, ErrorCode, LogTime, Operation, QuotaLedger, QuotaLimits, Refusal, Reply, Tenant, Token,
};
use proptest::prelude::*;

fn usage_of(ledger: &QuotaLedger, tenant: &str, operation: &str) -> (u64, u64) {
    let Usage { inflight, records } =
        ledger.usage(&Tenant::new(tenant).unwrap(), &Operation::new(operation).unwrap());
    (inflight, records)
}

fn usage(ledger: &QuotaLedger) -> (u64, u64) {
    usage_of(ledger, "acme/m1", "pay")
}

/// Runs commands with a ledger beside them.
fn follow(world: &mut World, ledger: &mut QuotaLedger, time: u64, command: &Command) -> Reply {
    world.batch(time, vec![command.clone()], |step| ledger.apply(&step)).remove(0)
}

fn at(key: &str, command: Command) -> Command {
    Command { address: address_of("acme/m1", "pay", key), ..command }
}

#[test]
fn a_claim_counts_as_running_until_it_ends_and_as_a_record_until_it_is_absent() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    let granted_reply = follow(&mut world, &mut ledger, 1000, &claim(1));
    assert_eq!(usage(&ledger), (1, 1));
    let token = granted(&granted_reply).token;
    follow(&mut world, &mut ledger, 1010, &claim(2));
    follow(&mut world, &mut ledger, 1020, &renew(token, 1));
    assert_eq!(usage(&ledger), (1, 1));
    follow(&mut world, &mut ledger, 1030, &complete(token));
    assert_eq!(usage(&ledger), (0, 1));
    // Spent still counts, absent does not: no later than one slot after its end.
    ledger.advance(LogTime(1030 + RETENTION + MEMORY - 1));
    assert_eq!(usage(&ledger), (0, 1));
    ledger.advance(LogTime(1030 + RETENTION + MEMORY + 600_000));
    assert_eq!(usage(&ledger), (0, 0));
}

#[test]
fn a_lapse_ends_running_by_itself_within_one_slot() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    follow(&mut world, &mut ledger, 1000, &claim(1));
    ledger.advance(LogTime(1099));
    assert_eq!(usage(&ledger), (1, 1));
    ledger.advance(LogTime(2000));
    assert_eq!(usage(&ledger), (0, 1));
    // Its late complete must not be counted out a second time.
    let token = world.record().unwrap().token;
    follow(&mut world, &mut ledger, 2100, &complete(token));
    assert_eq!(usage(&ledger), (0, 1));
}

#[test]
fn in_doubt_counts_for_ever() {
    let staged = stage(Stage::InDoubt);
    let mut ledger = QuotaLedger::new();
    ledger.add(&address(), staged.world.record().unwrap());
    ledger.advance(LogTime(u64::MAX));
    assert_eq!(usage(&ledger), (0, 1));
}

#[test]
fn each_operation_of_each_tenant_has_its_own_count() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    for (tenant, operation) in [("acme", "pay"), ("acme/m1", "refund"), ("zeta", "pay")] {
        let elsewhere = Command { address: address_of(tenant, operation, "k"), ..claim(1) };
        follow(&mut world, &mut ledger, 1000, &elsewhere);
        assert_eq!(usage_of(&ledger, tenant, operation), (1, 1));
    }
    assert_eq!(usage(&ledger), (0, 0));
}

#[test]
fn a_reset_counts_out_everything() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    let reply = follow(&mut world, &mut ledger, 1000, &claim(1));
    let reset = forget(granted(&reply).token, hapax_core::command::ForgetMode::Reset, true);
    follow(&mut world, &mut ledger, 1010, &reset);
    assert_eq!(usage(&ledger), (0, 0));
}

fn check(ledger: &QuotaLedger, world: &World, key: &str, limits: QuotaLimits) -> Result<(), Refusal> {
    let address = address_of("acme/m1", "pay", key);
    let found = world.records.0.get(&address).map(|record| &**record);
    ledger.check(&address, found, limits, 1)
}

#[test]
fn a_full_quota_refuses_what_would_go_over_it_and_nothing_else() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    let inflight = QuotaLimits { max_inflight: Some(2), max_records: None };
    let records = QuotaLimits { max_inflight: None, max_records: Some(2) };
    let a = granted(&follow(&mut world, &mut ledger, 1000, &at("a", claim(1)))).token;
    assert_eq!(check(&ledger, &world, "new", inflight), Ok(()));
    assert_eq!(check(&ledger, &world, "new", records), Ok(()));
    follow(&mut world, &mut ledger, 1000, &at("b", claim(1)));
    for limits in [inflight, records] {
        let refusal = check(&ledger, &world, "new", limits).unwrap_err();
        assert_eq!((refusal.code, refusal.definite), (ErrorCode::Quota, true));
        assert_eq!(check(&ledger, &world, "a", limits), Ok(()), "a running claim starts nothing");
    }
    assert_eq!(check(&ledger, &world, "new", QuotaLimits::default()), Ok(()));
    // Once one is released, its key may be taken over, but no third record made.
    follow(&mut world, &mut ledger, 1010, &at("a", release(a)));
    assert_eq!(check(&ledger, &world, "new", inflight), Ok(()));
    assert!(check(&ledger, &world, "new", records).is_err());
    assert_eq!(check(&ledger, &world, "a", records), Ok(()));
    follow(&mut world, &mut ledger, 1020, &at("c", claim(1)));
    assert!(check(&ledger, &world, "a", inflight).is_err(), "a takeover starts a run");
}

#[test]
fn an_ended_record_makes_room_even_before_anybody_looked_at_it() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    let limits = QuotaLimits { max_inflight: Some(1), max_records: Some(1) };
    follow(&mut world, &mut ledger, 1000, &at("a", claim(1)));
    assert!(check(&ledger, &world, "a2", limits).is_err());
    ledger.advance(LogTime(10_000_000));
    assert_eq!(check(&ledger, &world, "a2", limits), Ok(()));
    assert_eq!(check(&ledger, &world, "a", limits), Ok(()));
}

#[test]
fn each_shard_keeps_its_share_rounded_up() {
    assert_eq!(
        [(10, 4), (8, 4), (1, 16), (0, 16), (5, 0)].map(|(max, shards)| share(max, shards)),
        [3, 2, 1, 0, 5]
    );
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    follow(&mut world, &mut ledger, 1000, &at("a", claim(1)));
    let limits = QuotaLimits { max_inflight: Some(5), max_records: None };
    let check = |shards| ledger.check(&address(), None, limits, shards);
    assert!(check(4).is_ok());
    assert!(check(5).is_err());
}

#[test]
fn a_refused_claim_is_a_shadow_where_the_mode_says_so() {
    let refusal = || Refusal::definite(ErrorCode::Quota, "max_inflight is reached");
    let answer = |mode| {
        let Verb::Claim(claim) = claim_with(1, |claim| claim.terms.mode = mode).verb else { panic!() };
        refuse_claim(&claim, refusal())
    };
    assert_eq!(answer(Mode::Enforce), Reply::Error(refusal()));
    let observed = answer(Mode::Observe);
    assert_eq!(granted(&observed).shadow_of.as_deref(), Some(&Reply::Error(refusal())));
    assert_eq!(granted(&observed).token, Token::NONE);
    assert_eq!(granted(&answer(Mode::Off)).shadow_of, None);
}

#[test]
fn the_sweep_forgets_scopes_that_ended_on_their_own() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    for i in 0..600 {
        let elsewhere = Command { address: address_of(&format!("t{i}"), "pay", "k"), ..claim(1) };
        follow(&mut world, &mut ledger, 1000, &elsewhere);
    }
    assert_eq!(ledger.scopes(), 600);
    let end = 1_000_000_000;
    // Each step of a slot sweeps a part of them; a few rounds sweep them all.
    for step in 0..8 {
        ledger.advance(LogTime(end + step * 1000));
    }
    assert_eq!(ledger.scopes(), 0);
}

/// Claims in doubt, which never end, each of a tenant of its own.
fn endless(world: &mut World, ledger: &mut QuotaLedger, count: usize) {
    for i in 0..count {
        let address = address_of(&format!("a{i}"), "pay", "k");
        let claimed = follow(world, ledger, 1000, &Command { address: address.clone(), ..claim(1) });
        let token = granted(&claimed).token;
        follow(world, ledger, 1001, &Command { address, ..mark(token, 1) });
    }
}

#[test]
fn the_sweep_reaches_what_stands_behind_many_that_never_end() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    endless(&mut world, &mut ledger, 300);
    // Scopes are in the order of their encoding: a longer tenant stands behind all shorter ones.
    let last = address_of("zzzzzz", "pay", "k");
    follow(&mut world, &mut ledger, 1002, &Command { address: last, ..claim(1) });
    assert_eq!(ledger.scopes(), 301);
    for step in 0..2 {
        ledger.advance(LogTime(1_000_000_000 + step * 1000));
    }
    assert_eq!(ledger.scopes(), 300);
}

#[test]
fn a_sweep_that_came_to_the_end_begins_anew_with_the_next_slot_and_not_within_one() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    endless(&mut world, &mut ledger, 3);
    ledger.advance(LogTime(1_000_000_000));
    follow(
        &mut world,
        &mut ledger,
        1_000_000_100,
        &Command { address: address_of("b", "pay", "k"), ..claim(1) },
    );
    ledger.advance(LogTime(2_000_000_000));
    assert_eq!(ledger.scopes(), 3, "the first sweep of a slot looks at all again");
    for i in 0..600 {
        let elsewhere = Command { address: address_of(&format!("t{i}"), "pay", "k"), ..claim(1) };
        follow(&mut world, &mut ledger, 2_000_000_001, &elsewhere);
    }
    ledger.advance(LogTime(3_000_000_000));
    let left = ledger.scopes();
    assert!((300..400).contains(&left), "a sweep has its bound: {left}");
    ledger.advance(LogTime(3_000_000_999));
    assert_eq!(ledger.scopes(), left, "once in each slot");
}

#[test]
fn a_record_counts_until_its_slot_of_ten_minutes_is_over() {
    let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
    let granted_reply = follow(&mut world, &mut ledger, 1000, &claim(1));
    follow(&mut world, &mut ledger, 1030, &complete(granted(&granted_reply).token));
    ledger.advance(LogTime(599_999));
    assert_eq!((usage(&ledger), ledger.scopes()), ((0, 1), 1));
    ledger.advance(LogTime(600_000));
    assert_eq!((usage(&ledger), ledger.scopes()), ((0, 0), 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A ledger that followed every change says what one says that was rebuilt by a scan.
    #[test]
    fn following_and_rebuilding_agree(
        acts in prop::collection::vec((0u8..4, 0u8..6, 0u64..4000, prop::bool::ANY), 1..60)
    ) {
        let (mut world, mut ledger) = (World::new(), QuotaLedger::new());
        let mut now = 1000;
        for (key, act, advance, far) in acts {
            now += if far { advance * 100 } else { advance / 20 };
            let key = format!("k{key}");
            let address: Address = address_of("acme/m1", "pay", &key);
            let token = world.records.0.get(&address).map_or(Token::from(9), |record| record.token);
            let command = match act {
                0 => claim(1),
                1 => claim(2),
                2 => complete(token),
                3 => release(token),
                4 => mark(token, now),
                _ => forget(token, hapax_core::command::ForgetMode::Reset, true),
            };
            follow(&mut world, &mut ledger, now, &at(&key, command));
            let mut rebuilt = QuotaLedger::new();
            rebuilt.advance(LogTime(now));
            for (address, record) in &world.records.0 {
                rebuilt.add(address, record);
            }
            prop_assert_eq!(usage(&ledger), usage(&rebuilt));
            // Never less than what is true, and never more by what ended a slot ago.
            let count = |ms: u64, kind: fn(&hapax_core::Record, LogTime) -> bool| {
                let time = LogTime(now.saturating_sub(ms));
                world.records.0.values().filter(|record| kind(record, time)).count() as u64
            };
            let running = |record: &hapax_core::Record, time| {
                record.kind_at(time) == hapax_core::StateKind::Claimed
            };
            let present = |record: &hapax_core::Record, time| {
                record.kind_at(time) != hapax_core::StateKind::Absent
            };
            let (inflight, records) = usage(&ledger);
            prop_assert!(inflight >= count(0, running) && inflight <= count(1000, running));
            prop_assert!(records >= count(0, present) && records <= count(600_000, present));
        }
    }
}
