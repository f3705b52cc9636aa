//! The verbs beside claim: what they send, and what becomes of what they are told.

use crate::model::Model;
use crate::routing::claim;
use crate::world::{Act, World};
use hapax_client::command::ForgetMode;
use hapax_client::request::{CompleteAsk, ForgetAsk, GetAsk, ReleaseAsk, RenewAsk, ResolveAsk};
use hapax_client::{
    Address, CacheConfig, ClaimReply, Client, CompleteReply, ErrorCode, ForgetReply, GetReply, LogTime,
    Metadata, Outcome, OutcomeClass, Reason, ReleaseReply, RenewReply, Reply, ResolveReply, StateKind, Token,
    View, address, fingerprint,
};
use std::sync::Arc;
use std::time::Duration;

async fn modelled() -> (Arc<World>, Client) {
    let mut model = Model::new();
    let world = World::new(1, 1, move |seen| Act::Reply(model.apply(&seen.request)));
    let mut config = world.config();
    config.cache = Some(CacheConfig::default());
    let client = world.client(config).await.expect("welcome");
    (world, client)
}

fn at(key: &str) -> Address {
    address("t", "o", key).expect("well formed")
}

fn outcome(result: &str) -> Outcome {
    Outcome { class: OutcomeClass::Success, result: result.into(), metadata: Metadata::default() }
}

async fn grant(client: &Client, key: &str) -> Token {
    let print = fingerprint::bytes(b"x");
    let lease = Duration::from_secs(1);
    match client.claim(claim(key).fingerprint(print).lease(lease)).await.expect("answered").reply {
        ClaimReply::Granted(granted) => granted.token,
        other => unreachable!("not granted: {other:?}"),
    }
}

async fn view(client: &Client, key: &str, wait_ms: u64) -> View {
    let get = GetAsk { address: at(key), fingerprint: None, wait_ms, stale: false };
    let GetReply::State(view) = client.get(get).await.expect("answered").reply;
    *view
}

fn renew(token: Token, seq: u64, mark: bool) -> RenewAsk {
    RenewAsk { address: at("k"), token, seq, lease_ms: None, checkpoint: Some("point".into()), mark }
}

fn complete(token: Token, result: &str) -> CompleteAsk {
    CompleteAsk { address: at("k"), token, outcome: outcome(result), retention_ms: None }
}

#[tokio::test(start_paused = true)]
async fn a_record_goes_through_its_life_verb_by_verb() {
    let (_world, client) = modelled().await;
    let token = grant(&client, "k").await;
    let renewed = client.renew(renew(token, 1, true)).await.expect("answered");
    assert!(matches!(&renewed.reply, RenewReply::Renewed(renewed) if renewed.marked));
    assert!(renewed.act_until().is_some_and(|until| until > renewed.sent));
    assert_eq!(view(&client, "k", 0).await.state, StateKind::Claimed);

    // Nobody renews: the wait ends with the lease, in doubt.
    let seen = view(&client, "k", 120_000).await;
    assert_eq!((seen.state, seen.token), (StateKind::InDoubt, token));
    assert_eq!(client.renew(renew(token, 2, false)).await.expect("answered").reply, RenewReply::Fenced);
    let reason = Reason::new("seen in the books").expect("short");
    let resolve = ResolveAsk {
        address: at("k"),
        token,
        outcome: Some(outcome("done")),
        retention_ms: None,
        reason: reason.clone(),
    };
    assert_eq!(client.resolve(resolve.clone()).await.expect("answered").reply, ResolveReply::Resolved);
    assert_eq!(client.resolve(resolve).await.expect("answered").reply, ResolveReply::Resolved);
    assert_eq!(
        client.complete(complete(token, "other")).await.expect("answered").reply,
        CompleteReply::Conflict
    );
    assert_eq!(
        client.complete(complete(token, "done")).await.expect("answered").reply,
        CompleteReply::AlreadyCompleted
    );

    // Forgetting through this client empties its cache too.
    let claim_again = || client.claim(claim("k").fingerprint(fingerprint::bytes(b"x")));
    for cached in [false, true] {
        let replied = claim_again().await.expect("answered");
        assert!(matches!(replied.reply, ClaimReply::Replayed(_)));
        assert_eq!(replied.cached, cached);
    }
    let forget = |token| ForgetAsk {
        address: at("k"),
        token,
        mode: ForgetMode::Erase,
        force: false,
        reason: reason.clone(),
    };
    let other = Token::from(token.as_u64() + 1);
    assert_eq!(client.forget(forget(other)).await.expect("answered").reply, ForgetReply::Changed);
    assert_eq!(client.forget(forget(token)).await.expect("answered").reply, ForgetReply::Forgotten);
    assert!(matches!(claim_again().await.expect("answered").reply, ClaimReply::Spent(_)));
}

#[tokio::test(start_paused = true)]
async fn a_release_opens_the_record() {
    let (_world, client) = modelled().await;
    let token = grant(&client, "k").await;
    let release = ReleaseAsk { address: at("k"), token, reason: None };
    assert_eq!(client.release(release.clone()).await.expect("answered").reply, ReleaseReply::Released);
    assert_eq!(view(&client, "k", 60_000).await.state, StateKind::Open, "nobody runs: nothing to wait for");
    let next = grant(&client, "k").await;
    assert!(next > token);
    assert_eq!(client.release(release).await.expect("answered").reply, ReleaseReply::Fenced);
}

#[tokio::test(start_paused = true)]
async fn past_its_time_a_verb_is_too_late_and_had_no_effect() {
    let (_world, client) = modelled().await;
    let late = client.not_after(LogTime(1));
    let error = late.claim(claim("k").fingerprint(fingerprint::bytes(b"x"))).await.expect_err("too late");
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::TooLate, true));
    assert_eq!(view(&client, "k", 0).await.state, StateKind::Absent);
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_another_verb_is_an_indefinite_error() {
    let world = World::new(1, 1, |_| {
        Act::Reply(Reply::Renewed(hapax_core::reply::Renewed {
            deadline: LogTime(1),
            lease_left_ms: 1,
            marked: false,
        }))
    });
    let client = world.default_client().await;
    for error in [
        client.claim(claim("k")).await.expect_err("no reply to a claim"),
        client.complete(complete(Token::from(1), "x")).await.expect_err("no reply to a complete"),
    ] {
        assert_eq!((error.code(), error.is_definite()), (ErrorCode::Version, false));
    }
}

#[tokio::test(start_paused = true)]
async fn every_node_is_asked_how_it_is() {
    let world = World::new(3, 1, |_| Act::Silence);
    let client = world.default_client().await;
    world.set_down(1, true);
    world.until(1, |event| matches!(event, crate::world::Event::Closed { node: 1 })).await;
    let reports = client.status().await;
    let names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    assert_eq!(names, ["n0", "n1", "n2"]);
    let up: Vec<bool> = reports.iter().map(|report| report.status.is_ok()).collect();
    assert_eq!(up, [true, false, true]);
    assert_eq!(reports[2].status.as_ref().map(|status| status.node), Ok(3));
}

#[tokio::test(start_paused = true)]
async fn spans_without_end_do_not_overflow() {
    let (_world, client) = modelled().await;
    let client = client.within(Duration::MAX);
    grant(&client, "k").await;
    let replied = client.claim(claim("k").fingerprint(fingerprint::bytes(b"x")).wait(Duration::MAX)).await;
    assert!(
        matches!(replied.expect("answered").reply, ClaimReply::Granted(_)),
        "taken over when the lease lapsed"
    );
    client
        .claim(claim("j").fingerprint(fingerprint::bytes(b"x")).lease(Duration::MAX))
        .await
        .expect("clamped");
    view(&client, "nothing", u64::MAX).await;
}
