//! What happens while a quorum is missing, and to leaders and followers that are cut off.

use crate::asks::{
    Connection, answer, ask_all, ask_node, claim, claim_for, complete, get, is_definite, refusal_of, token_of,
};
use crate::harness::{Cluster, Setup};
use hapax_core::{ErrorCode, Reply, StateKind, Token};
use hapax_raft::config::NodeLimits;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn wired() -> Setup {
    Setup { shards: 1, wired: true, ..Setup::of(3) }
}

/// How late an answer may be after its deadline.
const SLACK: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_every_call_is_refused_by_its_own_deadline_and_the_shard_comes_back() {
    let mut cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let token = token_of(&cluster.ask(leader, claim("held", 1, 0)).await);
    for i in (0..3).filter(|i| *i != leader) {
        cluster.cut_power(i, 7);
    }
    // A long call comes first: the short ones behind it must not wait for it.
    let node = cluster.node(leader);
    let connection = Connection::new();
    let long = connection.send(node, vec![claim("new", 2, 0), get("held", 0)], 6_000);
    sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    let mut answers = ask_all(node, vec![get("held", 0), claim("other", 4, 0), get("new", 0)], 1_000).await;
    // In flight, commands on one address are answered by no read.
    answers.extend(ask_all(node, vec![complete("held", token, "x"), claim("held", 3, 0)], 1_000).await);
    assert!(started.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", started.elapsed());
    for (n, answer) in answers.iter().enumerate() {
        let refusal = refusal_of(answer);
        assert!(
            matches!(refusal.code, ErrorCode::Unavailable | ErrorCode::Deadline),
            "call {n}: {refusal:?}"
        );
    }
    for read in [&answers[0], &answers[2]] {
        assert!(refusal_of(read).definite, "what was never proposed is definite: {read:?}");
    }
    for (_, receiver) in long {
        refusal_of(&answer(receiver).await);
    }
    assert!(started.elapsed() < Duration::from_secs(6) + SLACK, "{:?}", started.elapsed());
    for i in (0..3).filter(|i| *i != leader) {
        cluster.start(i).await;
    }
    cluster.wait_ready().await;
    match cluster.ask(leader, get("held", 0)).await.reply {
        Reply::State(view) => assert!(matches!(view.state, StateKind::Claimed | StateKind::Completed)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(cluster.ask(leader, claim("after", 5, 0)).await.reply, Reply::Granted(_)));
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_sends_nobody_back_to_itself() {
    let mut cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    for i in (0..3).filter(|i| *i != leader) {
        cluster.cut_power(i, 7);
    }
    // Until its lease has expired, and after.
    for n in 0..20 {
        let refused = ask_node(cluster.node(leader), claim(&format!("k-{n}"), 1, 0), 150).await;
        let refusal = refusal_of(&refused);
        assert_eq!(refusal.hint, None, "{refusal:?}");
        assert!(matches!(refusal.code, ErrorCode::Unavailable | ErrorCode::Deadline), "{refusal:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_serves_again_soon_after_its_leader_has_lost_its_power() {
    let mut cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    cluster.cut_power(leader, 7);
    let dead = Instant::now();
    let reply = cluster.insist((leader + 1) % 3, claim("k", 1, 0)).await;
    assert!(matches!(reply, Reply::Granted(_)), "{reply:?}");
    assert!(dead.elapsed() < Duration::from_secs(5), "{:?}", dead.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gathers_without_a_quorum_is_bounded() {
    let limits = NodeLimits { queued_calls_per_shard: 10, ..NodeLimits::default() };
    let mut cluster = Cluster::form_with(Setup { shards: 1, limits, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    token_of(&cluster.ask(leader, claim("held", 1, 0)).await);
    for i in (0..3).filter(|i| *i != leader) {
        cluster.cut_power(i, 7);
    }
    for ask in [|_: u64| get("held", 0), |n| claim(&format!("new-{n}"), 1, 0)] {
        let calls: Vec<_> = (0..40)
            .map(|n| Connection::new().send(cluster.node(leader), vec![ask(n)], 1_500).remove(0).1)
            .collect();
        let mut overloaded = 0;
        for call in calls {
            let refused = answer(call).await;
            let full = refusal_of(&refused).code == ErrorCode::Overloaded;
            assert!(!full || refusal_of(&refused).definite);
            overloaded += usize::from(full);
        }
        // Ten in line, ten being confirmed, and four entries on their way hold the rest.
        assert!((10..=30).contains(&overloaded), "{overloaded} of 40");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definite_refusal_without_a_quorum_had_no_effect_and_an_open_one_is_called_so() {
    let cluster = Cluster::form_with(wired()).await;
    let leader = cluster.leader_of(0).unwrap();
    cluster.isolate(leader, true);
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    let asks = keys.iter().map(|key| claim(key, 1, 0)).collect();
    let answers = ask_all(cluster.node(leader), asks, 700).await;
    cluster
        .wait("another leads", |cluster| (0..3).any(|i| i != leader && cluster.node(i).node.leads(0)))
        .await;
    let other = (0..3).find(|i| *i != leader && cluster.node(*i).node.leads(0)).unwrap();
    let definite: Vec<bool> = answers.iter().map(|answer| refusal_of(answer).definite).collect();
    assert!(definite.contains(&false), "what was proposed and not confirmed is open: {answers:?}");
    cluster.isolate(leader, false);
    cluster.wait_ready().await;
    for (key, definite) in keys.iter().zip(definite) {
        match cluster.ask(other, get(key, 0)).await.reply {
            Reply::State(view) if definite => assert_eq!(view.state, StateKind::Absent, "{key}"),
            Reply::State(_) => {}
            other => panic!("{other:?}"),
        }
    }
    cluster.check_agreement().await;
}

/// A call of an entry that is on its way gives up; its neighbours must get their own replies, not those of
/// the commands before them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_gives_up_leaves_each_neighbour_its_own_reply() {
    let cluster = Cluster::form_with(wired()).await;
    for n in 0..10 {
        let leader = cluster.leader_of(0).unwrap();
        let (held, fresh) = (format!("held-{n}"), format!("fresh-{n}"));
        let granted = cluster.ask(leader, claim(&held, 1, 0)).await;
        cluster.isolate(leader, true);
        let calls = vec![(complete(&held, token_of(&granted), "x"), 100), (claim(&fresh, 2, 0), 10_000)];
        let mut calls = Connection::new().send_each(cluster.node(leader), calls);
        let late = answer(calls.remove(0).1).await;
        cluster.isolate(leader, false);
        assert!(!refusal_of(&late).definite, "{late:?}");
        let answered = answer(calls.remove(0).1).await;
        match &answered.reply {
            Reply::Granted(granted) => {
                let witness = answered.witness.expect("it was applied");
                assert_eq!(Token::of_grant(0, witness.index, witness.position), Some(granted.token));
                return;
            }
            // Another leads by now: once more.
            Reply::Error(_) => cluster.wait_ready().await,
            other => panic!("the reply of another command: {other:?}"),
        }
    }
    panic!("the entry was never confirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_never_grants_and_never_answers_a_read() {
    let cluster = Cluster::form_with(wired()).await;
    let old = cluster.leader_of(0).unwrap();
    let token = token_of(&cluster.ask(old, claim_for("k", 1, 0, Some(60_000))).await);
    cluster.isolate(old, true);
    let connection = Connection::new();
    let out = connection.send(cluster.node(old), vec![claim("out", 9, 0)], 30_000).remove(0).1;
    cluster.wait("another leads", |cluster| (0..3).any(|i| i != old && cluster.node(i).node.leads(0))).await;
    let new = (0..3).find(|i| *i != old && cluster.node(*i).node.leads(0)).unwrap();
    // The old one may still think that it leads: what it says now must not contradict the new one.
    let completed = ask_node(cluster.node(new), complete("k", token, "new"), 10_000).await;
    assert!(matches!(completed.reply, Reply::Completed(_)), "{completed:?}");
    let fresh = ask_node(cluster.node(new), claim("fresh", 2, 0), 10_000).await;
    assert!(matches!(fresh.reply, Reply::Granted(_)), "{fresh:?}");
    let asks = vec![
        get("k", 0),
        claim("k", 3, 0),
        claim("fresh", 4, 0),
        claim("third", 5, 0),
        complete("k", token, "old"),
    ];
    for _ in 0..3 {
        for stale in ask_all(cluster.node(old), asks.clone(), 500).await {
            refusal_of(&stale);
        }
    }
    cluster.isolate(old, false);
    let healed = Instant::now();
    let told = answer(out).await;
    assert!(!refusal_of(&told).definite, "its entry was out: {told:?}");
    assert!(healed.elapsed() < Duration::from_secs(10), "told long before its deadline");
    cluster.wait_ready().await;
    match cluster.ask(old, claim("k", 6, 0)).await.reply {
        Reply::Replayed(replayed) => assert_eq!(replayed.result.as_slice(), b"new"),
        other => panic!("{other:?}"),
    }
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_heard_and_hears_nobody_does_not_keep_the_shard_to_itself() {
    let cluster = Cluster::form_with(wired()).await;
    let deaf = cluster.leader_of(0).unwrap();
    cluster.deafen(deaf, true);
    let cut = Instant::now();
    cluster.wait("another leads", |cluster| (0..3).any(|i| i != deaf && cluster.node(i).node.leads(0))).await;
    assert!(cut.elapsed() < Duration::from_secs(10), "{:?}", cut.elapsed());
    let other = (deaf + 1) % 3;
    assert!(matches!(cluster.ask(other, claim("k", 1, 0)).await.reply, Reply::Granted(_)));
    cluster.deafen(deaf, false);
    cluster.wait_ready().await;
    assert!(matches!(cluster.ask(deaf, claim("l", 1, 0)).await.reply, Reply::Granted(_)));
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_comes_back_from_a_cut_does_not_disturb_its_leader() {
    let cluster = Cluster::form_with(wired()).await;
    let leader = cluster.leader_of(0).unwrap();
    sleep(Duration::from_secs(1)).await;
    let term = cluster.replica(leader, 0).unwrap().term;
    let away = (leader + 1) % 3;
    for rounds in 0..2 {
        // Once cut both ways, once able to hear and not to speak.
        if rounds == 0 {
            cluster.isolate(away, true)
        } else {
            cluster.mute(away, true)
        }
        let cut = Instant::now();
        while cut.elapsed() < Duration::from_millis(2_500) {
            let key = format!("{rounds}-{}", cut.elapsed().as_millis());
            let granted = ask_node(cluster.node(leader), claim(&key, 1, 0), 5_000).await;
            assert!(matches!(granted.reply, Reply::Granted(_)), "{granted:?}");
            sleep(Duration::from_millis(50)).await;
        }
        if rounds == 0 {
            cluster.isolate(away, false)
        } else {
            cluster.mute(away, false)
        }
        cluster
            .wait("the follower has caught up", |cluster| {
                let (here, there) = (cluster.replica(leader, 0).unwrap(), cluster.replica(away, 0).unwrap());
                here.applied_index == there.applied_index && there.leader.is_some()
            })
            .await;
        assert_eq!(cluster.leader_of(0), Some(leader));
        assert_eq!(cluster.replica(leader, 0).unwrap().term, term, "its term did not move");
    }
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_way_to_the_leader_is_cut_answers_by_the_deadline_of_each_forwarded_call() {
    let cluster = Cluster::form_with(wired()).await;
    let leader = cluster.leader_of(0).unwrap();
    let far = (leader + 1) % 3;
    cluster.isolate(leader, true);
    let started = Instant::now();
    let connection = Connection::new();
    let long = connection.send(cluster.node(far), vec![claim("long", 1, 0)], 3_000).remove(0).1;
    let short = connection.send(cluster.node(far), vec![claim("short", 2, 0)], 300).remove(0).1;
    let short = answer(short).await;
    assert!(started.elapsed() < Duration::from_millis(300) + SLACK, "{:?}", started.elapsed());
    assert!(!refusal_of(&short).definite || is_definite(&short, ErrorCode::Unavailable), "{short:?}");
    let long = answer(long).await;
    assert!(started.elapsed() < Duration::from_secs(3) + SLACK, "{:?}", started.elapsed());
    refusal_of(&long);
    cluster.isolate(leader, false);
    cluster.wait_ready().await;
}
