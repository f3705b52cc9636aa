//! Where calls go: to the leader, to whom it is said to be, and elsewhere when nobody is there.

use crate::world::{Act, Event, World, not_leader, refuse};
use hapax_client::{ClaimReply, ClaimRequest, Client, ErrorCode, Reply, address};
use hapax_core::reply::SpentReply;
use hapax_core::{LogTime, Nonce, Request};
use std::collections::HashSet;
use std::time::Duration;

pub(crate) fn spent() -> Reply {
    Reply::Spent(SpentReply { class: None, completed_at: LogTime(5) })
}

pub(crate) fn claim(key: &str) -> ClaimRequest {
    ClaimRequest::new(address("t", "o", key).expect("well formed"))
}

async fn claimed(client: &Client, key: &str) -> ClaimReply {
    client.claim(claim(key)).await.expect("answered").reply
}

/// The nonces of all copies of claims that arrived.
pub(crate) fn nonces(world: &World) -> HashSet<Nonce> {
    let nonce = |request: &Request| match &request.ask {
        hapax_core::Ask::Claim(ask) => Some(ask.nonce),
        _ => None,
    };
    world.calls().iter().filter_map(|seen| nonce(&seen.request)).collect()
}

fn nodes_asked(world: &World) -> Vec<usize> {
    world.calls().iter().map(|seen| seen.node).collect()
}

#[tokio::test(start_paused = true)]
async fn each_shard_is_asked_of_its_own_leader() {
    let world = World::new(3, 12, |_| Act::Reply(spent()));
    for (shard, leader) in (0..12).zip([1, 2, 3].into_iter().cycle()) {
        world.table.lock().shards[shard].leader = Some(leader);
    }
    let client = world.default_client().await;
    for i in 0..60 {
        claimed(&client, &format!("k{i}")).await;
    }
    for seen in world.calls() {
        let shard = seen.request.ask.shard(12) as usize;
        assert_eq!(seen.node, shard % 3, "shard {shard}");
    }
    let asked: HashSet<usize> = nodes_asked(&world).into_iter().collect();
    assert_eq!(asked.len(), 3);
    assert_eq!(client.counters().redirects, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_followed_at_once_and_remembered() {
    let world = World::new(3, 1, |seen| match seen.node {
        2 => Act::Reply(spent()),
        _ => not_leader("node-2:1"),
    });
    let client = world.default_client().await;
    let before = tokio::time::Instant::now();
    claimed(&client, "a").await;
    assert_eq!(before.elapsed(), Duration::ZERO, "a hint needs no pause");
    claimed(&client, "b").await;
    assert_eq!(nodes_asked(&world), [0, 2, 2]);
    assert_eq!(nonces(&world).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_point_at_each_other_are_asked_at_a_measured_pace() {
    let world = World::new(2, 1, |seen| not_leader(if seen.node == 0 { "node-1:1" } else { "node-0:1" }));
    let client = world.default_client().await;
    let error = client.within(Duration::from_secs(5)).claim(claim("a")).await.expect_err("nobody leads");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::Unavailable, true));
    // Five copies a round and pauses up to a fifth of a second: far from a storm.
    let copies = world.calls().len();
    assert!((20..300).contains(&copies), "{copies} copies in 5 s");
    assert_eq!(nonces(&world).len(), 1);
}

/// The time ran out while the table was asked for: what the copy before that met with is the reason, not that there
/// was no time for another copy.
#[tokio::test(start_paused = true)]
async fn a_call_without_time_for_another_copy_tells_what_the_last_one_met_with() {
    let world = World::new(1, 1, |_| Act::Reply(spent()));
    let client = world.default_client().await;
    let falls_silent = std::sync::Arc::downgrade(&world);
    world.script(move |_| {
        falls_silent.upgrade().expect("the test holds it").deaf.send_replace(true);
        refuse(ErrorCode::Unavailable, true)
    });
    let error = client.within(Duration::from_secs(1)).claim(claim("a")).await.expect_err("refused");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::Unavailable, true), "{error}");
    assert_eq!(error.text(), "scripted");
    assert_eq!(nodes_asked(&world).len(), 1, "there was time for one copy");
}

/// A copy that began right before the end was too late for the node, or was not sent at all: that is not why.
#[tokio::test(start_paused = true)]
async fn a_copy_that_was_only_too_late_does_not_hide_what_the_one_before_it_met_with() {
    let world = World::new(1, 1, |_| refuse(ErrorCode::Deadline, true));
    let client = world.default_client().await;
    let within = client.within(Duration::from_secs(1));
    let error = within.claim(claim("a")).await.expect_err("refused");
    assert_eq!(
        (error.code(), error.is_definite()),
        (ErrorCode::Deadline, true),
        "nothing else was met with: {error}"
    );
    let mut copies = 0;
    world.script(move |_| {
        copies += 1;
        refuse(if copies == 1 { ErrorCode::Unavailable } else { ErrorCode::Deadline }, true)
    });
    let error = within.claim(claim("b")).await.expect_err("refused");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::Unavailable, true), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_table_sent_unasked_moves_later_calls() {
    let world = World::new(2, 1, |seen| if seen.node == 0 { Act::Silence } else { Act::Reply(spent()) });
    let client = world.default_client().await;
    let mut table = world.table.lock().clone();
    table.shards[0].leader = Some(2);
    world.push_table(table);
    while client.table().shards[0].leader != Some(2) {
        tokio::task::yield_now().await;
    }
    claimed(&client, "a").await;
    assert_eq!(nodes_asked(&world), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_be_reached_is_looked_for_elsewhere() {
    let world = World::new(3, 1, |seen| match seen.node {
        1 => not_leader("node-2:1"),
        _ => Act::Reply(spent()),
    });
    let client = world.default_client().await;
    claimed(&client, "a").await;
    world.set_down(0, true);
    world.until(1, |event| matches!(event, Event::Closed { node: 0 })).await;
    claimed(&client, "b").await;
    assert_eq!(nodes_asked(&world).last(), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn a_lost_leader_without_a_hint_is_learnt_from_the_table() {
    let world = World::new(3, 1, |seen| match seen.node {
        2 => Act::Reply(spent()),
        _ => refuse(ErrorCode::Unavailable, true),
    });
    let client = world.default_client().await;
    world.table.lock().shards[0].leader = Some(3);
    claimed(&client, "a").await;
    assert_eq!(nodes_asked(&world).first(), Some(&0));
    assert_eq!(nodes_asked(&world).last(), Some(&2));
    assert!(world.count(|event| matches!(event, Event::TableAsk)) > 3, "the table was asked for again");
}

#[tokio::test(start_paused = true)]
async fn any_one_living_seed_is_enough() {
    let world = World::new(5, 4, |_| Act::Reply(spent()));
    for node in 0..4 {
        world.set_down(node, true);
    }
    world.table.lock().shards.iter_mut().for_each(|shard| shard.leader = Some(5));
    let client = world.default_client().await;
    claimed(&client, "a").await;
    assert_eq!(nodes_asked(&world), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_comes_up_late_is_waited_for() {
    let world = World::new(1, 1, |_| Act::Reply(spent()));
    world.set_down(0, true);
    let connecting = tokio::spawn({
        let world = std::sync::Arc::clone(&world);
        async move { world.client(world.config()).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.set_down(0, false);
    connecting.await.expect("no panic").expect("connected before its 10 s were over");
}

#[tokio::test(start_paused = true)]
async fn connecting_to_nothing_ends_with_a_definite_error() {
    let world = World::new(2, 1, |_| Act::Silence);
    world.set_down(0, true);
    world.set_down(1, true);
    let before = tokio::time::Instant::now();
    let error = world.client(world.config()).await.expect_err("nothing is there");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::Unavailable, true));
    assert!(before.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_still_forming_is_waited_for() {
    let world = World::new(1, 1, |_| Act::Reply(spent()));
    let formed = world.table.lock().clone();
    world.table.lock().shards.clear();
    let connecting = tokio::spawn({
        let world = std::sync::Arc::clone(&world);
        async move { world.default_client().await }
    });
    world.until(3, |event| matches!(event, Event::TableAsk)).await;
    *world.table.lock() = formed;
    let client = connecting.await.expect("it connected once there was a table");
    claimed(&client, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_full_node_is_not_asked_for_the_table_over_and_over() {
    let world = World::new(1, 1, |_| refuse(ErrorCode::Overloaded, true));
    let client = world.default_client().await;
    let before = world.count(|event| matches!(event, Event::TableAsk));
    let error = client.claim(claim("a")).await.expect_err("full");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::Overloaded, true));
    assert!(world.calls().len() > 5);
    assert_eq!(world.count(|event| matches!(event, Event::TableAsk)), before);
}

#[tokio::test(start_paused = true)]
async fn a_stale_read_spreads_over_the_replicas_and_ends_at_the_leader() {
    let view = hapax_client::View {
        state: hapax_client::StateKind::Absent,
        token: hapax_client::Token::NONE,
        attempt: 0,
        since: None,
        until: None,
        marked: false,
        class: None,
        detail: None,
    };
    let shown = view.clone();
    let world = World::new(3, 1, move |_| Act::Reply(Reply::State(Box::new(shown.clone()))));
    let client = world.default_client().await;
    let get = |stale| {
        let address = address("t", "o", "k").expect("ok");
        client.get(hapax_client::request::GetAsk { address, fingerprint: None, wait_ms: 0, stale })
    };
    for _ in 0..6 {
        get(true).await.expect("answered");
    }
    let asked: HashSet<usize> = nodes_asked(&world).into_iter().collect();
    assert_eq!(asked.len(), 3, "every replica took its share");
    get(false).await.expect("answered");
    assert_eq!(nodes_asked(&world).last(), Some(&0), "a plain read goes to the leader");

    // A replica that cannot answer costs one redirect and no pause.
    world.script(move |seen| match seen.node {
        0 => Act::Reply(Reply::State(Box::new(view.clone()))),
        _ => not_leader("node-0:1"),
    });
    let (before, asked) = (tokio::time::Instant::now(), world.calls().len());
    for _ in 0..6 {
        get(true).await.expect("answered");
        assert_eq!(nodes_asked(&world).last(), Some(&0));
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(world.calls().len() - asked, 10, "four of six went by way of a replica");
}
