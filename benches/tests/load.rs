//! The load generator against stores that do right and stores that lie.

use bytes::Bytes;
use hapax_bench::load::draw::Mix;
use hapax_bench::load::fill::fill;
use hapax_bench::load::run::{keys, run_on};
use hapax_bench::load::store::{Claimed, Failure, Store};
use hapax_bench::load::{Options, Report, run};
use hapax_bench::servers::usage::Servers;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What a store does wrong, once in a hundred times where it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    GrantsTwice,
    ForgetsResults,
    ChangesResults,
    KeepsNothing,
    SaysThatNewKeysRun,
    Fails,
}

enum Kept {
    Running,
    Done(Bytes),
}

#[derive(Clone)]
struct Memory {
    lie: Lie,
    /// It lies each time where it could.
    always: bool,
    keys: Arc<Mutex<HashMap<String, Kept>>>,
    asked: Arc<AtomicU64>,
    /// When the store answers nothing, from when to when.
    stalls: Option<(Instant, Instant)>,
}

impl Memory {
    fn new(lie: Lie) -> Self {
        Self { lie, always: false, keys: Arc::default(), asked: Arc::default(), stalls: None }
    }

    async fn answer(&self) {
        match self.stalls {
            Some((from, to)) if (from..to).contains(&Instant::now()) => tokio::time::sleep_until(to).await,
            _ => sleep(Duration::from_micros(200)).await,
        }
    }

    fn lies(&self, lie: Lie) -> bool {
        self.lie == lie && (self.always || self.asked.fetch_add(1, Ordering::Relaxed) % 100 == 7)
    }
}

impl Store for Memory {
    type Token = ();

    async fn claim(&self, key: &str, _: [u8; 16]) -> Result<Claimed<()>, Failure> {
        self.answer().await;
        if self.lies(Lie::Fails) {
            return Err(Failure { code: "overloaded".to_owned(), text: "too much".to_owned() });
        }
        let mut keys = self.keys.lock().expect("no holder panics");
        Ok(match keys.get(key) {
            None if self.lies(Lie::SaysThatNewKeysRun) => Claimed::Running,
            None => {
                keys.insert(key.to_owned(), Kept::Running);
                Claimed::Granted(())
            }
            Some(Kept::Running) if self.lies(Lie::GrantsTwice) => Claimed::Granted(()),
            Some(Kept::Running) => Claimed::Running,
            Some(Kept::Done(_)) if self.lies(Lie::ForgetsResults) => Claimed::Granted(()),
            Some(Kept::Done(value)) if self.lies(Lie::ChangesResults) => Claimed::Done(value.slice(1..)),
            Some(Kept::Done(value)) => Claimed::Done(value.clone()),
        })
    }

    async fn complete(&self, key: &str, (): (), result: Bytes) -> Result<bool, Failure> {
        self.answer().await;
        if self.lies(Lie::KeepsNothing) {
            return Ok(false);
        }
        self.keys.lock().expect("no holder panics").insert(key.to_owned(), Kept::Done(result));
        Ok(true)
    }
}

fn options() -> Options {
    Options {
        workers: 16,
        rate: None,
        warm_up: Duration::ZERO,
        measured: Duration::from_millis(600),
        mix: Mix { replays: 30.0, duplicates: 20.0, skew: 0.5 },
        value_bytes: 10..=50,
        seed: 3,
        read_back: 200,
        tell: false,
    }
}

async fn load(store: Memory, options: &Options) -> Report {
    run(&[store], &Servers::default(), options).await.expect("the load runs")
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_right_is_found_right() {
    let report = load(Memory::new(Lie::None), &options()).await;
    assert!(report.is_right() && report.errors.is_empty(), "{}", report.table());
    let kinds: Vec<_> = report.kinds.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, ["claim", "complete", "replay", "duplicate"]);
    assert!(report.all.ops > 10_000 && report.read_back > 150, "{}", report.table());
    assert!(report.server_cpu_us_per_op.is_none());
}

#[tokio::test(start_paused = true)]
async fn every_lie_is_found() {
    for lie in [
        Lie::GrantsTwice,
        Lie::ForgetsResults,
        Lie::ChangesResults,
        Lie::KeepsNothing,
        Lie::SaysThatNewKeysRun,
    ] {
        let report = load(Memory::new(lie), &options()).await;
        assert!(report.wrong > 0 && !report.is_right(), "{lie:?}: {}", report.table());
        assert!(report.table().contains("WRONG: "), "{lie:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_counted_and_are_not_wrong() {
    let report = load(Memory::new(Lie::Fails), &Options { read_back: 0, ..options() }).await;
    assert_eq!(report.wrong, 0, "{}", report.table());
    assert!(report.errors["overloaded"].count > 10 && report.errors["overloaded"].example == "too much");
}

/// What an open loop is for: a stall of 200 ms is paid by every call that was to begin meanwhile.
#[tokio::test(start_paused = true)]
async fn a_stall_costs_every_call_that_it_put_off() {
    let begin = Instant::now();
    let stalls = Some((begin + Duration::from_millis(200), begin + Duration::from_millis(400)));
    let store = || Memory { stalls, ..Memory::new(Lie::None) };
    let mix = Mix { replays: 0.0, duplicates: 0.0, skew: 0.0 };
    let measured = Duration::from_secs(1);
    let open = Options { rate: Some(1_000.0), workers: 4, mix, measured, ..options() };
    let report = load(store(), &open).await;
    let claims = &report.kinds[0];
    assert_eq!(claims.ops, 1_000);
    // A fifth of the calls were due in the stall, and waited for half of it in the middle.
    assert!((40_000..=200_000).contains(&claims.p90_us), "{}", report.table());
    assert!(claims.max_us >= 190_000, "{}", report.table());
    assert!(claims.p50_us < 2_000, "{}", report.table());
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_hides_a_stall_behind_its_workers() {
    let begin = Instant::now();
    let stalls = Some((begin + Duration::from_millis(200), begin + Duration::from_millis(400)));
    let store = Memory { stalls, ..Memory::new(Lie::None) };
    let report = load(store, &Options { workers: 4, ..options() }).await;
    assert!(report.all.max_us >= 190_000 && report.all.p99_us < 2_000, "{}", report.table());
}

/// Calls that fail are made up for, and what is there already counts.
#[tokio::test(start_paused = true)]
async fn a_fill_ends_at_its_number_of_completed_keys() {
    let options = Options { mix: Mix { replays: 0.0, duplicates: 0.0, skew: 0.0 }, ..options() };
    for lie in [Lie::None, Lie::Fails] {
        let store = Memory::new(lie);
        let work = keys(&options).expect("keys");
        for (target, added) in [(5_000, 5_000), (8_000, 3_000), (2_000, 0)] {
            let mut told = Vec::new();
            let tell = |count| told.push(count);
            let filled =
                fill(std::slice::from_ref(&store), &options, &work, target, tell).await.expect("a fill");
            assert_eq!((filled.keys, filled.wrong), (added, 0));
        }
        let done = store
            .keys
            .lock()
            .expect("no holder panics")
            .values()
            .filter(|kept| matches!(kept, Kept::Done(_)))
            .count();
        assert_eq!((done, work.count()), (8_000, 8_000));
    }
}

/// Replays draw from what earlier runs have kept, whichever workers kept it.
#[tokio::test(start_paused = true)]
async fn a_later_run_replays_the_keys_of_a_fill() {
    let fresh = Options { mix: Mix { replays: 0.0, duplicates: 0.0, skew: 0.0 }, ..options() };
    let (store, work) = (Memory::new(Lie::None), keys(&fresh).expect("keys"));
    fill(std::slice::from_ref(&store), &fresh, &work, 1_000, |_| ()).await.expect("a fill");
    let replays =
        Options { mix: Mix { replays: 100.0, duplicates: 0.0, skew: 0.0 }, workers: 4, ..options() };
    let report = run_on(&[store], &Servers::default(), &replays, &work).await.expect("the load runs");
    assert!(report.is_right(), "{}", report.table());
    assert_eq!((report.kinds.len(), report.kinds[0].kind, work.count()), (1, "replay", 1_000));
    assert_eq!(report.read_back, 200);
}

#[tokio::test(start_paused = true)]
async fn a_fill_finds_lies_and_ends_where_nothing_succeeds() {
    let options = Options { mix: Mix { replays: 0.0, duplicates: 0.0, skew: 0.0 }, ..options() };
    let lies = Memory::new(Lie::SaysThatNewKeysRun);
    let filled =
        fill(&[lies], &options, &keys(&options).expect("keys"), 2_000, |_| ()).await.expect("a fill");
    assert!(filled.keys == 2_000 && filled.wrong > 0 && !filled.wrong_examples.is_empty(), "{filled:?}");
    // Every claim fails, from the first.
    let fails = Memory { always: true, ..Memory::new(Lie::Fails) };
    let error =
        fill(&[fails], &options, &keys(&options).expect("keys"), 100, |_| ()).await.expect_err("no key");
    assert!(error.to_string().contains("0 are: too much"), "{error}");
}
