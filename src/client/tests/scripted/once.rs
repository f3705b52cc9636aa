//! Execute against the protocol itself: each key runs once, whatever is lost, repeated or delayed.

use crate::model::{Dice, Model, faulty};
use crate::world::{Act, Event, Seen, World};
use hapax_client::{Client, Ending, Executed, Execution, HoldError, Token, address, fingerprint};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How often each key's effect happened.
type Effects = Arc<Mutex<HashMap<u32, u32>>>;

async fn once(client: Client, key: u32, effects: Effects) -> Executed<u32> {
    let work = |_| async move {
        *effects.lock().entry(key).or_default() += 1;
        Ok::<_, Infallible>(Ending::Success(key * 7))
    };
    let address = address("t", "o", format!("k{key}")).expect("well formed");
    let execute = client.execute(address, fingerprint::of(&key).expect("json"));
    // A patient caller: it outlasts every fault that the script knows.
    execute.wait(Duration::from_secs(120)).run(work).await.expect("it passed")
}

#[tokio::test(start_paused = true)]
async fn whatever_is_lost_repeated_or_delayed_each_key_runs_once() {
    for seed in 1..=12 {
        let world = World::new(1, 1, faulty(Model::new(), seed * 7919, 5));
        let client = world.default_client().await.within(Duration::from_secs(60));
        let effects = Effects::default();
        let mut callers = JoinSet::new();
        for caller in 0..120 {
            callers.spawn(once(client.clone(), caller % 40, Arc::clone(&effects)));
        }
        let mut fresh = 0;
        while let Some(executed) = callers.join_next().await {
            let executed = executed.expect("no panic");
            assert!(executed.outcome().is_some(), "seed {seed}: {}", executed.name());
            fresh += u32::from(executed.is_fresh());
        }
        assert_eq!(fresh, 40, "seed {seed}: one caller ran each key");
        let effects = effects.lock();
        assert_eq!(effects.len(), 40);
        assert!(effects.values().all(|count| *count == 1), "seed {seed}: {effects:?}");
        assert!(client.counters().retries > 20, "the faults took effect");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_that_vanish_leave_no_key_running_twice_and_none_stuck() {
    for seed in 1..=8 {
        let world = World::new(1, 1, faulty(Model::new(), seed * 104_729, 12));
        let client = world.default_client().await.within(Duration::from_secs(60));
        let effects = Effects::default();
        let mut dice = Dice(seed);
        let mut callers = JoinSet::new();
        for caller in 0..60 {
            let (client, effects) = (client.clone(), Arc::clone(&effects));
            let patience = Duration::from_millis(dice.roll(3000));
            callers.spawn(async move {
                let key = caller % 20;
                let address = address("t", "o", format!("k{key}")).expect("well formed");
                let work = |run: Execution| async move {
                    sleep(Duration::from_millis(200)).await;
                    run.mark().await?;
                    *effects.lock().entry(key).or_default() += 1;
                    sleep(Duration::from_millis(200)).await;
                    Ok::<_, HoldError>(Ending::Success(key))
                };
                let print = fingerprint::of(&key).expect("json");
                let lease = Duration::from_secs(5);
                let running = client.execute(address, print).lease(lease).run(work);
                drop(tokio::time::timeout(patience, running).await);
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.expect("no panic");
        }
        assert!(effects.lock().values().all(|count| *count == 1), "seed {seed}: {:?}", effects.lock());
        for key in 0..20 {
            let ran = effects.lock().get(&key).copied().unwrap_or(0);
            let executed = once(client.clone(), key, Arc::clone(&effects)).await;
            match &executed {
                Executed::Replayed(_) | Executed::InDoubt(_) => {}
                // Whoever vanished had not marked: it is ours to run.
                Executed::Fresh(_) => assert_eq!(ran, 0, "seed {seed}: key {key} ran twice"),
                other => unreachable!("seed {seed}: key {key} is stuck as {}", other.name()),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stalls_over_its_lease_is_told_and_what_it_writes_is_fenced() {
    let mut model = Model::new();
    let deaf = Arc::new(Mutex::new(false));
    let script = {
        let deaf = Arc::clone(&deaf);
        move |seen: &Seen| if *deaf.lock() { Act::Silence } else { Act::Reply(model.apply(&seen.request)) }
    };
    let world = World::new(1, 1, script);
    let (first, second) = (world.default_client().await, world.default_client().await);
    let lease = Duration::from_secs(3);
    let execute = |client: &Client| {
        client.execute(address("t", "o", "k").expect("ok"), fingerprint::bytes(b"x")).lease(lease)
    };
    // Whatever the workers write to keeps the highest token that it has seen.
    let fence = Arc::new(Mutex::new(Token::NONE));
    let work = |run: Execution, fence: Arc<Mutex<Token>>| async move {
        run.lost().await;
        sleep(Duration::from_secs(5)).await;
        let mut seen = fence.lock();
        Ok::<_, Infallible>(Ending::Success(
            run.token().as_u64() >= seen.as_u64() && {
                *seen = run.token();
                true
            },
        ))
    };
    let stalled = tokio::spawn({
        let (execute, fence) = (execute(&first), Arc::clone(&fence));
        async move { execute.run(|run| work(run, fence)).await }
    });
    world.until(1, |event| matches!(event, Event::Call(_))).await;
    *deaf.lock() = true;
    sleep(Duration::from_millis(3500)).await;
    *deaf.lock() = false;
    let taken_over = execute(&second)
        .run(|run| async move {
            *fence.lock() = run.token();
            Ok::<_, Infallible>(Ending::Success(true))
        })
        .await
        .expect("ran");
    let Executed::Fresh(fresh) = taken_over else { unreachable!("the lease had lapsed") };
    assert_eq!(fresh.attempt, 2);
    let stalled = stalled.await.expect("no panic").expect("ran");
    let Executed::Fenced(stalled) = stalled else { unreachable!("it was taken over: {}", stalled.name()) };
    assert!(!stalled.value, "its write was refused by its token");
}
