//! Execute where something goes wrong: lost leases, dropped futures, failing work.

use crate::holder::{TOKEN, completes, execute, holding, releases, renewals, verbs};
use crate::routing::nonces;
use crate::world::{Act, Event, World, refuse};
use hapax_client::{Ask, Ending, ErrorCode, ExecuteError, Executed, Execution, HoldError, Token};
use hapax_core::reply::CompletedReply;
use hapax_core::{LogTime, Reply};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep};

type Done<T> = Result<Ending<T>, Infallible>;

fn is_call(event: &Event, verb: &str) -> bool {
    matches!(event, Event::Call(seen) if seen.request.ask.name() == verb)
}

/// Enough time for anything that is wrongly sent to arrive.
async fn settle() {
    sleep(Duration::from_secs(30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_lost_at_nine_tenths_of_it() {
    let unanswered: [fn() -> Act; 3] =
        [|| Act::Silence, || refuse(ErrorCode::Unavailable, false), || refuse(ErrorCode::Quota, true)];
    for act in unanswered {
        let (world, client) = holding(move |seen| match seen.request.ask {
            Ask::Renew(_) => Some(act()),
            Ask::Complete(_) => {
                Some(Act::Reply(Reply::Completed(CompletedReply { late: true, expires_at: LogTime(9) })))
            }
            _ => None,
        })
        .await;
        let begun = Instant::now();
        let work = |run: Execution| async move {
            run.lost().await;
            assert!(run.is_lost());
            assert_eq!(run.lease_left(), Duration::ZERO);
            assert_eq!(run.checkpoint("x").await, Err(HoldError::Lost));
            assert_eq!(run.mark().await, Err(HoldError::Lost));
            Done::Ok(Ending::Success(begun.elapsed()))
        };
        let executed = execute(&client).run(work).await.expect("ran");
        let Executed::Fresh(fresh) = executed else { unreachable!("nobody took over") };
        assert!(fresh.late, "what the work gave is offered all the same");
        // The timer ticks in whole milliseconds.
        let lost_after = fresh.value.as_millis();
        assert!((2700..=2702).contains(&lost_after), "{lost_after} ms");
        assert!(!renewals(&world).is_empty());
        let before = verbs(&world).len();
        settle().await;
        assert_eq!(verbs(&world).len(), before, "a lost lease is not renewed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_renewal_tells_the_work_at_once() {
    let (world, client) = holding(|seen| match seen.request.ask {
        Ask::Renew(_) | Ask::Complete(_) => Some(Act::Reply(Reply::Fenced)),
        _ => None,
    })
    .await;
    let begun = Instant::now();
    let work = |run: Execution| async move {
        run.lost().await;
        Done::Ok(Ending::Success(begun.elapsed().as_millis()))
    };
    let executed = execute(&client).run(work).await.expect("ran");
    let Executed::Fenced(fresh) = executed else { unreachable!("another attempt took over") };
    assert!(
        (1000..=1010).contains(&fresh.value),
        "with the first beat, not at the lease's end: {}",
        fresh.value
    );
    assert_eq!(completes(&world).len(), 1, "the outcome is offered all the same");
}

#[tokio::test(start_paused = true)]
async fn a_late_renewal_does_not_bring_a_lost_lease_back() {
    let (tell, told) = tokio::sync::oneshot::channel::<Reply>();
    let mut told = Some(told);
    let (_world, client) = holding(move |seen| match seen.request.ask {
        Ask::Renew(_) => Some(told.take().map_or(Act::Silence, Act::Later)),
        _ => None,
    })
    .await;
    let work = |run: Execution| async move {
        run.lost().await;
        let renewed = hapax_core::reply::Renewed { deadline: LogTime(9), lease_left_ms: 9000, marked: false };
        drop(tell.send(Reply::Renewed(renewed)));
        sleep(Duration::from_secs(1)).await;
        assert!(run.is_lost());
        Done::Ok(Ending::Success(1))
    };
    execute(&client).run(work).await.expect("ran");
}

#[tokio::test(start_paused = true)]
async fn a_lease_goes_on_running_while_the_machine_is_suspended() {
    let (world, client) = holding(|_| None).await;
    let machine = std::sync::Arc::clone(&world);
    let work = |run: Execution| async move {
        sleep(Duration::from_millis(500)).await;
        *machine.suspended.lock() = Duration::from_secs(1);
        // Of 2.7 s, half a second passed awake and one asleep.
        assert_eq!(run.lease_left().as_millis(), 1200);
        run.checkpoint("x").await.expect("in time");
        assert_eq!(run.lease_left().as_millis(), 2700);
        *machine.suspended.lock() += Duration::from_secs(60);
        assert!(run.is_lost());
        assert_eq!(run.mark().await, Err(HoldError::Lost), "nothing is sent for a lease that is over");
        run.lost().await;
        Done::Ok(Ending::Success(1))
    };
    execute(&client).run(work).await.expect("ran");
    assert_eq!(renewals(&world).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_outcome_that_is_kept_is_a_conflict() {
    let (_world, client) =
        holding(|seen| matches!(seen.request.ask, Ask::Complete(_)).then_some(Act::Reply(Reply::Conflict)))
            .await;
    let executed = execute(&client).run(|_| async { Done::Ok(Ending::Success(1)) }).await.expect("ran");
    assert_eq!(executed.name(), "conflict");
}

/// Work that reports where it is and then never ends.
async fn hang(client: hapax_client::Client, mark: bool) {
    let work = |run: Execution| async move {
        if mark {
            run.mark().await.expect("kept");
        } else {
            run.checkpoint("here").await.expect("kept");
        }
        std::future::pending::<Done<u32>>().await
    };
    let _never = execute(&client).run(work).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_before_the_mark_the_claim_is_released() {
    let (world, client) = holding(|_| None).await;
    let running = tokio::spawn(hang(client.clone(), false));
    world.until(1, |event| is_call(event, "renew")).await;
    sleep(Duration::from_millis(100)).await;
    running.abort();
    world.until(1, |event| is_call(event, "release")).await;
    let release = releases(&world).remove(0);
    assert_eq!((release.token, release.address.key()), (Token::from(TOKEN), &b"k"[..]));
    let before = verbs(&world).len();
    settle().await;
    assert_eq!(verbs(&world).len(), before, "the heart has stopped");
}

#[tokio::test(start_paused = true)]
async fn dropped_after_the_mark_the_claim_is_left_to_lapse() {
    let (world, client) = holding(|_| None).await;
    let running = tokio::spawn(hang(client.clone(), true));
    world.until(1, |event| is_call(event, "renew")).await;
    sleep(Duration::from_millis(100)).await;
    running.abort();
    settle().await;
    assert_eq!(verbs(&world), ["claim", "renew"]);
}

#[tokio::test(start_paused = true)]
async fn dropped_while_the_mark_is_on_its_way_the_claim_is_left_to_lapse() {
    let (world, client) =
        holding(|seen| matches!(seen.request.ask, Ask::Renew(_)).then_some(Act::Silence)).await;
    let running = tokio::spawn(hang(client.clone(), true));
    world.until(1, |event| is_call(event, "renew")).await;
    running.abort();
    settle().await;
    assert!(releases(&world).is_empty(), "the mark may be there");
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_was_definitely_refused_does_not_count() {
    let (world, client) = holding(|seen| {
        matches!(&seen.request.ask, Ask::Renew(ask) if ask.mark).then(|| refuse(ErrorCode::Quota, true))
    })
    .await;
    let work = |run: Execution| async move {
        let refused = run.mark().await.expect_err("refused");
        Result::<Ending<u32>, HoldError>::Err(refused)
    };
    let error = execute(&client).run(work).await.expect_err("the work gave up");
    assert!(matches!(error, ExecuteError::Work { in_doubt: false, .. }), "{error}");
    assert_eq!(verbs(&world), ["claim", "renew", "release"]);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_comes_back_without_its_mark_does_not_let_the_effect_begin() {
    let (world, client) = holding(|seen| {
        let unmarked =
            hapax_core::reply::Renewed { deadline: LogTime(9), lease_left_ms: 3000, marked: false };
        matches!(seen.request.ask, Ask::Renew(_)).then_some(Act::Reply(Reply::Renewed(unmarked)))
    })
    .await;
    let work = |run: Execution| async move {
        let refused = run.mark().await.expect_err("it is not marked");
        assert!(matches!(&refused, HoldError::Call(error) if !error.is_definite()));
        Result::<Ending<u32>, HoldError>::Err(refused)
    };
    let error = execute(&client).run(work).await.expect_err("the work gave up");
    assert!(matches!(error, ExecuteError::Work { in_doubt: true, .. }));
    settle().await;
    assert!(releases(&world).is_empty(), "whether it is marked after all is not known");
}

#[tokio::test(start_paused = true)]
async fn dropped_while_claiming_a_grant_on_its_way_is_given_back() {
    let mut claims = 0;
    let (world, client) = holding(move |seen| {
        claims += i32::from(matches!(seen.request.ask, Ask::Claim(_)));
        (claims == 1).then_some(Act::Silence)
    })
    .await;
    let running = tokio::spawn(hang(client.clone(), false));
    world.until(1, |event| is_call(event, "claim")).await;
    running.abort();
    world.until(1, |event| is_call(event, "release")).await;
    assert_eq!(nonces(&world).len(), 1, "the grant is recovered by its nonce");
    assert_eq!(releases(&world)[0].token, Token::from(TOKEN));
}

#[tokio::test(start_paused = true)]
async fn work_that_fails_before_the_mark_releases_and_after_it_does_not() {
    for mark in [false, true] {
        let (world, client) = holding(|_| None).await;
        let work = |run: Execution| async move {
            if mark {
                run.mark().await.expect("kept");
            }
            Result::<Ending<u32>, &str>::Err("the bank is down")
        };
        let error = execute(&client).run(work).await.expect_err("failed");
        let ExecuteError::Work { error, in_doubt } = error else { unreachable!("the work failed") };
        assert_eq!((error, in_doubt), ("the bank is down", mark));
        settle().await;
        assert_eq!(releases(&world).len(), usize::from(!mark));
        assert!(completes(&world).is_empty());
        for release in releases(&world) {
            let reason = release.reason.expect("said why");
            assert!(!reason.as_str().contains("bank"), "an error's text may hold what must not be stored");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_recorded_is_handed_back_and_never_released() {
    let (world, client) = holding(|_| None).await;
    let large = "x".repeat(256 * 1024);
    let given = large.clone();
    let error =
        execute(&client).run(|_| async move { Done::Ok(Ending::Success(given)) }).await.expect_err("large");
    let ExecuteError::Unrecorded { fresh, error } = error else { unreachable!("it ran") };
    assert_eq!((fresh.value, error.code()), (large, ErrorCode::TooLarge));
    settle().await;
    assert_eq!(verbs(&world), ["claim"]);

    let (world, client) =
        holding(|seen| matches!(seen.request.ask, Ask::Complete(_)).then_some(Act::Silence)).await;
    let error =
        execute(&client).run(|_| async { Done::Ok(Ending::Success(1)) }).await.expect_err("unanswered");
    let ExecuteError::Unrecorded { fresh, error } = error else { unreachable!("it ran") };
    assert_eq!((fresh.value, fresh.token, error.is_definite()), (1, Token::from(TOKEN), false));
    settle().await;
    assert!(releases(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_runs_nothing() {
    let world = World::new(1, 1, |_| refuse(ErrorCode::Quota, true));
    let client = world.default_client().await;
    let work = |_| async { unreachable!("not granted") };
    let error = execute(&client).run::<u32, Infallible, _, _>(work).await.expect_err("refused");
    let ExecuteError::Claim(error) = error else { unreachable!("the claim failed") };
    assert_eq!((error.code(), error.is_definite()), (ErrorCode::Quota, true));
}
