//! Log time: never back, at the right pace whatever one clock says, and jumping only at a cold start.

use crate::asks::{Connection, answer, claim, claim_for, complete, token_of};
use crate::harness::{Cluster, Setup};
use hapax_core::{LogTime, Reply};
use hapax_raft::config::{NodeLimits, Timing};
use hapax_raft::observe::Anomaly;
use hapax_wire::status::ShardRole;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn one_shard(nodes: usize) -> Setup {
    Setup { shards: 1, ..Setup::of(nodes) }
}

/// The log time now, as a fresh entry shows it.
async fn log_time(cluster: &Cluster, i: usize, key: &str) -> LogTime {
    let answer = cluster.ask(i, claim(key, 77, 0)).await;
    answer.witness.unwrap_or_else(|| panic!("{answer:?}")).time
}

fn set_walls(cluster: &Cluster, ms: i64) {
    cluster.homes.iter().for_each(|home| home.clock.set_wall_offset(ms));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stamps_never_go_back_over_transfers_and_restarts_with_clocks_an_hour_apart() {
    let mut cluster =
        Cluster::form_with(Setup { wall_offsets_ms: vec![HOUR_MS, 0, -HOUR_MS], ..one_shard(3) }).await;
    let started = Instant::now();
    let first = log_time(&cluster, 0, "first").await;
    let mut last = (0, first);
    for round in 0..6 {
        for n in 0..5 {
            let answer = cluster.ask(n % 3, claim(&format!("{round}-{n}"), 1, 0)).await;
            let witness = answer.witness.unwrap();
            assert!(witness.index > last.0 && witness.time >= last.1, "{witness:?} after {last:?}");
            last = (witness.index, witness.time);
        }
        let leader = cluster.leader_of(0).unwrap();
        if round % 2 == 0 {
            cluster.node(leader).node.hand_over(Duration::from_secs(10)).await;
        } else {
            cluster.cut_power(leader, round);
            cluster.start(leader).await;
        }
        cluster.wait_ready().await;
    }
    let passed = last.1.0 - first.0;
    let real = u64::try_from(started.elapsed().as_millis()).unwrap();
    assert!(passed <= real * 106 / 100, "{passed} ms of log time in {real} ms");
}

/// How long a lease of 2 s lasts: at least, and at most.
async fn lease_lasts(cluster: &Cluster, key: &str) -> (Duration, Duration) {
    let sent = Instant::now();
    token_of(&cluster.ask(0, claim_for(key, 1, 0, Some(2_000))).await);
    let granted = Instant::now();
    let waiter = Connection::new();
    let next = waiter.send(cluster.node(0), vec![claim(key, 2, 20_000)], 30_000).remove(0).1;
    token_of(&answer(next).await);
    (granted.elapsed(), sent.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_wall_clock_moves_no_lease_by_more_than_5_percent() {
    for offsets in [[HOUR_MS, 0, 0], [-HOUR_MS, 0, 0], [0, HOUR_MS, HOUR_MS], [0, -HOUR_MS, -HOUR_MS]] {
        let cluster = Cluster::form_with(one_shard(3)).await;
        assert_eq!(cluster.leader_of(0), Some(0), "the preferred one leads a new shard");
        // What a clock shows moves on a running cluster, as a bad time server does it.
        for (home, offset) in cluster.homes.iter().zip(offsets) {
            home.clock.set_wall_offset(offset);
        }
        sleep(Duration::from_millis(1_200)).await;
        let (at_least, at_most) = lease_lasts(&cluster, "k").await;
        assert!(at_most >= Duration::from_millis(1_900), "{offsets:?}: {at_most:?}");
        assert!(at_least <= Duration::from_millis(2_110 + 800), "{offsets:?}: {at_least:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wall_clocks_that_stand_still_and_boot_clocks_that_drift_do_not_stop_log_time() {
    let cluster = Cluster::form_with(Setup { drifts_permille: vec![30, 0, -30], ..one_shard(3) }).await;
    cluster.homes.iter().for_each(|home| home.clock.freeze_wall());
    let (at_least, at_most) = lease_lasts(&cluster, "k").await;
    // 3 % of drift and 5 % of slewing.
    assert!(at_most >= Duration::from_millis(1_840), "{at_most:?}");
    assert!(at_least <= Duration::from_millis(2_300 + 800), "{at_least:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_processes_do_not_make_log_time_jump_and_one_of_all_machines_does() {
    let mut cluster = Cluster::form_with(one_shard(3)).await;
    token_of(&cluster.ask(0, claim_for("held", 1, 0, Some(600_000))).await);
    set_walls(&cluster, 2 * HOUR_MS);
    for i in 0..3 {
        cluster.stop(i).await;
        cluster.start(i).await;
        cluster.wait_ready().await;
        let reply = cluster.ask(i, claim("held", 2, 0)).await.reply;
        assert!(matches!(reply, Reply::InFlight(_)), "after {i} restarted: {reply:?}");
    }
    restart_all(&mut cluster, false).await;
    let reply = cluster.ask(1, claim("held", 3, 0)).await.reply;
    assert!(matches!(reply, Reply::InFlight(_)), "the machines ran on and know the time: {reply:?}");
    restart_all(&mut cluster, true).await;
    let reply = cluster.ask(1, claim("held", 4, 0)).await.reply;
    assert!(matches!(reply, Reply::Granted(_)), "all were down for two hours: {reply:?}");
    assert!(cluster.homes.iter().all(|home| !home.observer.has(Anomaly::JumpHeld)));
}

/// Ends all processes and starts them again, with their machines or without.
async fn restart_all(cluster: &mut Cluster, with_machines: bool) {
    for i in 0..3 {
        cluster.stop(i).await;
    }
    for i in 0..3 {
        if with_machines {
            cluster.homes[i].clock.reboot();
        }
        cluster.start(i).await;
    }
    cluster.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_is_one_even_where_a_follower_has_to_catch_up_on_entries_of_before() {
    for kept in [20_000, 8] {
        // By entries, and by a snapshot.
        let limits = NodeLimits { log_kept_entries: kept, ..NodeLimits::default() };
        let mut cluster = Cluster::form_with(Setup { limits, ..one_shard(3) }).await;
        token_of(&cluster.ask(0, claim_for("held", 1, 0, Some(600_000))).await);
        cluster.stop(2).await;
        for n in 0..40 {
            token_of(&cluster.ask(0, claim(&format!("k-{n}"), 1, 0)).await);
        }
        sleep(Duration::from_millis(600)).await;
        cluster.stop(0).await;
        cluster.stop(1).await;
        set_walls(&cluster, 2 * HOUR_MS);
        for i in [2, 0, 1] {
            cluster.homes[i].clock.reboot();
            cluster.start(i).await;
        }
        cluster.wait_ready().await;
        let reply = cluster.ask(0, claim("held", 2, 0)).await.reply;
        assert!(matches!(reply, Reply::Granted(_)), "all were down for two hours: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_majority_jumps_only_when_nobody_who_ran_can_be_asked() {
    let mut cluster = Cluster::form_with(one_shard(3)).await;
    token_of(&cluster.ask(0, claim_for("held", 1, 0, Some(600_000))).await);
    // A quorum may have answered without the one that is to run on.
    cluster.check_agreement().await;
    set_walls(&cluster, 2 * HOUR_MS);
    // One runs on and knows the time: the two that restart go on from there.
    cluster.cut_power(0, 1);
    cluster.cut_power(1, 2);
    cluster.start(0).await;
    cluster.start(1).await;
    cluster.wait_ready().await;
    let reply = cluster.ask(0, claim("held", 2, 0)).await.reply;
    assert!(matches!(reply, Reply::InFlight(_)), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_time_is_held_where_a_quorum_may_have_run_on_without_hearing_of_it() {
    let mut cluster = Cluster::form_with(Setup { wired: true, ..one_shard(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let (restarted, away) = ((leader + 1) % 3, (leader + 2) % 3);
    // One is started with its machine, and hears of nothing that follows.
    cluster.stop(away).await;
    cluster.homes[away].clock.reboot();
    cluster.isolate(away, true);
    cluster.start(away).await;
    token_of(&cluster.ask(leader, claim_for("held", 1, 0, Some(600_000))).await);
    // It and the one that led run since the last entry. It gets that now, and the other cannot be asked.
    cluster.stop(restarted).await;
    set_walls(&cluster, 2 * HOUR_MS);
    cluster.isolate(away, false);
    cluster.isolate(leader, true);
    cluster.homes[restarted].clock.reboot();
    cluster.start(restarted).await;
    let leads =
        |cluster: &Cluster, i: usize| cluster.replica(i, 0).is_some_and(|own| own.role == ShardRole::Leader);
    cluster.wait("one of them leads", |cluster| leads(cluster, restarted) || leads(cluster, away)).await;
    let reply = cluster.ask(restarted, claim("held", 2, 0)).await.reply;
    assert!(matches!(reply, Reply::InFlight(_)), "{reply:?}");
    let told = [restarted, away].map(|i| cluster.homes[i].observer.has(Anomaly::JumpHeld));
    assert!(told[0] || told[1], "it is alarmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_of_more_than_seven_days_is_held_and_alarmed() {
    let mut cluster = Cluster::form_with(one_shard(1)).await;
    token_of(&cluster.ask(0, claim_for("held", 1, 0, Some(600_000))).await);
    cluster.stop(0).await;
    set_walls(&cluster, 8 * DAY_MS);
    cluster.homes[0].clock.reboot();
    cluster.start(0).await;
    cluster.wait_ready().await;
    let reply = cluster.ask(0, claim("held", 2, 0)).await.reply;
    assert!(matches!(reply, Reply::InFlight(_)), "{reply:?}");
    assert!(cluster.homes[0].observer.has(Anomaly::JumpHeld));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_caught_up_on_old_entries_is_not_behind_in_log_time() {
    let mut cluster = Cluster::form_with(one_shard(3)).await;
    cluster.stop(0).await;
    cluster.wait("another leads", |cluster| cluster.leader_of(0).is_some()).await;
    let before = log_time(&cluster, 1, "old").await;
    let written = Instant::now();
    sleep(Duration::from_secs(4)).await;
    cluster.start(0).await;
    cluster.wait("the preferred one leads again", |cluster| cluster.leader_of(0) == Some(0)).await;
    let elapsed = u64::try_from(written.elapsed().as_millis()).unwrap();
    let after = log_time(&cluster, 0, "new").await;
    let passed = after.0 - before.0;
    assert!(passed + 300 >= elapsed * 95 / 100, "{passed} ms of log time in {elapsed} ms");
    assert!(passed <= elapsed * 106 / 100 + 500, "{passed} ms of log time in {elapsed} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_heard_nothing_for_a_while_goes_on_from_the_time_of_the_one_before_it() {
    // Elections take seconds, so that a new leader asks for a second: a machine under load may take as long to answer.
    let timing = Timing { election_min_ms: 3_000, election_max_ms: 4_000, ..one_shard(3).timing };
    let setup = Setup { wired: true, timing, drifts_permille: vec![0, -300, -300], ..one_shard(3) };
    let mut cluster = Cluster::form_with(setup).await;
    assert_eq!(cluster.leader_of(0), Some(0), "the preferred one leads a new shard");
    let leads =
        |cluster: &Cluster, i: usize| cluster.replica(i, 0).is_some_and(|own| own.role == ShardRole::Leader);
    assert_eq!(cluster.node(0).node.hand_over(Duration::from_secs(10)).await, 0);
    cluster.wait("another leads", |cluster| leads(cluster, 1) || leads(cluster, 2)).await;
    let other = if leads(&cluster, 1) { 1 } else { 2 };
    // The first one has heard it when it goes: an entry that was committed may have been confirmed by the third alone.
    log_time(&cluster, other, "heard").await;
    cluster.check_agreement().await;
    cluster.isolate(0, true);
    // The clocks of those who go on are slow: what passes for the first one meanwhile is more than log time does.
    sleep(Duration::from_secs(4)).await;
    let asked = Instant::now();
    let before = log_time(&cluster, other, "old").await;
    // It is handed the lead as soon as it is back, mostly before it has asked for the time as every follower does.
    cluster.stop(3 - other).await;
    cluster.isolate(0, false);
    assert_eq!(cluster.node(other).node.hand_over(Duration::from_secs(10)).await, 0);
    cluster.wait("the first one leads again", |cluster| leads(cluster, 0) && !leads(cluster, other)).await;
    let after = log_time(&cluster, 0, "new").await;
    let elapsed = u64::try_from(asked.elapsed().as_millis()).unwrap();
    let passed = after.0 - before.0;
    assert!(passed <= elapsed * 106 / 100 + 100, "{passed} ms of log time in {elapsed} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_shard_writes_nothing_and_its_time_goes_on() {
    let cluster = Cluster::form_with(one_shard(3)).await;
    let leader = cluster.leader_of(0).unwrap();
    let token = token_of(&cluster.ask(leader, claim("k", 1, 0)).await);
    cluster.ask(leader, complete("k", token, "x")).await;
    let before = log_time(&cluster, leader, "a").await;
    let started = Instant::now();
    let index = cluster.replica(leader, 0).unwrap().last_index;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.replica(leader, 0).unwrap().last_index, index, "an idle shard writes nothing");
    let after = log_time(&cluster, leader, "b").await;
    let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap();
    assert!(after.0 - before.0 >= 1_900 && after.0 - before.0 <= elapsed * 106 / 100 + 300);
}
