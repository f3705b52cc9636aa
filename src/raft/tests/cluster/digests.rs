//! Replicas that differ at one log position are found, and the wrong ones stop.

use crate::asks::{ask_node, claim, refusal_of};
use crate::harness::{Cluster, Setup};
use hapax_core::Reply;
use hapax_raft::group::digests::EVERY;
use hapax_raft::node::Readiness;
use hapax_raft::observe::Anomaly;
use hapax_wire::status::ShardRole;

/// As if a bit of applied state had flipped.
fn corrupt(cluster: &Cluster, i: usize, by: u128) {
    for group in cluster.node(i).node.groups() {
        group.shard().applied.lock().state.digest ^= by;
    }
}

async fn fill(cluster: &Cluster, i: usize, name: &str) {
    for n in 0..2 * EVERY {
        // A replica may stop in the middle: the same nonce finds its grant again.
        let reply = cluster.insist(i, claim(&format!("{name}-{n}"), 1, 0)).await;
        assert!(matches!(reply, Reply::Granted(_)), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replica_that_differs_from_the_majority_stops_and_the_others_serve_on() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    fill(&cluster, 0, "same").await;
    assert!(cluster.homes.iter().all(|home| !home.observer.has(Anomaly::DigestDiffers)));
    let leader = cluster.leader_of(0).unwrap();
    // A wrong leader is the harder case: it must stop, and another must lead.
    corrupt(&cluster, leader, 1);
    let other = (leader + 1) % 3;
    fill(&cluster, other, "after").await;
    cluster
        .wait("the wrong one is stopped", |cluster| {
            cluster.replica(leader, 0).is_some_and(|replica| replica.role == ShardRole::Stopped)
        })
        .await;
    assert!(cluster.homes[leader].observer.has(Anomaly::DigestDiffers));
    assert!(matches!(cluster.node(leader).node.readiness(), Readiness::NotReady { .. }));
    cluster.wait("another leads", |cluster| cluster.leader_of(0).is_some_and(|now| now != leader)).await;
    fill(&cluster, leader, "on").await;
    assert_eq!(cluster.replica(leader, 0).unwrap().role, ShardRole::Stopped, "it is not started again");
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_majority_agrees_the_whole_shard_stops() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    corrupt(&cluster, 0, 1);
    corrupt(&cluster, 1, 2);
    for n in 0..2 * EVERY {
        // The shard may stop in the middle.
        ask_node(cluster.node(0), claim(&format!("k-{n}"), 1, 0), 1_000).await;
    }
    cluster
        .wait("every replica is stopped", |cluster| {
            (0..3).all(|i| cluster.replica(i, 0).is_some_and(|replica| replica.role == ShardRole::Stopped))
        })
        .await;
    assert!(refusal_of(&ask_node(cluster.node(2), claim("late", 1, 0), 1_000).await).definite);
}
