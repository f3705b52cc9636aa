//! Calls that reach a node without a replica of their shard.

use crate::asks::{
    Connection, answer, ask_all, ask_node, claim, claim_for, complete, get, key_in, refusal_of, token_of,
};
use crate::harness::{Cluster, Setup};
use crate::node::CLUSTER;
use bytes::BytesMut;
use hapax_core::{ErrorCode, Principal, Reply, Request, StateKind};
use hapax_raft::ids::NodeId;
use hapax_raft::peer::connection::{Introduction, dial, next_frame};
use hapax_wire::peer::{Channel, Forward, ForwardReplies, Forwarded, PeerBody, PeerFrame};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

fn five() -> Setup {
    Setup { shards: 5, ..Setup::of(5) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_of_five_answers_for_every_shard_and_after_its_leader_has_changed() {
    let cluster = Cluster::form_with(five()).await;
    for shard in 0..5 {
        let key = key_in(shard, 5, "k");
        let token = token_of(&cluster.ask(shard as usize, claim(&key, 1, 0)).await);
        for i in 0..5 {
            assert!(matches!(cluster.ask(i, claim(&key, 2, 0)).await.reply, Reply::InFlight(_)));
        }
        let leader = cluster.leader_of(shard).unwrap();
        cluster.node(leader).node.hand_over(Duration::from_secs(10)).await;
        // A node without a replica has been told of the old leader, and finds the new one.
        let outside = (shard as usize + 3) % 5;
        assert!(cluster.replica(outside, shard).is_none());
        assert!(matches!(cluster.ask(outside, complete(&key, token, &key)).await.reply, Reply::Completed(_)));
        for i in 0..5 {
            match cluster.ask(i, claim(&key, 3, 0)).await.reply {
                Reply::Replayed(replayed) => assert_eq!(replayed.result.as_slice(), key.as_bytes()),
                other => panic!("{other:?}"),
            }
        }
    }
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_one_frame_that_are_passed_on_take_effect_in_order() {
    let cluster = Cluster::form_with(five()).await;
    for (i, shard) in (0..5).flat_map(|i| (0..5).map(move |shard| (i, shard))) {
        let key = key_in(shard, 5, &format!("by-{i}"));
        // More than one message between nodes takes.
        let asks = (1..=600).map(|nonce| claim(&key, nonce, 0)).collect();
        let answers = ask_all(cluster.node(i), asks, 30_000).await;
        token_of(&answers[0]);
        for later in &answers[1..] {
            assert!(matches!(later.reply, Reply::InFlight(_)), "node {i}: {:?}", later.reply);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_five_nodes_two_dead_ones_stop_only_the_shards_whose_majority_they_were() {
    let mut cluster = Cluster::form_with(five()).await;
    let keys: Vec<String> = (0..5).map(|shard| key_in(shard, 5, "k")).collect();
    for (i, key) in keys.iter().enumerate() {
        token_of(&cluster.ask(i, claim(key, 1, 0)).await);
    }
    cluster.cut_power(0, 1);
    cluster.cut_power(1, 2);
    for shard in [1, 2, 3] {
        for i in 2..5 {
            let other = key_in(shard, 5, &format!("by-{i}"));
            assert!(matches!(cluster.insist(i, claim(&other, 1, 0)).await, Reply::Granted(_)));
        }
    }
    for shard in [0, 4] {
        for i in 2..5 {
            let started = Instant::now();
            let refused = ask_node(cluster.node(i), claim(&keys[shard], 2, 0), 1_500).await;
            let code = refusal_of(&refused).code;
            assert!(
                matches!(code, ErrorCode::Unavailable | ErrorCode::Deadline),
                "{shard} by {i}: {refused:?}"
            );
            assert!(started.elapsed() < Duration::from_millis(2_500), "{:?}", started.elapsed());
        }
    }
    cluster.start(0).await;
    cluster.start(1).await;
    cluster.wait_ready().await;
    for (i, key) in keys.iter().enumerate() {
        assert!(matches!(cluster.ask(i, claim(key, 3, 0)).await.reply, Reply::InFlight(_)), "{key}");
    }
    cluster.check_agreement().await;
}

/// Sends forwarded calls to a node as a peer would, and reads the first answer.
async fn forward(addr: &str, hops: u32, ask: hapax_core::Ask) -> Reply {
    let me = Introduction { cluster: CLUSTER, node: NodeId::from_u64(99 << 20), name: "peer".to_owned() };
    let (mut stream, mut decoder, _) =
        dial(addr, &me, Channel::Control, Duration::from_secs(5)).await.unwrap();
    let request = Request { not_after: None, ask };
    let call = hapax_wire::client::Call { id: 1, deadline_ms: 5_000, request };
    let calls = vec![Forwarded { call, principal: Principal::default() }];
    let mut out = BytesMut::new();
    PeerFrame { rpc: 1, body: Forward { hops, calls, malformed: vec![] }.into() }.put(&mut out).unwrap();
    stream.write_all(&out).await.unwrap();
    let frame = next_frame(&mut stream, &mut decoder).await.unwrap().unwrap();
    match PeerFrame::take(&frame).unwrap().body {
        PeerBody::ForwardReplies(ForwardReplies { mut answers }) => answers.remove(0).answer.reply,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_passed_on_once_is_not_passed_on_again() {
    let cluster = Cluster::form_with(five()).await;
    let key = key_in(0, 5, "k");
    let leader = cluster.leader_of(0).unwrap();
    for i in (0..5).filter(|i| *i != leader) {
        for hops in [0, 1, u32::MAX] {
            match forward(cluster.peer_addr(i), hops, claim(&key, 1, 0)).await {
                Reply::Error(refusal) => {
                    assert!(refusal.code == ErrorCode::NotLeader && refusal.definite, "{refusal:?}");
                    if cluster.replica(i, 0).is_some() {
                        let hint = refusal.hint.expect("a replica knows its leader");
                        assert_eq!(hint.node, cluster.homes[leader].id.as_u64());
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(matches!(forward(cluster.peer_addr(leader), 0, claim(&key, 1, 0)).await, Reply::Granted(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_replica_finds_the_leader_that_follows_one_that_died() {
    let mut cluster = Cluster::form_with(five()).await;
    for (seed, shard) in (1..).zip([0, 1]) {
        let key = key_in(shard, 5, "k");
        let outside = (shard as usize + 4) % 5;
        assert!(cluster.replica(outside, shard).is_none());
        // It knows the leader, and that leader dies.
        let token = token_of(&cluster.ask(outside, claim(&key, 1, 0)).await);
        let dead = cluster.leader_of(shard).unwrap();
        cluster.cut_power(dead, seed);
        // Its connection broke with the call out, maybe: that is asked again, like anything open.
        let completed = cluster.insist(outside, complete(&key, token, "x")).await;
        assert!(matches!(completed, Reply::Completed(_) | Reply::AlreadyCompleted), "{completed:?}");
        cluster.start(dead).await;
        cluster.wait_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_behind_a_node_that_died_or_that_gave_up_is_never_granted() {
    let mut cluster = Cluster::form_with(five()).await;
    let key = key_in(0, 5, "k");
    let leader = cluster.leader_of(0).unwrap();
    let outside: Vec<usize> = (0..5).filter(|i| cluster.replica(*i, 0).is_none()).collect();
    token_of(&cluster.ask(leader, claim_for(&key, 1, 0, Some(2_000))).await);
    let (dead, gone) = (Connection::new(), Connection::new());
    let _never = dead.send(cluster.node(outside[0]), vec![claim_for(&key, 2, 20_000, Some(60_000))], 30_000);
    cluster.wait("it waits", |cluster| hapax_raft::node::waiters(&cluster.node(leader).node) == 1).await;
    let _cancelled =
        gone.send(cluster.node(outside[1]), vec![claim_for(&key, 3, 20_000, Some(60_000))], 30_000);
    cluster.wait("both wait", |cluster| hapax_raft::node::waiters(&cluster.node(leader).node) == 2).await;
    cluster.cut_power(outside[0], 1);
    gone.caller.close();
    // The lease lapses meanwhile.
    sleep(Duration::from_millis(2_500)).await;
    match cluster.ask(leader, get(&key, 0)).await.reply {
        Reply::State(view) => assert_eq!(view.state, StateKind::Open, "nobody holds it"),
        other => panic!("{other:?}"),
    }
    let last = Connection::new();
    let call = last.send(cluster.node(leader), vec![claim(&key, 4, 0)], 10_000).remove(0).1;
    match answer(call).await.reply {
        Reply::Granted(granted) => assert_eq!(granted.attempt, 2),
        other => panic!("{other:?}"),
    }
}
