//! Claims, completes and replays through a whole cluster.

use crate::asks::{
    Connection, address, answer, ask_all, ask_node, claim, complete, get, refusal_of, token_of,
};
use crate::harness::{Cluster, Setup};
use hapax_core::request::{ClaimAsk, GetAsk, ListAsk, ResolveAsk};
use hapax_core::{Ask, Basis, Metadata, Outcome, OutcomeClass, Reason, Reply, StateKind, Tenant};
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_granted_once_and_replayed_from_every_node() {
    let cluster = Cluster::form_with(Setup { on_disk: true, ..Setup::of(3) }).await;
    for key in ["a", "b", "c", "d", "e", "f"] {
        let granted = cluster.ask(0, claim(key, 1, 0)).await;
        let token = token_of(&granted);
        assert!(matches!(cluster.ask(1, claim(key, 2, 0)).await.reply, Reply::InFlight(_)));
        assert!(matches!(cluster.ask(2, complete(key, token, "done")).await.reply, Reply::Completed(_)));
        for node in 0..3 {
            match cluster.ask(node, claim(key, 10 + node as u64, 0)).await.reply {
                Reply::Replayed(replayed) => assert_eq!(replayed.result.as_slice(), b"done"),
                other => panic!("{other:?}"),
            }
            match cluster.ask(node, get(key, 0)).await.reply {
                Reply::State(view) => assert_eq!(view.state, StateKind::Completed),
                other => panic!("{other:?}"),
            }
        }
    }
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_one_frame_on_one_address_take_effect_in_order() {
    let cluster = Cluster::form(1).await;
    let asks = vec![claim("k", 1, 0), claim("k", 1, 0), claim("k", 2, 0), get("k", 0)];
    let answers = ask_all(cluster.node(0), asks, 10_000).await;
    let token = token_of(&answers[0]);
    assert_eq!(token_of(&answers[1]), token);
    assert!(matches!(answers[2].reply, Reply::InFlight(_)));
    match &answers[3].reply {
        Reply::State(view) => assert_eq!((view.state, view.token), (StateKind::Claimed, token)),
        other => panic!("{other:?}"),
    }
}

/// A busy key's retries often share a frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_of_one_key_in_one_frame_cost_no_entry() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let token = token_of(&cluster.ask(leader, claim("k", 1, 0)).await);
    assert!(matches!(cluster.ask(leader, complete("k", token, "done")).await.reply, Reply::Completed(_)));
    // From the leader, and passed on by others.
    for node in 0..3 {
        let asks: Vec<Ask> = (0..100).map(|n| claim("k", 2 + n, 0)).chain([get("k", 0)]).collect();
        for answer in ask_all(cluster.node(node), asks, 30_000).await {
            assert_ne!(answer.witness.unwrap().basis, Basis::Applied, "it took no entry");
            match answer.reply {
                Reply::Replayed(replayed) => assert_eq!(replayed.result.as_slice(), b"done"),
                Reply::State(view) => assert_eq!(view.state, StateKind::Completed),
                other => panic!("{other:?}"),
            }
        }
    }
    // One of them that changes something puts all in line.
    let asks = vec![claim("k", 1_000, 0), complete("k", token, "done"), claim("k", 1_001, 0)];
    let answers = ask_all(cluster.node(leader), asks, 30_000).await;
    assert!(answers.iter().all(|answer| answer.witness.unwrap().basis == Basis::Applied), "{answers:?}");
}

/// An entry over what a replica takes would stop each one that it reaches, for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_with_large_results_share_no_entry_that_is_too_large() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let token = token_of(&cluster.ask(leader, claim("k", 1, 0)).await);
    let outcome = Outcome {
        class: OutcomeClass::Success,
        result: vec![7; hapax_core::limits::RESULT_BYTES].into(),
        metadata: Metadata::default(),
    };
    let reason = Reason::new("seen").unwrap();
    let ask = ResolveAsk { address: address("k"), token, outcome: Some(outcome), retention_ms: None, reason };
    // On one address, so that none of them is answered by a read.
    for answer in ask_all(cluster.node(leader), vec![Ask::Resolve(ask); 40], 30_000).await {
        assert!(!matches!(answer.reply, Reply::Error(_)), "{:?}", answer.reply);
        assert_eq!(answer.witness.unwrap().basis, Basis::Applied, "it took an entry");
    }
    assert!(matches!(cluster.ask(leader, complete("k", token, "done")).await.reply, Reply::Completed(_)));
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_in_front_of_a_command_of_its_frame_sees_nothing_of_it() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let state_of = |answer: &hapax_core::Answer| match &answer.reply {
        Reply::State(view) => (view.state, view.attempt),
        other => panic!("{other:?}"),
    };
    // At the leader, and passed on to it in a frame larger than two messages together.
    for node in 0..3 {
        let keys: Vec<String> = (0..200).map(|n| format!("by-{node}-{n}")).collect();
        let one_key = |key: &String| {
            let asks = [get(key, 0), get(key, 0), claim(key, 1, 0), get(key, 0), claim(key, 2, 0)];
            asks.into_iter().collect::<Vec<_>>()
        };
        let answers = ask_all(cluster.node(node), keys.iter().flat_map(one_key).collect(), 30_000).await;
        for (key, told) in keys.iter().zip(answers.chunks(5)) {
            assert_eq!(state_of(&told[0]), (StateKind::Absent, 0), "{key}");
            assert_eq!(state_of(&told[1]), (StateKind::Absent, 0), "{key}");
            token_of(&told[2]);
            assert_eq!(state_of(&told[3]), (StateKind::Claimed, 1), "{key}");
            assert!(matches!(told[4].reply, Reply::InFlight(_)), "{key}: {:?}", told[4]);
        }
    }
    // While the lead is being confirmed for others, a get waits for the next time.
    let leader = cluster.node(cluster.leader_of(0).unwrap());
    for n in 0..200 {
        let key = format!("beside-{n}");
        let (_, told) = tokio::join!(
            ask_all(leader, vec![get("other", 0)], 30_000),
            ask_all(leader, vec![get(&key, 0), claim(&key, 1, 0)], 30_000)
        );
        assert_eq!(state_of(&told[0]), (StateKind::Absent, 0), "{key}");
        token_of(&told[1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_that_waits_does_not_hold_up_the_command_behind_it() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(1) }).await;
    let token = token_of(&cluster.ask(0, claim("k", 1, 0)).await);
    let asks = vec![get("k", 20_000), complete("k", token, "done")];
    let answers = ask_all(cluster.node(0), asks, 30_000).await;
    assert!(matches!(answers[1].reply, Reply::Completed(_)), "{:?}", answers[1]);
    match &answers[0].reply {
        Reply::State(view) => assert_eq!(view.state, StateKind::Completed),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_an_idle_shard_shows_what_has_lapsed_and_nothing_later_than_its_label() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(1) }).await;
    let Ask::Claim(short) = claim("k", 1, 0) else { panic!("no claim") };
    token_of(&cluster.ask(0, Ask::Claim(ClaimAsk { lease_ms: Some(1000), ..short.clone() })).await);
    let tenant = Tenant::new(short.address.tenant()).unwrap();
    let list = ListAsk { shard: 0, tenant, operation: None, state: None, after: None, limit: 10 };
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = cluster.ask(0, Ask::List(list.clone())).await;
        let Reply::Page(page) = &answer.reply else { panic!("{answer:?}") };
        let view = &page.rows[0].view;
        assert!(view.since <= answer.witness.map(|witness| witness.time), "{view:?}: {:?}", answer.witness);
        match view.state {
            StateKind::Open => return,
            state => assert_eq!(state, StateKind::Claimed),
        }
        assert!(Instant::now() < deadline, "a lapsed lease is not listed so");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_cluster_on_disk_has_everything_that_was_acknowledged() {
    let mut cluster = Cluster::form_with(Setup { on_disk: true, ..Setup::of(3) }).await;
    for n in 0..40 {
        let key = format!("k{n}");
        let token = token_of(&cluster.ask(n % 3, claim(&key, 1, 0)).await);
        let reply = cluster.ask(n % 3, complete(&key, token, &key)).await.reply;
        assert!(matches!(reply, Reply::Completed(_)), "{reply:?}");
    }
    for i in 0..3 {
        cluster.stop(i).await;
    }
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.wait_ready().await;
    for n in 0..40 {
        let key = format!("k{n}");
        match cluster.ask(n % 3, claim(&key, 2, 0)).await.reply {
            Reply::Replayed(replayed) => assert_eq!(replayed.result.as_slice(), key.as_bytes()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_read_is_labelled_so_and_never_says_that_something_was_not_seen() {
    let cluster = Cluster::form_with(Setup { shards: 1, wired: true, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let follower = (leader + 1) % 3;
    let stale = |key: &str| match get(key, 0) {
        Ask::Get(ask) => Ask::Get(GetAsk { stale: true, ..ask }),
        other => other,
    };
    let token = token_of(&cluster.ask(leader, claim("done", 1, 0)).await);
    token_of(&cluster.ask(leader, claim("running", 2, 0)).await);
    assert!(matches!(cluster.ask(leader, complete("done", token, "x")).await.reply, Reply::Completed(_)));
    cluster.check_agreement().await;
    cluster.isolate(follower, true);
    let told = ask_node(cluster.node(follower), stale("done"), 2_000).await;
    assert!(matches!(&told.reply, Reply::State(view) if view.state == StateKind::Completed), "{told:?}");
    assert_eq!(told.witness.expect("it was read").basis, Basis::Stale);
    for key in ["running", "unknown"] {
        refusal_of(&ask_node(cluster.node(follower), stale(key), 500).await);
    }
    let told = ask_node(cluster.node(leader), stale("done"), 2_000).await;
    assert_eq!(told.witness.expect("it was read").basis, Basis::Read, "the leader's answer is not stale");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_come_while_one_is_in_flight_cost_no_entry() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let before = cluster.homes[leader].observer.commands();
    let connections: Vec<_> = (0..300).map(|_| Connection::new()).collect();
    let calls = connections.iter().zip(1..).map(|(connection, n)| {
        connection.send(cluster.node(leader), vec![claim("hot", n, 0)], 10_000).remove(0).1
    });
    let calls: Vec<_> = calls.collect();
    let mut granted = 0;
    for call in calls {
        match answer(call).await.reply {
            Reply::Granted(_) => granted += 1,
            Reply::InFlight(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(granted, 1);
    assert_eq!(cluster.homes[leader].observer.commands() - before, 1, "only the grant was proposed");
}
