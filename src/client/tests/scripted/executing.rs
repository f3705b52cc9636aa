//! Execute where nothing goes wrong, and where the claim is not to be had.

use crate::holder::{LEASE_MS, TOKEN, completes, execute, grant, hold, holding, releases, renewals, verbs};
use crate::routing::nonces;
use crate::world::{Act, Event, World};
use hapax_client::{Ask, Ending, ExecuteError, Executed, Metadata, OutcomeClass, Raw, Token};
use hapax_core::reply::{Ended, Granted, InDoubtReply, InFlight, Mismatch, Replayed, SpentReply};
use hapax_core::{Blob, LogTime, Reply};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep};

type Done<T> = Result<Ending<T>, Infallible>;

async fn run_plain(client: &hapax_client::Client) -> Result<Executed<u32>, ExecuteError<u32, Infallible>> {
    execute(client).run(|_| async { Done::Ok(Ending::Success(5)) }).await
}

#[tokio::test(start_paused = true)]
async fn each_ending_is_completed_under_its_class() {
    for class in [OutcomeClass::Success, OutcomeClass::Rejected, OutcomeClass::Error] {
        let (world, client) = holding(|_| None).await;
        let executed = execute(&client)
            .run(|run| async move {
                assert_eq!((run.token(), run.attempt()), (Token::from(TOKEN), 1));
                let gave = "gave".to_owned();
                Done::Ok(match class {
                    OutcomeClass::Success => Ending::Success(gave),
                    OutcomeClass::Rejected => Ending::Rejected(gave),
                    OutcomeClass::Error => Ending::Error(gave),
                })
            })
            .await
            .expect("ran");
        assert!(executed.is_fresh());
        assert_eq!(executed.outcome(), Some((class, &"gave".to_owned())));
        let complete = completes(&world).remove(0);
        assert_eq!((complete.token, complete.outcome.class), (Token::from(TOKEN), class));
        assert_eq!(complete.outcome.result, Blob::from("\"gave\""));
        assert_eq!(complete.outcome.metadata.content_type.as_deref(), Some("application/json"));
        assert_eq!(verbs(&world), ["claim", "complete"]);
    }
}

#[tokio::test(start_paused = true)]
async fn raw_results_travel_as_they_are() {
    let (world, client) = holding(|_| None).await;
    let metadata = Metadata { status: Some(201), ..Metadata::default() };
    let raw = Raw { result: Blob::from(&[0_u8, 255][..]), metadata };
    let given = raw.clone();
    let retention = Duration::from_secs(5);
    let work = |_| async move { Done::Ok(Ending::Success(given)) };
    execute(&client).retention(retention).run_raw(work).await.expect("ran");
    let complete = completes(&world).remove(0);
    assert_eq!((complete.outcome.result, complete.outcome.metadata), (raw.result, raw.metadata));
    assert_eq!(complete.retention_ms, Some(5000));
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_at_each_third_while_the_work_runs_and_not_after() {
    let (world, client) = holding(|_| None).await;
    let work = |run: hapax_client::Execution| async move {
        sleep(Duration::from_millis(10_500)).await;
        assert!(!run.is_lost() && run.lease_left() > Duration::from_millis(LEASE_MS / 2));
        Done::Ok(Ending::Success(1))
    };
    let begun = Instant::now();
    let executed = execute(&client).lease(Duration::from_secs(3)).run(work).await.expect("ran");
    assert!(executed.is_fresh());
    let renewals = renewals(&world);
    assert_eq!(renewals.len(), 10, "one a second");
    for (beat, (at, ask)) in (1_u32..).zip(&renewals) {
        let late = at.duration_since(begun + Duration::from_secs(1) * beat);
        assert!(late < Duration::from_millis(50), "beat {beat} came {late:?} late");
        assert_eq!((ask.seq, ask.lease_ms, ask.mark), (u64::from(beat), Some(3000), false));
        assert_eq!(ask.checkpoint, None);
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(verbs(&world).len(), 12, "claim, ten renewals, complete");
}

#[tokio::test(start_paused = true)]
async fn the_heart_goes_on_beating_while_the_complete_is_on_its_way() {
    let mut tries = 0;
    let (world, client) = holding(move |seen| {
        tries += i32::from(matches!(seen.request.ask, Ask::Complete(_)));
        (matches!(seen.request.ask, Ask::Complete(_)) && tries < 3).then_some(Act::Silence)
    })
    .await;
    assert!(run_plain(&client).await.expect("the third copy was answered").is_fresh());
    let completes = completes(&world);
    assert!(completes.len() == 3 && completes.iter().all(|ask| *ask == completes[0]));
    assert!(renewals(&world).len() >= 7, "two copies of 4 s went unanswered");
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_kept_before_it_returns_and_moves_the_beat() {
    let (world, client) = holding(|_| None).await;
    let seen = std::sync::Arc::clone(&world);
    let work = |run: hapax_client::Execution| async move {
        for step in 1..=5_u8 {
            sleep(Duration::from_millis(900)).await;
            run.checkpoint(vec![step]).await.expect("held");
            assert_eq!(
                renewals(&seen).len(),
                usize::from(step),
                "kept when it returned, and no beat between"
            );
        }
        run.checkpoint_json(&("step", 6)).await.expect("held");
        Done::Ok(Ending::Success(1))
    };
    execute(&client).run(work).await.expect("ran");
    let kept: Vec<_> = renewals(&world).into_iter().map(|(_, ask)| (ask.seq, ask.checkpoint)).collect();
    let expected = (1..=5_u8).map(|step| (u64::from(step), Some(Blob::from(vec![step]))));
    let last = (6, Some(Blob::from("[\"step\",6]")));
    assert_eq!(kept, expected.chain([last]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_takeover_is_told_where_to_go_on() {
    let takeover = Granted {
        attempt: 3,
        takeover: true,
        prior_mark: true,
        checkpoint: Some("[\"step\",6]".into()),
        ..grant()
    };
    let (_world, client) = holding(move |seen| {
        matches!(seen.request.ask, Ask::Claim(_)).then(|| Act::Reply(Reply::Granted(takeover.clone())))
    })
    .await;
    let work = |run: hapax_client::Execution| async move {
        assert!(run.is_takeover() && run.prior_mark());
        assert_eq!(run.attempt(), 3);
        let point: Option<(String, u32)> = run.last_checkpoint_json().expect("of that type");
        assert!(run.last_checkpoint_json::<u32>().is_err());
        Done::Ok(Ending::Success(point))
    };
    let executed = execute(&client).run(work).await.expect("ran");
    assert_eq!(executed.outcome().map(|(_, point)| point.clone()), Some(Some(("step".to_owned(), 6))));
}

#[tokio::test(start_paused = true)]
async fn a_mark_returns_only_once_it_is_kept() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut told = Some(told);
    let (world, client) = holding(move |seen| match &seen.request.ask {
        Ask::Renew(ask) if ask.mark => told.take().map(Act::Later),
        _ => None,
    })
    .await;
    let (effect, mut happened) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(async move {
        let work = |run: hapax_client::Execution| async move {
            run.mark().await.expect("kept");
            effect.send(()).expect("the test listens");
            Done::Ok(Ending::Success(1))
        };
        execute(&client).run(work).await.map(|executed| executed.is_fresh())
    });
    world.until(2, |event| matches!(event, Event::Call(_))).await;
    sleep(Duration::from_millis(500)).await;
    assert!(happened.try_recv().is_err(), "the effect waits for the mark");
    let seen = world.calls()[1].clone();
    let Act::Reply(reply) = hold(&seen) else { unreachable!("hold always replies") };
    tell.send(reply).expect("still waited for");
    happened.await.expect("it happened then");
    assert!(running.await.expect("no panic").expect("ran"));
}

#[tokio::test(start_paused = true)]
async fn a_shadow_runs_and_leaves_nothing_behind() {
    let would = Reply::InFlight(InFlight { attempt: 1, lease_left_ms: 5, retry_after_ms: 5 });
    let shadow =
        Granted { token: Token::NONE, attempt: 0, shadow_of: Some(Box::new(would.clone())), ..grant() };
    let (world, client) = holding(move |seen| {
        matches!(seen.request.ask, Ask::Claim(_)).then(|| Act::Reply(Reply::Granted(shadow.clone())))
    })
    .await;
    let work = |run: hapax_client::Execution| async move {
        assert!(run.is_shadow());
        run.mark().await.expect("nothing to keep");
        run.checkpoint("x").await.expect("nothing to keep");
        sleep(Duration::from_secs(30)).await;
        assert!(!run.is_lost());
        Done::Ok(Ending::Success(1))
    };
    let Executed::Fresh(fresh) = execute(&client).run(work).await.expect("ran") else {
        unreachable!("a shadow is always fresh")
    };
    assert_eq!((fresh.token, fresh.shadow_of), (Token::NONE, Some(would)));
    assert_eq!(verbs(&world), ["claim"]);
}

#[tokio::test(start_paused = true)]
async fn asking_to_be_tried_again_releases_with_the_reason() {
    let (world, client) = holding(|_| None).await;
    let why = "é".repeat(400);
    let given = why.clone();
    let work = |_| async move { Result::<Ending<u32>, Infallible>::Ok(Ending::TryAgain(given)) };
    let executed = execute(&client).run(work).await.expect("ran");
    assert_eq!(executed, Executed::TryAgain(why));
    let release = releases(&world).remove(0);
    assert_eq!(release.token, Token::from(TOKEN));
    assert_eq!(release.reason.map(|reason| reason.as_str().len()), Some(512));
    assert_eq!(verbs(&world), ["claim", "release"]);
}

fn replayed(result: &str) -> Reply {
    Reply::Replayed(Replayed {
        class: OutcomeClass::Rejected,
        result: result.into(),
        metadata: Metadata::default(),
        completed_at: LogTime(1),
        expires_at: LogTime(2),
        attempt: 2,
        first_trace: None,
    })
}

#[tokio::test(start_paused = true)]
async fn what_ran_before_is_replayed_and_nothing_runs() {
    let world = World::new(1, 1, |_| Act::Reply(replayed("41")));
    let client = world.default_client().await;
    let work = |_| async { unreachable!("it ran before") };
    let executed: Executed<u32> = execute(&client).run::<_, Infallible, _, _>(work).await.expect("replayed");
    assert_eq!(executed.outcome(), Some((OutcomeClass::Rejected, &41)));
    assert_eq!(verbs(&world), ["claim"]);

    let unlike = execute(&client).run(|_| async { Done::Ok(Ending::Success(String::new())) }).await;
    let Err(ExecuteError::Undecoded { replayed, error }) = unlike else {
        unreachable!("a number is no text")
    };
    assert_eq!((replayed.result, error.field()), (Blob::from("41"), Some("result")));
}

#[tokio::test(start_paused = true)]
async fn every_other_reply_to_the_claim_has_its_name() {
    let replies = [
        Reply::InFlight(InFlight { attempt: 1, lease_left_ms: 5, retry_after_ms: 5 }),
        Reply::Mismatch(Mismatch { algorithm: false, fields: vec![] }),
        Reply::InDoubt(InDoubtReply {
            token: Token::from(1),
            attempt: 1,
            since: LogTime(1),
            checkpoint: Blob::default(),
        }),
        Reply::Spent(SpentReply { class: None, completed_at: LogTime(1) }),
        Reply::TooOld,
    ];
    for reply in replies {
        let name = reply.name();
        let world = World::new(1, 1, move |_| Act::Reply(reply.clone()));
        let client = world.default_client().await;
        let executed = run_plain(&client).await.expect("settled");
        assert_eq!(executed.name(), name);
        assert_eq!(executed.outcome(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_over_is_made_anew_under_a_new_nonce() {
    let mut claims = 0;
    let (world, client) = holding(move |seen| {
        claims += i32::from(matches!(seen.request.ask, Ask::Claim(_)));
        (claims == 1).then_some(Act::Reply(Reply::Ended(Ended::Lapsed)))
    })
    .await;
    assert!(run_plain(&client).await.expect("ran").is_fresh());
    assert_eq!(nonces(&world).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_long_wait_the_lease_is_renewed_before_the_work_begins() {
    // The lease counts from the first sending of the claim, four seconds before the grant.
    let mut claims = 0;
    let (world, client) = holding(move |seen| {
        claims += i32::from(matches!(seen.request.ask, Ask::Claim(_)));
        let running = InFlight { attempt: 1, lease_left_ms: 1000, retry_after_ms: 1000 };
        (claims <= 4).then_some(Act::Reply(Reply::InFlight(running)))
    })
    .await;
    let seen = std::sync::Arc::clone(&world);
    let work = |run: hapax_client::Execution| async move {
        assert_eq!(renewals(&seen).len(), 1);
        assert!(run.lease_left() > Duration::from_millis(2600));
        Done::Ok(Ending::Success(1))
    };
    assert!(execute(&client).run(work).await.expect("ran").is_fresh());
    assert_eq!(nonces(&world).len(), 1);
}
