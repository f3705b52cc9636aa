//! Snapshots, purging, and replicas that lost something.

use crate::asks::{ask_all, ask_node, claim, complete, get, key_in, refusal_of, token_of};
use crate::harness::{Cluster, Setup};
use crate::node::Storage;
use hapax_core::request::GetAsk;
use hapax_core::{Ask, Basis, Reply, StateKind};
use hapax_raft::config::NodeLimits;
use hapax_raft::node::Readiness;
use hapax_raft::observe::Anomaly;
use hapax_store::disk::Disk;
use hapax_store::records::{EngineKind, RecordStore};
use hapax_wire::status::ShardRole;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

const KEPT: u64 = 8;

fn keeps_little(nodes: usize, shards: u32) -> Setup {
    let limits = NodeLimits { log_kept_entries: KEPT, ..NodeLimits::default() };
    Setup { shards, limits, ..Setup::of(nodes) }
}

/// Puts so many claims and completes through a shard, 16 at a time.
async fn fill(cluster: &Cluster, i: usize, shard: u32, name: &str, keys: usize) {
    let names: Vec<String> =
        (0..keys).map(|n| key_in(shard, cluster.shards(), &format!("{name}-{n}"))).collect();
    for some in names.chunks(16) {
        let runs = some.iter().map(|key| async move {
            let token = token_of(&cluster.ask(i, claim(key, 1, 0)).await);
            let reply = cluster.ask(i, complete(key, token, key)).await.reply;
            assert!(matches!(reply, Reply::Completed(_)), "{reply:?}");
        });
        futures_util::future::join_all(runs).await;
        let status = cluster.replica(i, shard).unwrap();
        assert!(status.purged_index <= status.applied_index, "purging never overtakes apply: {status:?}");
    }
}

async fn check_filled(cluster: &Cluster, i: usize, shard: u32, name: &str, keys: usize) {
    for n in (0..keys).step_by(7) {
        let key = key_in(shard, cluster.shards(), &format!("{name}-{n}"));
        match cluster.ask(i, claim(&key, 2, 0)).await.reply {
            Reply::Replayed(replayed) => assert_eq!(replayed.result.as_slice(), key.as_bytes()),
            other => panic!("{key}: {other:?}"),
        }
    }
}

async fn purged(cluster: &Cluster, i: usize, shard: u32, least: u64) {
    cluster
        .wait("the log is purged", |cluster| cluster.replica(i, shard).unwrap().purged_index > least)
        .await;
}

/// Drops all records of a stopped node, and what is marked of them.
fn lose_records(cluster: &Cluster, i: usize) {
    let Storage::Simulated(disk, engine) = &cluster.homes[i].storage else { panic!("a simulated disk") };
    let kind = EngineKind::Memory(engine.clone());
    RecordStore::destroy(disk, Path::new("/node/records"), &kind).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_the_log_no_longer_reaches_comes_back_by_a_snapshot() {
    let mut cluster = Cluster::form_with(keeps_little(3, 1)).await;
    let leader = cluster.leader_of(0).unwrap();
    let away = (leader + 1) % 3;
    fill(&cluster, leader, 0, "before", 20).await;
    cluster.stop(away).await;
    let left_at = cluster.replica(leader, 0).unwrap().applied_index;
    fill(&cluster, leader, 0, "meanwhile", 500).await;
    purged(&cluster, leader, 0, left_at + 1).await;
    cluster.start(away).await;
    cluster
        .wait("the follower has caught up", |cluster| {
            let (here, there) = (cluster.replica(leader, 0), cluster.replica(away, 0));
            here.zip(there).is_some_and(|(here, there)| here.applied_index == there.applied_index)
        })
        .await;
    // Its own log begins behind where it left: what is between came by the snapshot.
    purged(&cluster, away, 0, left_at).await;
    cluster.check_agreement().await;
    // It has the records, too: it leads and answers.
    fill(&cluster, leader, 0, "after", 20).await;
    for i in (0..3).filter(|i| *i != away) {
        cluster.cut_power(i, 3);
    }
    for i in (0..3).filter(|i| *i != away) {
        cluster.start(i).await;
    }
    cluster.wait_ready().await;
    check_filled(&cluster, away, 0, "meanwhile", 500).await;
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_gone_before_it_answers_a_snapshot_is_not_waited_for() {
    let mut cluster = Cluster::form_with(Setup { wired: true, ..keeps_little(3, 1) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let away = (leader + 1) % 3;
    cluster.stop(away).await;
    let left_at = cluster.replica(leader, 0).unwrap().applied_index;
    fill(&cluster, leader, 0, "meanwhile", 100).await;
    purged(&cluster, leader, 0, left_at + 1).await;
    cluster.lose_snapshot_answers(away, true);
    cluster.start(away).await;
    cluster
        .wait("a snapshot came", |cluster| {
            cluster.replica(away, 0).is_some_and(|replica| replica.purged_index > left_at)
        })
        .await;
    cluster.cut_power(away, 1);
    cluster.lose_snapshot_answers(away, false);
    cluster.start(away).await;
    fill(&cluster, leader, 0, "after", 20).await;
    cluster.check_agreement().await;
}

/// Gets sent in one frame, one of which is likely to be read right when a snapshot replaces the records.
const READ_AT_ONCE: usize = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_read_while_a_snapshot_is_installed_shows_nothing_later_than_its_label() {
    let mut cluster = Cluster::form_with(keeps_little(3, 1)).await;
    let leader = cluster.leader_of(0).unwrap();
    let away = (leader + 1) % 3;
    for round in 0..4 {
        cluster.stop(away).await;
        let left_at = cluster.replica(leader, 0).unwrap().applied_index;
        let name = format!("round-{round}");
        fill(&cluster, leader, 0, &name, 300).await;
        purged(&cluster, leader, 0, left_at + 1).await;
        cluster.start(away).await;
        let key = key_in(0, cluster.shards(), &format!("{name}-299"));
        let Ask::Get(ask) = get(&key, 0) else { panic!("a get") };
        let mut seen = 0;
        while seen == 0 {
            let asks = vec![Ask::Get(GetAsk { stale: true, ..ask.clone() }); READ_AT_ONCE];
            for answer in ask_all(cluster.node(away), asks, 2_000).await {
                let Some(witness) = answer.witness.filter(|witness| witness.basis == Basis::Stale) else {
                    continue;
                };
                let Reply::State(view) = &answer.reply else { panic!("{answer:?}") };
                assert!(view.since.is_some_and(|since| since <= witness.time), "{answer:?}");
                seen += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_lost_under_a_purged_log_are_made_again_from_a_peer() {
    let mut cluster = Cluster::form_with(keeps_little(3, 1)).await;
    let leader = cluster.leader_of(0).unwrap();
    fill(&cluster, leader, 0, "k", 300).await;
    for (round, i) in [(leader + 1) % 3, leader].into_iter().enumerate() {
        purged(&cluster, i, 0, 1).await;
        cluster.stop(i).await;
        lose_records(&cluster, i);
        cluster.start(i).await;
        cluster.wait_ready().await;
        assert!(cluster.homes[i].observer.has(Anomaly::RecordsWiped));
        fill(&cluster, i, 0, &format!("round-{round}"), 5).await;
        cluster.check_agreement().await;
    }
    check_filled(&cluster, leader, 0, "k", 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_node_makes_lost_records_again_from_a_whole_log() {
    let mut cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(1) }).await;
    fill(&cluster, 0, 0, "k", 50).await;
    let before = cluster.replica(0, 0).unwrap();
    cluster.stop(0).await;
    lose_records(&cluster, 0);
    cluster.start(0).await;
    cluster.wait_ready().await;
    check_filled(&cluster, 0, 0, "k", 50).await;
    let after = cluster.replica(0, 0).unwrap();
    assert_eq!((after.records, after.term > before.term), (before.records, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_node_that_lost_records_under_a_purged_log_stays_stopped_and_says_so() {
    let mut cluster = Cluster::form_with(keeps_little(1, 1)).await;
    fill(&cluster, 0, 0, "k", 300).await;
    purged(&cluster, 0, 0, 1).await;
    cluster.stop(0).await;
    lose_records(&cluster, 0);
    cluster.start(0).await;
    cluster
        .wait("the replica is out of service", |cluster| !cluster.node(0).node.troubles().is_empty())
        .await;
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        assert!(matches!(cluster.node(0).node.readiness(), Readiness::NotReady { .. }));
        assert!(refusal_of(&ask_node(cluster.node(0), claim("k-0", 9, 0), 1_000).await).definite);
        assert_eq!(cluster.replica(0, 0).unwrap().role, ShardRole::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_log_is_damaged_takes_no_part_and_the_others_serve_on() {
    let mut cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    fill(&cluster, 0, 0, "k", 200).await;
    // A quorum may have answered without this one, which would have little to be damaged then.
    cluster.check_agreement().await;
    cluster.stop(1).await;
    let Storage::Simulated(disk, _) = cluster.homes[1].storage.clone() else { panic!("a simulated disk") };
    let dir = Path::new("/node/log");
    let first = disk.list(dir).unwrap().into_iter().find(|name| disk.contents(&dir.join(name)).is_some());
    // A row of flipped bytes in the middle of what was written: how much that is depends on how calls gathered.
    assert!(disk.tamper(&dir.join(first.unwrap()), |bytes| {
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 4096;
        assert!(written >= 12, "{written} blocks were written");
        bytes[written / 3 * 4096..written / 2 * 4096].iter_mut().for_each(|byte| *byte ^= 0x55);
    }));
    cluster.start(1).await;
    cluster.wait("the damage is told", |cluster| cluster.homes[1].observer.has(Anomaly::Quarantined)).await;
    cluster
        .wait("the replica is shown as stopped", |cluster| {
            cluster.replica(1, 0).is_some_and(|replica| replica.role == ShardRole::Stopped)
        })
        .await;
    let leader = cluster.leader_of(0);
    assert!(leader.is_some_and(|leader| leader != 1));
    fill(&cluster, 0, 0, "after", 20).await;
    check_filled(&cluster, 1, 0, "k", 200).await;
    assert_eq!(cluster.replica(1, 0).unwrap().role, ShardRole::Stopped, "it stays out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_consensus_dies_is_started_again_from_disk() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    fill(&cluster, 0, 0, "k", 20).await;
    for _ in 0..2 {
        let leader = cluster.leader_of(0).unwrap();
        let group = cluster.node(leader).node.groups().remove(0);
        group.raft().shutdown().await.unwrap();
        drop(group);
        cluster
            .wait("the group was rebuilt", |cluster| {
                cluster.homes[leader].observer.has(Anomaly::GroupRebuilt)
            })
            .await;
        cluster.wait_ready().await;
    }
    check_filled(&cluster, 0, 0, "k", 20).await;
    cluster.check_agreement().await;
}

/// Nobody asks for the damaged record; only the snapshot that a follower needs has to read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_comes_upon_damage_in_a_snapshot_is_made_again() {
    let mut cluster = Cluster::form_with(keeps_little(3, 1)).await;
    fill(&cluster, 0, 0, "k", 200).await;
    purged(&cluster, 0, 0, 1).await;
    cluster.stop(0).await;
    let Storage::Simulated(_, engine) = cluster.homes[0].storage.clone() else { panic!("a simulated disk") };
    let space = format!("{:08x}-{:016x}-1", 0, cluster.homes[0].id.replica(0).as_u64());
    let address = crate::asks::address(&key_in(0, 1, "k-3"));
    assert!(engine.flip_bit(&space, address.canonical(), 200), "the record is there");
    cluster.start(0).await;
    cluster.wait("the preferred one leads again", |cluster| cluster.leader_of(0) == Some(0)).await;
    let left_at = cluster.replica(2, 0).unwrap().applied_index;
    cluster.stop(2).await;
    fill(&cluster, 0, 0, "meanwhile", 500).await;
    purged(&cluster, 0, 0, left_at + 1).await;
    assert!(!cluster.homes[0].observer.has(Anomaly::RecordsWiped));
    cluster.start(2).await;
    cluster.wait("the damage is told", |cluster| cluster.homes[0].observer.has(Anomaly::RecordsWiped)).await;
    cluster.wait_ready().await;
    check_filled(&cluster, 2, 0, "meanwhile", 500).await;
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_never_answered_and_the_replica_is_made_again() {
    let mut cluster = Cluster::form_with(keeps_little(3, 1)).await;
    fill(&cluster, 0, 0, "k", 200).await;
    purged(&cluster, 0, 0, 1).await;
    cluster.stop(0).await;
    let Storage::Simulated(_, engine) = cluster.homes[0].storage.clone() else { panic!("a simulated disk") };
    let key = key_in(0, 1, "k-3");
    let space = format!("{:08x}-{:016x}-1", 0, cluster.homes[0].id.replica(0).as_u64());
    assert!(engine.flip_bit(&space, crate::asks::address(&key).canonical(), 200), "the record is there");
    cluster.start(0).await;
    cluster.wait("the preferred one leads again", |cluster| cluster.leader_of(0) == Some(0)).await;
    match cluster.ask(0, get(&key, 0)).await.reply {
        Reply::State(view) => assert_eq!(view.state, StateKind::Completed),
        other => panic!("{other:?}"),
    }
    cluster.wait("the damage is told", |cluster| cluster.homes[0].observer.has(Anomaly::RecordsWiped)).await;
    cluster.wait_ready().await;
    check_filled(&cluster, 0, 0, "k", 200).await;
    cluster.check_agreement().await;
}
