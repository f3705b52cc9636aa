//! What is sent again, what is not, and what an error may claim.

use crate::routing::{claim, nonces, spent};
use crate::world::{Act, CLUSTER, Event, World, accepts, refuse, tcp_client};
use hapax_client::request::ReleaseAsk;
use hapax_client::{ClaimReply, ClusterId, ErrorCode, Token, address};
use hapax_core::reply::{Granted, InFlight};
use hapax_core::{Ask, Refusal, Reply};
use std::time::Duration;

/// Answers the first copies with `acts`, then with a reply.
fn then_spent(mut acts: Vec<fn() -> Act>) -> impl FnMut(&crate::world::Seen) -> Act {
    acts.reverse();
    move |_| acts.pop().map_or_else(|| Act::Reply(spent()), |act| act())
}

#[tokio::test(start_paused = true)]
async fn whatever_may_pass_is_sent_again_with_the_same_nonce() {
    let acts: [fn() -> Act; 9] = [
        || Act::HangUp,
        || Act::Garbage,
        || Act::Unreadable,
        || Act::Silence,
        || refuse(ErrorCode::Unavailable, true),
        || refuse(ErrorCode::Unavailable, false),
        || refuse(ErrorCode::Overloaded, true),
        || refuse(ErrorCode::NotLeader, true),
        || refuse(ErrorCode::Deadline, false),
    ];
    for act in acts {
        let world = World::new(1, 1, then_spent(vec![act, act]));
        let client = world.default_client().await;
        let reply = client.claim(claim("a")).await.expect("it passed").reply;
        assert!(matches!(reply, ClaimReply::Spent(_)));
        let calls = world.calls();
        assert_eq!(calls.len(), 3);
        assert_eq!(nonces(&world).len(), 1);
        assert!(calls.iter().all(|seen| seen.request == calls[0].request), "copies are verbatim");
        assert!(
            calls
                .windows(2)
                .all(|pair| pair[1].deadline_ms < pair[0].deadline_ms || pair[0].deadline_ms == 4000)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_verbs_keep_their_token_over_copies() {
    let world = World::new(1, 1, |_| Act::HangUp);
    let client = world.default_client().await;
    let mut copies = 0;
    world.script(move |_| {
        copies += 1;
        if copies < 4 { Act::HangUp } else { Act::Reply(Reply::Released) }
    });
    let release =
        ReleaseAsk { address: address("t", "o", "k").expect("ok"), token: Token::from(7), reason: None };
    client.release(release.clone()).await.expect("the fourth copy was answered");
    assert_eq!(world.calls().len(), 4);
    assert!(world.calls().iter().all(|seen| seen.request.ask == Ask::Release(release.clone())));
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_surfaces_at_once() {
    for code in [
        ErrorCode::Invalid,
        ErrorCode::TooLarge,
        ErrorCode::Quota,
        ErrorCode::Forbidden,
        ErrorCode::TooLate,
        ErrorCode::Unauthenticated,
    ] {
        let world = World::new(1, 1, move |_| refuse(code, true));
        let client = world.default_client().await;
        let error = client.claim(claim("a")).await.expect_err("refused");
        assert_eq!((error.code(), error.is_definite()), (code, true));
        assert_eq!(world.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_field_at_fault_reaches_the_caller() {
    let invalid = hapax_core::Invalid::new("lease", "scripted");
    let world = World::new(1, 1, move |_| Act::Reply(Reply::Error(invalid.into())));
    let client = world.default_client().await;
    let error = client.claim(claim("a")).await.expect_err("refused");
    assert_eq!(error.field(), Some("lease"));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_definite_only_if_every_copy_was_definitely_refused() {
    // The first copy's outcome is unknown; what is refused afterwards is another copy.
    for first in [|| Act::HangUp, || Act::Silence, || refuse(ErrorCode::Unavailable, false)] {
        for last in [ErrorCode::Quota, ErrorCode::TooLate, ErrorCode::Unavailable] {
            let mut acts = vec![first as fn() -> Act];
            let script =
                move |_: &crate::world::Seen| acts.pop().map_or_else(|| refuse(last, true), |act| act());
            let world = World::new(1, 1, script);
            let client = world.default_client().await;
            let error = client.claim(claim("a")).await.expect_err("refused");
            assert_eq!((error.code(), error.is_definite()), (last, false));
        }
    }
    let world = World::new(1, 1, |_| refuse(ErrorCode::Unavailable, true));
    let client = world.default_client().await;
    let error = client.claim(claim("a")).await.expect_err("refused");
    assert!(error.is_definite(), "every copy was definitely refused");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_is_definite() {
    let world = World::new(1, 1, |_| Act::Silence);
    let client = world.default_client().await;
    world.set_down(0, true);
    world.until(1, |event| matches!(event, Event::Closed { .. })).await;
    let error = client.claim(claim("a")).await.expect_err("nobody is there");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::Unavailable, true));
    assert!(world.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_call_outlives_its_deadline() {
    for act in [|| Act::Silence, || Act::HangUp, || refuse(ErrorCode::Unavailable, false)] {
        let world = World::new(1, 1, move |_| act());
        let client = world.default_client().await;
        let before = tokio::time::Instant::now();
        let error = client.within(Duration::from_millis(2500)).claim(claim("a")).await.expect_err("late");
        assert!(!error.is_definite(), "a copy went out: {error}");
        assert!(before.elapsed() <= Duration::from_millis(2501), "{:?}", before.elapsed());
        assert!(world.calls()[0].deadline_ms <= 2500);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_cancelled() {
    let world = World::new(1, 1, |_| Act::Silence);
    let client = world.default_client().await;
    let running = tokio::spawn(async move { client.claim(claim("a")).await.map(drop) });
    world.until(1, |event| matches!(event, Event::Call(_))).await;
    running.abort();
    // The client went with the task; its connection must not close before the cancel is out.
    world.until(1, |event| matches!(event, Event::Cancel { .. } | Event::Closed { .. })).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_names_its_call() {
    let world = World::new(1, 1, |_| Act::Silence);
    let client = world.default_client().await;
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.claim(claim("a")).await.map(drop) }
    });
    world.until(1, |event| matches!(event, Event::Call(_))).await;
    running.abort();
    let seen = world.calls()[0].clone();
    let named =
        |event: &Event| matches!(event, Event::Cancel { conn, id } if (*conn, *id) == (seen.conn, seen.id));
    world.until(1, named).await;
    drop(client);
}

fn in_flight() -> Act {
    Act::Reply(Reply::InFlight(InFlight { attempt: 1, lease_left_ms: 500, retry_after_ms: 100 }))
}

pub(crate) fn granted(token: u64, lease_ms: u64) -> Reply {
    Reply::Granted(Granted {
        token: Token::from(token),
        attempt: 1,
        lease_ms,
        lease_left_ms: lease_ms,
        checkpoint: None,
        takeover: false,
        prior_mark: false,
        recovered: false,
        shadow_of: None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_asked_again_until_it_is_over() {
    let world = World::new(1, 1, |_| in_flight());
    let client = world.default_client().await;
    let before = tokio::time::Instant::now();
    let replied = client.claim(claim("a").wait(Duration::from_secs(3))).await.expect("answered");
    assert!(matches!(replied.reply, ClaimReply::InFlight(_)));
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_millis(3200), "{waited:?}");
    assert_eq!(nonces(&world).len(), 1);
    let waits: Vec<u64> = (world.calls().iter())
        .map(|seen| match &seen.request.ask {
            Ask::Claim(ask) => ask.wait_ms,
            _ => u64::MAX,
        })
        .collect();
    assert!(waits.is_sorted_by(|a, b| a > b), "what is left of the wait travels: {waits:?}");
    assert_eq!(waits[0], 3000);

    let world = World::new(1, 1, |_| in_flight());
    let client = world.default_client().await;
    client.claim(claim("a")).await.expect("answered");
    assert_eq!(world.calls().len(), 1, "without a wait nothing is asked again");
}

#[tokio::test(start_paused = true)]
async fn a_lease_counts_from_the_first_sending() {
    let world = World::new(1, 1, then_spent(vec![]));
    let mut copies = 0;
    world.script(move |_| {
        copies += 1;
        if copies == 1 { Act::Silence } else { Act::Reply(granted(7, 30_000)) }
    });
    let client = world.default_client().await;
    let before = tokio::time::Instant::now();
    let replied = client.claim(claim("a")).await.expect("answered");
    assert!(before.elapsed() >= Duration::from_secs(4), "the first copy went unanswered");
    assert_eq!(replied.sent, before);
    assert_eq!(replied.act_until(), Some(before + Duration::from_secs(27)));
}

#[tokio::test(start_paused = true)]
async fn the_first_cluster_met_is_the_one_kept_to() {
    let world = World::new(2, 1, |_| Act::Reply(spent()));
    let client = world.default_client().await;
    assert_eq!(client.cluster(), Some(CLUSTER));
    world.set_down(0, true);
    world.until(1, |event| matches!(event, Event::Closed { node: 0 })).await;
    world.set_down(0, false);
    client.claim(claim("a")).await.expect("answered");
    let last = world.events().into_iter().rev().find_map(|event| match event {
        Event::Hello { cluster } => Some(cluster),
        _ => None,
    });
    assert_eq!(last, Some(Some(CLUSTER)));

    let mut config = world.config();
    config.cluster = Some(ClusterId([9; 16]));
    let error = world.client(config).await.expect_err("another cluster");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::WrongCluster, true));
}

#[tokio::test(start_paused = true)]
async fn a_refused_greeting_surfaces_with_its_code() {
    let world = World::new(1, 1, |_| Act::Silence);
    *world.refuse.lock() = Some(Refusal::indefinite(ErrorCode::Version, "scripted"));
    let before = tokio::time::Instant::now();
    let error = world.client(world.config()).await.expect_err("refused");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::Version, true));
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_that_calls_alone() {
    let mut calls = 0;
    let world = World::new(1, 1, move |_| {
        calls += 1;
        if calls == 1 { Act::Unreadable } else { Act::Reply(spent()) }
    });
    let client = world.default_client().await;
    client.claim(claim("a")).await.expect("the second copy was answered");
    assert_eq!((world.calls().len(), client.counters().connects), (2, 1), "the connection lives on");
}

#[tokio::test]
async fn faults_on_real_sockets_pass_too() {
    let acts: Vec<fn() -> Act> = vec![|| Act::HangUp, || Act::Garbage, || Act::Dribble(spent())];
    let world = World::over_tcp(2, 4, then_spent(acts)).await;
    let client = tcp_client(world.config()).await;
    assert!(matches!(client.claim(claim("a")).await.expect("it passed").reply, ClaimReply::Spent(_)));
    assert_eq!(world.calls().len(), 3);
    assert_eq!(nonces(&world).len(), 1);
    assert!(accepts(&world.addr(1)).await);
    drop(client);
    world.until(2, |event| matches!(event, Event::Closed { .. })).await;
}
