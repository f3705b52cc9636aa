//! Callers that are held while somebody else runs.

use crate::asks::{
    Connection, answer, ask_all, ask_node, claim, claim_for, complete, get, is_definite, key_in, other_claim,
    refusal_of, release, token_of,
};
use crate::harness::{Cluster, Setup};
use hapax_core::{ErrorCode, Reply, StateKind};
use hapax_raft::config::NodeLimits;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Waits until so many callers are held on a node.
async fn held(cluster: &Cluster, i: usize, count: usize) {
    cluster
        .wait("callers are held", |cluster| hapax_raft::node::waiters(&cluster.node(i).node) == count)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_callers_one_runs_and_199_are_told_its_result_without_polling() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let connections: Vec<_> = (0..200).map(|_| Connection::new()).collect();
    let mut calls: Vec<_> = (0..200u64)
        .map(|n| {
            connections[n as usize].send(
                cluster.node(n as usize % 3),
                vec![claim("k", n + 1, 20_000)],
                30_000,
            )
        })
        .map(|mut call| call.remove(0).1)
        .collect();
    held(&cluster, leader, 199).await;
    let granted = loop {
        let done = calls.iter_mut().position(|call| !call.is_empty());
        if let Some(done) = done {
            break answer(calls.remove(done)).await;
        }
        sleep(Duration::from_millis(5)).await;
    };
    let (entries, index) =
        (cluster.homes[leader].observer.entries(), cluster.replica(leader, 0).unwrap().last_index);
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(cluster.homes[leader].observer.entries(), entries, "waiting costs no entry");
    assert_eq!(cluster.replica(leader, 0).unwrap().last_index, index, "waiting costs no entry");
    let reply = cluster.ask(leader, complete("k", token_of(&granted), "once")).await.reply;
    assert!(matches!(reply, Reply::Completed(_)), "{reply:?}");
    let completed = Instant::now();
    for call in calls {
        match answer(call).await.reply {
            Reply::Replayed(replayed) => assert_eq!(replayed.result.as_slice(), b"once"),
            other => panic!("{other:?}"),
        }
    }
    assert!(completed.elapsed() < Duration::from_secs(2), "{:?}", completed.elapsed());
    assert_eq!(cluster.homes[leader].observer.entries(), entries + 1, "only the complete was proposed");
    held(&cluster, leader, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_lease_lapses_the_oldest_open_waiter_gets_the_key_and_the_others_stay() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(1) }).await;
    let node = cluster.node(0);
    let first = ask_node(node, claim_for("k", 1, 0, Some(1_000)), 5_000).await;
    let (closed, cancelled, oldest, later) =
        (Connection::new(), Connection::new(), Connection::new(), Connection::new());
    let mut calls = Vec::new();
    for (n, connection) in (2..).zip([&closed, &cancelled, &oldest, &later]) {
        calls.extend(connection.send(node, vec![claim_for("k", n, 20_000, Some(1_000))], 30_000));
        held(&cluster, 0, calls.len()).await;
    }
    closed.caller.close();
    cancelled.caller.cancel(calls[1].0);
    let entries = cluster.homes[0].observer.entries();
    let (last, third) = (calls.remove(3).1, calls.remove(2).1);
    let granted = answer(third).await;
    assert!(token_of(&granted) > token_of(&first));
    // The first of these lapsed, too: the last one is granted then, and nobody else ever was.
    let taken = answer(last).await;
    match (&granted.reply, &taken.reply) {
        (Reply::Granted(second), Reply::Granted(third)) => {
            assert_eq!((second.attempt, third.attempt), (2, 3), "nobody who is gone was granted");
        }
        other => panic!("{other:?}"),
    }
    // Two grants, and a few ticks each.
    let proposed = cluster.homes[0].observer.entries() - entries;
    assert!(proposed <= 16, "{proposed} entries for two lapses");
    assert!(is_definite(&answer(calls.remove(1).1).await, ErrorCode::Deadline), "given up, and told so");
    held(&cluster, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_wakes_the_waiters_and_one_of_them_goes_on() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let token = token_of(&cluster.ask(leader, claim("k", 1, 0)).await);
    let waiters: Vec<_> = (0..20).map(|_| Connection::new()).collect();
    let mut calls: Vec<_> = (2..)
        .zip(&waiters)
        .map(|(n, waiter)| waiter.send(cluster.node(leader), vec![claim("k", n, 10_000)], 20_000).remove(0).1)
        .collect();
    held(&cluster, leader, 20).await;
    let released = cluster.ask(leader, release("k", token)).await.reply;
    assert!(matches!(released, Reply::Released), "{released:?}");
    let granted = answer(calls.remove(0)).await;
    held(&cluster, leader, 19).await;
    let completed = cluster.ask(leader, complete("k", token_of(&granted), "second")).await.reply;
    assert!(matches!(completed, Reply::Completed(_)), "{completed:?}");
    for call in calls {
        assert!(matches!(answer(call).await.reply, Reply::Replayed(_)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_ends_says_in_flight_and_a_get_waits_as_a_claim_does() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(1) }).await;
    let node = cluster.node(0);
    let token = token_of(&ask_node(node, claim("k", 1, 0), 5_000).await);
    let started = Instant::now();
    let answers = ask_all(node, vec![claim("k", 2, 500), other_claim("k", 3, 500)], 5_000).await;
    assert!(matches!(answers[0].reply, Reply::InFlight(_)), "{:?}", answers[0].reply);
    assert!(
        matches!(answers[1].reply, Reply::Mismatch(_)),
        "a mismatch is never held: {:?}",
        answers[1].reply
    );
    assert!(started.elapsed() >= Duration::from_millis(450), "{:?}", started.elapsed());
    let (read, ended) = (Connection::new(), Connection::new());
    let read = read.send(node, vec![get("k", 20_000)], 30_000).remove(0).1;
    let ended = ended.send(node, vec![get("k", 300)], 30_000).remove(0).1;
    match answer(ended).await.reply {
        Reply::State(view) => assert_eq!(view.state, StateKind::Claimed, "its wait is over"),
        other => panic!("{other:?}"),
    }
    held(&cluster, 0, 1).await;
    ask_node(node, complete("k", token, "read"), 5_000).await;
    match answer(read).await.reply {
        Reply::State(view) => assert_eq!(view.state, StateKind::Completed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hands_over_tells_its_waiters_so_and_nothing_was_proposed_for_them() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let token = token_of(&cluster.ask(leader, claim("k", 1, 0)).await);
    let waiter = Connection::new();
    let call = waiter.send(cluster.node(leader), vec![claim("k", 2, 20_000)], 30_000).remove(0).1;
    held(&cluster, leader, 1).await;
    assert_eq!(cluster.node(leader).node.hand_over(Duration::from_secs(10)).await, 0);
    let told = answer(call).await;
    assert!(is_definite(&told, ErrorCode::NotLeader), "{told:?}");
    held(&cluster, leader, 0).await;
    let other = (leader + 1) % 3;
    assert!(matches!(cluster.ask(other, complete("k", token, "kept")).await.reply, Reply::Completed(_)));
    match cluster.ask(other, claim("k", 2, 0)).await.reply {
        Reply::Replayed(replayed) => assert_eq!(replayed.attempt, 1, "the waiter was never granted"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_are_bounded_by_address_and_by_node_and_those_who_gave_up_make_room() {
    let limits = NodeLimits { waiters_per_address: 3, waiters_per_node: 5, ..NodeLimits::default() };
    let cluster = Cluster::form_with(Setup { shards: 2, limits, ..Setup::of(1) }).await;
    let node = cluster.node(0);
    let (one, two) = (key_in(0, 2, "one"), key_in(1, 2, "two"));
    let token = token_of(&ask_node(node, claim(&one, 1, 0), 5_000).await);
    token_of(&ask_node(node, claim(&two, 1, 0), 5_000).await);
    let waiter = Connection::new();
    let mut calls = waiter.send(node, (2..5).map(|n| claim(&one, n, 20_000)).collect(), 30_000);
    held(&cluster, 0, 3).await;
    let over = ask_node(node, claim(&one, 9, 20_000), 30_000).await;
    assert!(is_definite(&over, ErrorCode::Overloaded), "{over:?}");
    let more = Connection::new();
    let _more = more.send(node, (2..4).map(|n| claim(&two, n, 20_000)).collect(), 30_000);
    held(&cluster, 0, 5).await;
    let over = ask_node(node, claim(&two, 9, 20_000), 30_000).await;
    assert!(is_definite(&over, ErrorCode::Overloaded), "{over:?}");
    // One gives up: the next caller on its address takes the place, and the count holds.
    let (id, gone) = calls.remove(0);
    waiter.caller.cancel(id);
    let next = Connection::new();
    let next = next.send(node, vec![claim(&one, 10, 20_000)], 30_000).remove(0).1;
    assert_eq!(refusal_of(&answer(gone).await).code, ErrorCode::Deadline);
    held(&cluster, 0, 5).await;
    ask_node(node, complete(&one, token, "x"), 5_000).await;
    assert!(matches!(answer(next).await.reply, Reply::Replayed(_)), "it had a place");
    held(&cluster, 0, 2).await;
}
