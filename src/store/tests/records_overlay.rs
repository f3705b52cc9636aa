//! The overlay: what is applied is seen at once and consistently, whatever the writer is doing; memory is bounded.

mod records_support;

use hapax_core::{Address, Record};
use hapax_store::disk::SimDisk;
use hapax_store::log::GroupId;
use hapax_store::records::{AppliedMeta, MemoryEngine, ShardRecords, StoreError};
use proptest::collection::vec;
use proptest::prelude::*;
use records_support::{Home, ID, Replica, address, at, batch, claim, complete, renew, token};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

fn memory() -> Home {
    Home::memory(MemoryEngine::new(), SimDisk::new())
}

/// A record that can be told from others by its number.
fn record(number: u64) -> Arc<Record> {
    let mut replica = memory().replica();
    replica.apply(&batch(number, vec![claim(1, number + 1, 1_000)]));
    replica.shard.get(&address(1)).expect("a read").expect("granted")
}

fn meta(index: u64) -> AppliedMeta {
    AppliedMeta { position: at(index), ..AppliedMeta::default() }
}

#[derive(Clone, Debug)]
enum Op {
    Change(Vec<(u64, bool)>),
    Write,
    Scan { after: Option<u64>, limit: usize },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => vec((0u64..40, any::<bool>()), 1..12).prop_map(Op::Change),
        2 => Just(Op::Write),
        3 => (proptest::option::of(0u64..40), 1usize..20).prop_map(|(after, limit)| Op::Scan { after, limit }),
        1 => Just(Op::Reopen),
    ]
}

/// Pages until the end; each page must go on where it says and be no longer than asked.
fn pages(shard: &ShardRecords, after: Option<&Address>, limit: usize) -> BTreeMap<Address, Arc<Record>> {
    let mut all = BTreeMap::new();
    let mut after = after.map(|address| address.canonical().to_vec());
    loop {
        let page = shard.scan(&[0], after.as_deref(), limit).expect("a page");
        assert!(page.rows.len() <= limit);
        assert!(page.rows.is_sorted_by(|a, b| a.0 < b.0), "in canonical order");
        for (address, record) in page.rows {
            assert!(after.as_deref().is_none_or(|after| address.canonical() > after));
            assert!(all.insert(address, record).is_none(), "no row twice");
        }
        let Some(next) = page.next else { return all };
        assert!(after.is_none_or(|after| after < next), "a page goes on");
        after = Some(next);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_over_overlay_and_engine_are_what_was_applied(ops in vec(op(), 1..40)) {
        let records: Vec<_> = (0..4).map(record).collect();
        let mut home = memory();
        home.config.cache_bytes_max = 3_000;
        let mut replica = home.replica();
        let mut model = BTreeMap::new();
        let mut index = 0;
        for op in ops {
            match op {
                Op::Change(changes) => {
                    index += 1;
                    let number = usize::try_from(index % 4).expect("small");
                    let changes: Vec<_> = changes
                        .into_iter()
                        .map(|(key, put)| (address(key), put.then(|| Arc::clone(&records[number]))))
                        .collect();
                    for (address, record) in changes.clone() {
                        match record {
                            Some(record) => model.insert(address, record),
                            None => model.remove(&address),
                        };
                    }
                    replica.shard.apply(changes, meta(index));
                }
                Op::Write => replica.write(),
                Op::Scan { after, limit } => {
                    let after = after.map(address);
                    let mut expected = model.clone();
                    if let Some(after) = &after {
                        expected.retain(|address, _| address > after);
                    }
                    prop_assert_eq!(pages(&replica.shard, after.as_ref(), limit), expected);
                }
                Op::Reopen => {
                    replica.sync();
                    drop(replica);
                    replica = home.replica();
                }
            }
            for key in 0..40 {
                let found = replica.shard.get(&address(key)).expect("a read");
                prop_assert_eq!(found.as_ref(), model.get(&address(key)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// A filter of one block, which is soon full and begins anew, and that learns two rows at a time, between
    /// changes: whatever it calls absent is. (In a build with assertions the engine is asked each time, too.)
    #[test]
    fn what_the_filter_calls_absent_is_absent(
        ops in vec((vec((0u64..150, any::<bool>()), 1..20), 0u64..6, 0u64..9), 1..60)
    ) {
        let mut home = memory();
        (home.config.cache_bytes_max, home.config.filter_bytes_max, home.config.learn_rows) = (0, 64, 2);
        let records: Vec<_> = (0..4).map(record).collect();
        let mut replica = home.replica();
        let mut model = BTreeMap::new();
        for (index, (changes, writes, last)) in (1..).zip(ops) {
            for (key, put) in changes {
                let record = put.then(|| Arc::clone(&records[usize::try_from(key % 4).expect("small")]));
                replica.shard.apply([(address(key), record.clone())], meta(index));
                match record {
                    Some(record) => model.insert(key, record),
                    None => model.remove(&key),
                };
            }
            (0..writes).for_each(|_| replica.write());
            if last == 0 {
                replica.sync();
                drop(replica);
                replica = home.replica();
            }
            for key in 0..150 {
                let found = replica.shard.get(&address(key)).expect("a read");
                prop_assert_eq!(found.as_ref(), model.get(&key));
            }
        }
    }
}

/// On each engine, over a start.
#[test]
fn the_filter_is_complete_once_the_engine_was_read() {
    for (engine, mut home) in Home::all() {
        home.config.learn_rows = 100;
        let mut replica = home.replica();
        for key in 0..1_000 {
            replica.apply(&batch(key, vec![claim(key, key + 1, 1_000)]));
        }
        replica.sync();
        drop(replica);
        let mut replica = home.replica();
        assert!(!replica.shard.is_filter_complete(), "{engine}: nothing was read yet");
        for step in 0.. {
            if replica.shard.is_filter_complete() {
                break;
            }
            assert!(step < 100, "{engine}: it comes to an end");
            assert!(replica.shard.get(&address(step * 7)).expect("a read").is_some());
            replica.write();
        }
        for key in 0..2_000 {
            assert_eq!(
                replica.shard.get(&address(key)).expect("a read").is_some(),
                key < 1_000,
                "{engine}: {key}"
            );
        }
        assert!(replica.shard.stats().filter_bytes > 0);
    }
}

#[test]
fn a_scan_keeps_to_its_prefix() {
    let home = memory();
    let mut replica = home.replica();
    replica.apply(&batch(1, (0..10).map(|key| claim(key, key + 1, 1_000)).collect()));
    let rows = |prefix: &[u8]| replica.shard.scan(prefix, None, 100).expect("a page").rows.len();
    let key = address(3);
    let canonical = key.canonical();
    assert_eq!(rows(canonical), 1);
    assert_eq!(rows(&canonical[..canonical.len() - 1]), 10);
    assert_eq!(rows(&[]), 10);
    for reserved in [&[0xF0][..], &[0xFD], &[0xFF, 0xFF]] {
        assert_eq!(rows(reserved), 0, "rows of ours are not shown");
    }
    replica.sync();
    assert_eq!(replica.shard.scan(&[0xFD], None, 100).expect("a page").rows.len(), 0);
    assert_eq!(replica.shard.scan(&[], None, 100).expect("a page").rows.len(), 10);
}

/// A batch ends after a scan took its view of the engine and before it looks at what is pending: the records of
/// that batch are in neither, and the scan must look again.
#[test]
fn a_batch_that_ends_during_a_scan_is_not_missed() {
    let engine = MemoryEngine::new();
    let mut home = Home::memory(engine.clone(), SimDisk::new());
    home.config.batch_ms = 0;
    let mut replica = home.replica();
    // So that the filter looks no more.
    replica.write();
    assert!(replica.shard.is_filter_complete());
    replica.apply(&batch(1, (0..10).map(|key| claim(key, key + 1, 1_000)).collect()));
    let Replica { writer, shard, .. } = replica;
    let (writer, views) = (Mutex::new(writer), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&views);
    engine.set_on_view(move || {
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            writer.lock().expect("not poisoned").step(1).expect("it goes on");
        }
    });
    assert_eq!(shard.scan(&[], None, 100).expect("a page").rows.len(), 10);
    assert_eq!(views.load(Ordering::Relaxed), 2, "it looked again");
    assert_eq!(shard.stats().pending_bytes, 0, "the batch ended in between");
}

#[test]
fn apply_goes_on_while_the_engine_fails_and_tells_that_it_is_overfull() {
    let engine = MemoryEngine::new();
    let mut home = Home::memory(engine.clone(), SimDisk::new());
    home.config.pending_bytes_max = 100_000;
    let mut replica = home.replica();
    let fill = |replica: &mut Replica, from: u64| {
        let commands = (from..from + 100).map(|key| claim(key, key + 1, 1_000)).collect();
        replica.apply(&batch(1, commands));
    };
    fill(&mut replica, 0);
    assert!(!replica.shard.overfull());
    fill(&mut replica, 100);
    fill(&mut replica, 200);
    assert!(replica.shard.overfull(), "{} bytes pending", replica.shard.stats().pending_bytes);
    replica.sync();
    assert!(!replica.shard.overfull(), "the writer caught up");
    assert_eq!(replica.shard.stats().pending_bytes, 0);
    engine.set_failing(true);
    fill(&mut replica, 300);
    assert!(replica.writer.step(replica.now_ms + 60_000).is_ok(), "not due at its first sight");
    assert!(matches!(replica.writer.step(replica.now_ms + 120_000), Err(StoreError::Io { .. })));
    fill(&mut replica, 400);
    assert_eq!(replica.contents().len(), 500, "everything applied is still seen");
}

#[test]
fn the_cache_stays_within_its_bound() {
    let mut home = memory();
    home.config.cache_bytes_max = 20_000;
    let mut replica = home.replica();
    for round in 0..20u64 {
        replica.apply(&batch(1, (0..50).map(|key| claim(round * 50 + key, key + 1, 1_000)).collect()));
        replica.sync();
        for key in 0..round * 50 {
            assert!(replica.shard.get(&address(key)).expect("a read").is_some());
        }
        let stats = replica.shard.stats();
        assert!(stats.cache_bytes <= 20_000, "{} bytes", stats.cache_bytes);
        assert!(stats.cache_bytes > 10_000 || round == 0, "it is used");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_flush_ends_when_everything_is_durable_or_the_writer_fails() {
    let engine = MemoryEngine::new();
    let home = Home::memory(engine.clone(), SimDisk::new());
    let mut replica = home.replica();
    replica.apply(&batch(1, vec![claim(1, 1, 1_000)]));
    let shard = Arc::clone(&replica.shard);
    let flush = tokio::spawn(async move { shard.flush().await });
    tokio::task::yield_now().await;
    replica.writer.step(1).expect("one step is enough when somebody waits");
    assert_eq!(flush.await.expect("it ends").expect("flushed"), at(1));
    assert_eq!(replica.shard.flush().await.expect("nothing to do"), at(1));
    engine.set_failing(true);
    replica.apply(&batch(1, vec![claim(2, 1, 1_000)]));
    let shard = Arc::clone(&replica.shard);
    let flush = tokio::spawn(async move { shard.flush().await });
    tokio::task::yield_now().await;
    replica.writer.step(2).expect_err("the engine fails");
    assert!(matches!(flush.await.expect("it ends"), Err(StoreError::Io { .. })));
    let shard = Arc::clone(&replica.shard);
    drop(replica);
    shard.flush().await.expect_err("nobody writes any more");
}

/// A write that fails ends the engine and the process; a disk that others have filled up must not.
#[test]
fn on_a_full_disk_nothing_is_written_and_nothing_is_lost() {
    let (engine, disk) = (MemoryEngine::new(), SimDisk::new());
    let mut home = Home::memory(engine.clone(), disk.clone());
    home.config.reserve_bytes = 4 << 20;
    disk.limit_capacity(Some(8 << 20));
    let mut replica = home.replica();
    replica.apply(&batch(1, vec![claim(1, 1, 1_000)]));
    replica.sync();
    disk.limit_capacity(Some(1 << 20));
    engine.set_failing(true);
    replica.apply(&batch(2, vec![claim(2, 1, 1_000)]));
    for _ in 0..3 {
        replica.write();
    }
    assert_eq!(replica.shard.durable(), at(1), "nothing was written");
    assert_eq!(replica.contents().len(), 2, "and what was applied is there");
    engine.set_failing(false);
    disk.limit_capacity(Some(8 << 20));
    replica.sync();
    assert_eq!(replica.shard.durable(), at(2));
    disk.limit_capacity(Some(1 << 20));
    replica.apply(&batch(3, vec![claim(3, 1, 1_000)]));
    replica.store.close();
    assert_eq!(replica.writer.step(1_000_000).expect("no error"), None, "a full disk holds up no shutdown");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_writer_runs_as_a_task_and_ends_when_closed() {
    let home = memory();
    let Replica { store, writer, shard, mut state, .. } = home.replica();
    let start = tokio::time::Instant::now();
    let clock = move || u64::try_from(start.elapsed().as_millis()).expect("small");
    let running = tokio::spawn(writer.run_inline(clock, tokio::time::sleep));
    records_support::apply_entry(&shard, &mut state, &batch(1, vec![claim(1, 1, 1_000)]), 1);
    tokio::time::sleep(std::time::Duration::from_millis(2_000)).await;
    assert_eq!(shard.durable(), at(1), "written after batch_ms and synced after sync_ms more");
    records_support::apply_entry(&shard, &mut state, &batch(1, vec![claim(2, 1, 1_000)]), 2);
    store.close();
    running.await.expect("it ends").expect("without an error");
    assert_eq!(shard.durable(), at(2), "closing leaves nothing behind");
    assert!(matches!(store.shard(GroupId { shard: 9, replica: 9 }), Err(StoreError::Closed)));
}

/// A thread writes, another applies, others read by address and by page: whatever they see is of one position,
/// and no reader ever goes back.
#[test]
fn readers_never_see_half_an_entry_or_an_older_one() {
    for (name, home) in Home::all() {
        let Replica { store, writer, shard, mut state, .. } = home.replica();
        let applied = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        let ticks = AtomicU64::new(0);
        records_support::apply_entry(
            &shard,
            &mut state,
            &batch(0, (0..20).map(|k| claim(k, k + 1, 1_000_000)).collect()),
            1,
        );
        std::thread::scope(|scope| {
            // A clock that makes something due at each step.
            let writing = scope.spawn(|| writer.run_blocking(|| ticks.fetch_add(600, Ordering::Relaxed)));
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        let before = applied.load(Ordering::Acquire);
                        check_page(name, &shard, before);
                        let record = shard.get(&address(before % 20)).expect("a read").expect("there");
                        assert!(seq(&record) >= before, "{name}: {} after {before}", seq(&record));
                    }
                });
            }
            for index in 2..400u64 {
                let renewals =
                    (0..20u32).map(|key| renew(key.into(), token(1, key), index, 1_000_000, false));
                records_support::apply_entry(&shard, &mut state, &batch(index, renewals.collect()), index);
                applied.store(index, Ordering::Release);
            }
            done.store(true, Ordering::Release);
            store.close();
            writing.join().expect("it ends").expect("without an error");
        });
        assert_eq!(shard.durable(), at(399), "{name}");
    }
}

fn seq(record: &Record) -> u64 {
    let hapax_core::State::Claimed(claimed) = &record.state else { unreachable!("all are claimed") };
    claimed.renewal_seq
}

fn check_page(name: &str, shard: &ShardRecords, at_least: u64) {
    let page = shard.scan(&[], None, 100).expect("a page");
    let seqs: Vec<_> = page.rows.iter().map(|(_, record)| seq(record)).collect();
    assert_eq!(seqs.len(), 20, "{name}");
    assert!(seqs.iter().all(|seq| *seq == seqs[0]), "{name}: one position: {seqs:?}");
    assert!(seqs[0] >= at_least, "{name}");
}

#[test]
fn a_claim_completed_between_two_batches_never_reaches_the_engine_as_a_claim() {
    let engine = MemoryEngine::new();
    let home = Home::memory(engine.clone(), SimDisk::new());
    let mut replica = home.replica();
    replica.write();
    let before = engine.unsynced();
    replica.apply(&batch(1, vec![claim(1, 1, 1_000)]));
    replica.apply(&batch(2, vec![complete(1, token(1, 0), b"done", 1_000)]));
    replica.write();
    replica.write();
    assert_eq!(engine.unsynced(), before + 1, "one batch");
    let reopened = Home::memory(engine.crash(usize::MAX), SimDisk::new()).replica();
    let record = reopened.shard.get(&address(1)).expect("a read").expect("there");
    assert_eq!(record.state.kind(), hapax_core::StateKind::Completed);
    assert_eq!(reopened.shard.stats().counts.claimed, 0);
}

#[test]
fn shards_are_apart_and_a_removed_one_is_gone() {
    for (name, home) in Home::all() {
        let (store, mut writer) = home.open().expect("opens");
        let other = GroupId { shard: 3, replica: 8 };
        let (one, two) = (store.shard(ID).expect("opens"), store.shard(other).expect("opens"));
        one.apply([(address(1), Some(record(1)))], meta(5));
        two.apply([(address(2), Some(record(2)))], meta(9));
        for step in 1..5 {
            writer.step(step * 20_000).expect("it goes on");
        }
        assert_eq!((one.durable(), two.durable()), (at(5), at(9)), "{name}");
        assert!(two.get(&address(1)).expect("a read").is_none(), "{name}");
        store.remove(ID).expect("removed");
        assert_eq!(store.replicas(), vec![other], "{name}");
        drop((one, two, store, writer));
        let (store, _writer) = home.open().expect("opens");
        assert_eq!(store.shard(ID).expect("opens").applied(), AppliedMeta::default(), "{name}");
        assert_eq!(store.shard(other).expect("opens").applied(), meta(9), "{name}");
    }
}
