//! How calls travel: pipelined, gathered into frames, bounded, on connections that are watched.

use crate::routing::{claim, spent};
use crate::world::{Act, Event, World};
use futures_util::future::join_all;
use hapax_client::request::{CompleteAsk, ReleaseAsk, RenewAsk};
use hapax_client::{Blob, ErrorCode, ListRequest, Metadata, Outcome, OutcomeClass, Tenant, Token, address};
use hapax_core::reply::Replayed;
use hapax_core::view::{Page, Row};
use hapax_core::{Ask, LogTime, Reply, StateKind, View};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

fn frames(world: &World) -> Vec<usize> {
    let calls = world.events().into_iter().filter_map(|event| match event {
        Event::Frame { calls } => Some(calls),
        _ => None,
    });
    calls.collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_together_travels_together() {
    let world = World::new(1, 4, |_| Act::Reply(spent()));
    let client = world.default_client().await;
    let calls = (0..3000).map(|i| {
        let client = client.clone();
        async move { client.claim(claim(&format!("k{i}"))).await }
    });
    for answer in join_all(calls).await {
        answer.expect("answered");
    }
    let frames = frames(&world);
    assert_eq!(frames.iter().sum::<usize>(), 3000);
    assert!(frames.len() <= 8, "3000 calls went in {} frames", frames.len());
    assert!(frames.iter().all(|calls| *calls <= 1024));
    assert_eq!(client.counters().connects, 1);
}

#[tokio::test(start_paused = true)]
async fn large_calls_are_split_over_frames() {
    let world = World::new(1, 1, |_| Act::Reply(Reply::Fenced));
    let client = world.default_client().await;
    let result = vec![1_u8; 256 * 1024];
    let completes = (0..12).map(|i| {
        let outcome = Outcome {
            class: OutcomeClass::Success,
            result: Blob::from(&result[..]),
            metadata: Metadata::default(),
        };
        let address = address("t", "o", format!("k{i}")).expect("ok");
        client.complete(CompleteAsk { address, token: Token::from(1), outcome, retention_ms: None })
    });
    for answer in join_all(completes).await {
        answer.expect("answered");
    }
    assert_eq!(frames(&world), [3, 3, 3, 3]);
}

#[tokio::test(start_paused = true)]
async fn answers_may_come_in_any_order() {
    let held: Arc<Mutex<Vec<oneshot::Sender<Reply>>>> = Arc::default();
    let world = World::new(1, 1, {
        let held = Arc::clone(&held);
        move |_| {
            let (tell, told) = oneshot::channel();
            held.lock().push(tell);
            Act::Later(told)
        }
    });
    let client = world.default_client().await;
    let running: Vec<_> = (0..3)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move { client.claim(claim(&format!("k{i}"))).await })
        })
        .collect();
    world.until(3, |event| matches!(event, Event::Call(_))).await;
    let order: Vec<Vec<u8>> =
        world.calls().iter().map(|seen| seen.request.ask.address().expect("one").key().to_vec()).collect();
    let told: Vec<_> = held.lock().drain(..).collect();
    for (key, tell) in order.iter().zip(told).rev() {
        tell.send(crate::trust::granted(u64::from(key[1]), 1000)).expect("still waited for");
    }
    for (i, running) in (b'0'..).zip(running) {
        let replied = running.await.expect("no panic").expect("answered");
        let answer = replied.into_answer();
        assert!(
            matches!(answer.reply, Reply::Granted(granted) if granted.token == Token::from(u64::from(i)))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_more_than_the_bound_is_refused_definitely() {
    let world = World::new(1, 1, |_| Act::Silence);
    let mut config = world.config();
    config.max_in_flight = 8;
    let client = world.client(config).await.expect("welcome");
    let running: Vec<_> = (0..8)
        .map(|i| {
            let client = client.clone();
            tokio::spawn(async move { client.claim(claim(&format!("k{i}"))).await.map(drop) })
        })
        .collect();
    world.until(8, |event| matches!(event, Event::Call(_))).await;
    let error = client.claim(claim("more")).await.expect_err("over the bound");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::Overloaded, true));
    assert_eq!(world.calls().len(), 8);
    // A cancelled call counts until the node answers it, as it does on the node.
    running[0].abort();
    world.until(1, |event| matches!(event, Event::Cancel { .. })).await;
    let error = client.claim(claim("more")).await.expect_err("over the bound");
    assert_eq!(error.code(), ErrorCode::Overloaded);
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn what_a_stuck_connection_never_took_is_definite() {
    let world = World::new(1, 1, |_| Act::Reply(Reply::Fenced));
    let mut config = world.config();
    config.ping_after = Duration::from_secs(3600);
    let client = world.client(config).await.expect("welcome").within(Duration::from_secs(2));
    world.deaf.send_replace(true);
    let large = (0..4).map(|i| {
        let outcome = Outcome {
            class: OutcomeClass::Success,
            result: Blob::from(vec![1; 256 * 1024]),
            metadata: Metadata::default(),
        };
        let address = address("t", "o", format!("k{i}")).expect("ok");
        client.complete(CompleteAsk { address, token: Token::from(1), outcome, retention_ms: None })
    });
    let behind = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.claim(claim("behind")).await.expect_err("the node does not read")
    };
    let (large, behind) = tokio::join!(join_all(large), behind);
    assert!(!large[0].as_ref().expect_err("unanswered").is_definite(), "the first was on its way");
    assert_eq!((behind.code(), behind.is_definite()), (ErrorCode::Deadline, true));
    world.deaf.send_replace(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!world.calls().is_empty());
    assert!(world.calls().iter().all(|seen| seen.request.ask.name() == "complete"));
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_node_never_answers_do_not_hold_their_places_for_ever() {
    let world = World::new(1, 1, |_| Act::Silence);
    let mut config = world.config();
    config.max_in_flight = 8;
    let client = world.client(config).await.expect("welcome").within(Duration::from_secs(2));
    let calls = (0..8).map(|i| client.claim(claim(&format!("k{i}"))));
    let refused = join_all(calls).await.into_iter().map(|answer| answer.expect_err("unanswered"));
    assert!(refused.into_iter().all(|error| !error.is_definite()));
    world.script(|_| Act::Reply(spent()));
    let error = client.claim(claim("more")).await.expect_err("the node may count them still");
    assert_eq!(error.code(), ErrorCode::Overloaded);
    tokio::time::sleep(Duration::from_secs(10)).await;
    client.claim(claim("more")).await.expect("answered");
    assert_eq!(client.counters().connects, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_asked_whether_it_lives() {
    let world = World::new(1, 1, |_| Act::Reply(spent()));
    let client = world.default_client().await;
    world.until(3, |event| matches!(event, Event::Ping)).await;
    assert_eq!(world.count(|event| matches!(event, Event::Connected)), 1);
    *world.mute.lock() = true;
    world.until(1, |event| matches!(event, Event::Closed { .. })).await;
    *world.mute.lock() = false;
    client.claim(claim("a")).await.expect("answered on a new connection");
    assert_eq!(client.counters().connects, 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_falls_silent_is_found_out_before_the_deadline() {
    let world = World::new(2, 1, |seen| if seen.node == 0 { Act::Silence } else { Act::Reply(spent()) });
    *world.mute.lock() = true;
    let mut config = world.config();
    config.attempt_timeout = Duration::from_secs(3600);
    let client = world.client(config).await.expect("welcome");
    let before = tokio::time::Instant::now();
    client.claim(claim("a")).await.expect("the other node answered");
    let took = before.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_is_dialled_at_a_measured_pace() {
    let world = World::new(1, 1, |_| Act::Reply(spent()));
    let client = world.default_client().await;
    world.set_down(0, true);
    world.until(1, |event| matches!(event, Event::Closed { .. })).await;
    let many = (0..50).map(|i| {
        let client = client.clone();
        async move { client.claim(claim(&format!("k{i}"))).await }
    });
    let came_back = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        world.set_down(0, false);
    };
    let (answers, ()) = tokio::join!(join_all(many), came_back);
    assert!(answers.iter().all(Result::is_ok), "all went through once it was back");
    assert_eq!(client.counters().connects, 2, "they share one connection");
    // From 50 ms doubling to 2 s, at least half of each pause: fifty callers make no more of it.
    let refused = world.count(|event| matches!(event, Event::Refused));
    assert!((3..=14).contains(&refused), "dialled {refused} times in 4 s");
}

#[tokio::test(start_paused = true)]
async fn a_batch_keeps_its_order_on_one_address_and_answers_in_place() {
    let world = World::new(1, 4, |_| Act::Silence);
    let mut failures = 2;
    world.script(move |_| {
        failures -= i32::from(failures > 0);
        if failures > 0 { Act::HangUp } else { Act::Reply(Reply::Released) }
    });
    let client = world.default_client().await;
    let release = |key: &str, token: u64| {
        let address = address("t", "o", key).expect("ok");
        Ask::Release(ReleaseAsk { address, token: Token::from(token), reason: None })
    };
    let asks = vec![release("a", 1), release("b", 2), release("a", 3), release("a", 4)];
    let answers = client.batch(asks).await.expect("within the bound");
    assert_eq!(answers.len(), 4);
    assert!(answers.iter().all(Result::is_ok));
    let mut tokens: Vec<u64> = (world.calls().iter())
        .filter_map(|seen| match &seen.request.ask {
            Ask::Release(ask) if ask.address.key() == b"a" => Some(ask.token.as_u64()),
            _ => None,
        })
        .collect();
    tokens.dedup();
    assert_eq!(tokens, [1, 3, 4]);
    let many = vec![release("a", 1); 1025];
    let error = client.batch(many).await.expect_err("too many");
    assert_eq!((error.code(), error.field()), (ErrorCode::TooLarge, Some("batch")));
}

#[tokio::test(start_paused = true)]
async fn a_batch_sends_nothing_behind_a_verb_in_doubt() {
    let world = World::new(1, 1, |_| Act::HangUp);
    let client = world.default_client().await.within(Duration::from_secs(1));
    let release = |token: u64| {
        let address = address("t", "o", "a").expect("ok");
        Ask::Release(ReleaseAsk { address, token: Token::from(token), reason: None })
    };
    let answers = client.batch(vec![release(1), release(2)]).await.expect("within the bound");
    let definite: Vec<bool> =
        answers.iter().map(|answer| answer.as_ref().expect_err("refused").is_definite()).collect();
    assert_eq!(definite, [false, true]);
    assert!(world.calls().iter().all(|seen| seen.request.ask == release(1)));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_not_sent() {
    let world = World::new(1, 1, |_| Act::Silence);
    let client = world.default_client().await;
    let address = address("t", "o", "k").expect("ok");
    let outcome = |result: usize, header: usize| Outcome {
        class: OutcomeClass::Success,
        result: Blob::from(vec![0; result]),
        metadata: Metadata { headers: vec![("h".to_owned(), "v".repeat(header))], ..Metadata::default() },
    };
    let complete = |outcome| {
        let ask =
            CompleteAsk { address: address.clone(), token: Token::from(1), outcome, retention_ms: None };
        client.complete(ask)
    };
    let error = complete(outcome(256 * 1024 + 1, 0)).await.expect_err("too large");
    assert_eq!((error.code(), error.field()), (ErrorCode::TooLarge, Some("result")));
    let error = complete(outcome(0, 8192)).await.expect_err("too large");
    assert_eq!((error.code(), error.field()), (ErrorCode::TooLarge, Some("metadata")));
    let renew = RenewAsk {
        address: address.clone(),
        token: Token::from(1),
        seq: 1,
        lease_ms: None,
        checkpoint: Some(Blob::from(vec![0; 4097])),
        mark: false,
    };
    let error = client.renew(renew).await.expect_err("too large");
    assert_eq!((error.code(), error.field()), (ErrorCode::TooLarge, Some("checkpoint")));
    assert!(world.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_listing_goes_through_every_page_of_every_shard() {
    // Shard s has s rows, two a page.
    let world = World::new(1, 5, |seen| {
        let Ask::List(ask) = &seen.request.ask else { return Act::Silence };
        let first = ask.after.as_ref().map_or(0, |after| u32::from(after.key()[0]) + 1);
        let row = |i: u32| {
            let address = address("t", "o", vec![u8::try_from(i).expect("small")]).expect("ok");
            let view = View {
                state: StateKind::InDoubt,
                token: Token::from(1),
                attempt: 1,
                since: None,
                until: None,
                marked: true,
                class: None,
                detail: None,
            };
            Row { address, view }
        };
        let rows: Vec<Row> = (first..ask.shard.min(first + ask.limit)).map(row).collect();
        let more = first + ask.limit < ask.shard;
        let next = rows.last().filter(|_| more).map(|row| row.address.clone());
        Act::Reply(Reply::Page(Page { rows, next }))
    });
    let client = world.default_client().await;
    let request = ListRequest::new(Tenant::new("t").expect("ok")).state(StateKind::InDoubt).page(2);
    let mut listing = client.list(request.clone());
    let mut by_shard = [const { Vec::new() }; 5];
    while let Some(page) = listing.next().await {
        let page = page.expect("every shard answers");
        assert!(page.rows.len() <= 2 && page.witness.is_some());
        by_shard[page.shard as usize].extend(page.rows.iter().map(|row| row.address.key()[0]));
    }
    for (shard, keys) in (0..5).zip(&by_shard) {
        assert_eq!(*keys, (0..shard).collect::<Vec<u8>>());
    }
    assert_eq!(client.list(request).rows(3).await.0.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_cache_answers_the_same_request_until_its_time_is_over() {
    let replayed = Replayed {
        class: OutcomeClass::Success,
        result: "r".into(),
        metadata: Metadata::default(),
        completed_at: LogTime(900_000),
        expires_at: LogTime(1_005_000),
        attempt: 1,
        first_trace: None,
    };
    let world = World::new(1, 1, move |_| Act::Reply(Reply::Replayed(replayed.clone())));
    let mut config = world.config();
    config.cache = Some(hapax_client::CacheConfig::default());
    let client = world.client(config).await.expect("welcome");
    let print = hapax_client::fingerprint::bytes(b"x");
    let ask = |print| client.claim(claim("a").fingerprint(print));
    let first = ask(print).await.expect("answered");
    let second = ask(print).await.expect("answered");
    assert_eq!((first.cached, second.cached, world.calls().len()), (false, true, 1));
    assert_eq!(first.reply, second.reply);
    assert!(!ask(hapax_client::fingerprint::bytes(b"y")).await.expect("answered").cached);
    ask(print).await.expect("answered");
    let asked = world.calls().len();
    // Five seconds of retention are left, which is less than the ten that the cache may keep it.
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(!ask(print).await.expect("answered").cached);
    assert_eq!(world.calls().len(), asked + 1);
    assert_eq!(client.counters().cached, 1 + u64::from(asked == 2));
}
