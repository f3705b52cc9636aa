//! A snapshot is one consistent position, the same bytes everywhere, and installed whole or not at all.

mod records_support;

use bytes::Bytes;
use hapax_core::LogTime;
use hapax_store::disk::{DiskOp, SimDisk};
use hapax_store::records::snapshot::CHUNK_BYTES_MAX;
use hapax_store::records::{EngineKind, MemoryEngine, OnFatal, ShardRecords, SnapshotSink, StoreError};
use records_support::{Home, Replica, address, batch, claim, complete, renew, settled, token};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A replica with records in every state, some of which have ended.
fn filled(home: &Home, big_results: bool) -> Replica {
    let mut replica = home.replica();
    let result = if big_results { vec![5; 100_000] } else { vec![5; 10] };
    replica.apply(&batch(1_000, (0..60).map(|key| claim(key, key + 1, 1_000)).collect()));
    replica
        .apply(&batch(1_100, (0..20).map(|key| renew(key.into(), token(1, key), 1, 1_000, true)).collect()));
    let done =
        (20..50).map(|key| complete(key.into(), token(1, key), &result, 1_000 + 200 * u64::from(key - 20)));
    replica.apply(&batch(1_200, done.collect()));
    replica.sync();
    // By now every earlier claim has ended in its way; these run on.
    replica.apply(&batch(5_500, (60..66).map(|key| claim(key, key + 1, 60_000)).collect()));
    replica.sync();
    replica
}

fn chunks(shard: &ShardRecords) -> Vec<Bytes> {
    shard.view().expect("a view").chunks().map(|chunk| chunk.expect("a chunk")).collect()
}

fn feed(sink: &mut SnapshotSink, chunks: &[Bytes]) -> Result<(), StoreError> {
    chunks.iter().try_for_each(|chunk| sink.write(chunk))
}

#[test]
fn a_snapshot_carries_everything_to_any_engine() {
    for (from, home) in Home::all() {
        let source = filled(&home, true);
        let chunks = chunks(&source.shard);
        assert!(chunks.len() > 3, "several chunks of rows");
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
        for (to, home) in Home::all() {
            let mut target = home.replica();
            target.apply(&batch(7, vec![claim(999, 1, 1_000)]));
            let mut sink = target.shard.install().expect("a sink");
            feed(&mut sink, &chunks).expect("taken");
            assert!(
                target.shard.get(&address(20)).expect("a read").is_none(),
                "nothing counts before the end"
            );
            let meta = sink.finish().expect("installed");
            assert_eq!(meta, source.shard.applied(), "{from} to {to}");
            check_same(&source, &target, from, to);
            drop(target);
            check_same(&source, &home.replica(), from, to);
        }
    }
}

fn check_same(source: &Replica, target: &Replica, from: &str, to: &str) {
    let now = source.state.time;
    assert_eq!(target.shard.applied(), source.shard.applied(), "{from} to {to}");
    assert_eq!(target.shard.durable(), source.shard.durable(), "{from} to {to}");
    assert_eq!(target.contents(), source.settled(now), "{from} to {to}");
    assert!(target.shard.get(&address(999)).expect("a read").is_none(), "what was there before is gone");
    assert_eq!(target.shard.in_doubt(now), source.shard.in_doubt(now), "{from} to {to}");
    assert_eq!(target.shard.in_doubt(now).0, 20);
    let digest =
        |replica: &Replica| replica.shard.view().expect("a view").content_digest().expect("a digest");
    assert_eq!(digest(target), digest(source), "{from} to {to}");
}

#[test]
fn the_bytes_are_the_same_whatever_was_reclaimed_or_batched() {
    let homes = Home::all();
    let streams: Vec<_> = homes
        .iter()
        .map(|(name, home)| {
            let mut replica = filled(home, false);
            if *name == "sled" {
                for _ in 0..50 {
                    replica.write();
                }
                assert!(replica.contents().len() < 66, "the sweep reclaimed something");
            }
            chunks(&replica.shard)
        })
        .collect();
    assert_eq!(streams[0], streams[1]);
    assert_eq!(streams[0], streams[2]);
}

#[test]
fn every_damaged_missing_repeated_or_reordered_chunk_is_refused_and_changes_nothing() {
    let source = filled(&Home::memory(MemoryEngine::new(), SimDisk::new()), true);
    let good = chunks(&source.shard);
    let home = Home::memory(MemoryEngine::new(), SimDisk::new());
    let mut target = home.replica();
    target.apply(&batch(7, vec![claim(999, 1, 1_000)]));
    let before = (target.contents(), target.shard.applied());
    let mut refused = 0;
    let mut try_stream = |stream: &[Bytes]| {
        let mut sink = target.shard.install().expect("a sink");
        let outcome = feed(&mut sink, stream).and_then(|()| sink.finish().map(|_| ()));
        assert!(matches!(outcome, Err(StoreError::BadSnapshot(_))), "{outcome:?}");
        assert_eq!((target.contents(), target.shard.applied()), before);
        refused += 1;
    };
    for at in 0..good.len() {
        let mut missing = good.clone();
        missing.remove(at);
        try_stream(&missing);
        let mut repeated = good.clone();
        repeated.insert(at, good[at].clone());
        try_stream(&repeated);
        if at > 0 {
            let mut swapped = good.clone();
            swapped.swap(at - 1, at);
            try_stream(&swapped);
        }
        let step = (good[at].len() / 40).max(1);
        for byte in (0..good[at].len()).step_by(step) {
            let mut damaged = good.clone();
            let mut chunk = good[at].to_vec();
            chunk[byte] ^= 1 << (byte % 8);
            damaged[at] = chunk.into();
            try_stream(&damaged);
        }
    }
    try_stream(&[]);
    try_stream(&[Bytes::from(vec![0; CHUNK_BYTES_MAX + 1])]);
    assert!(refused > 100, "only {refused} were tried");
    assert_eq!(home.open().map(|_| ()).err().map(|e| e.to_string()), None);
}

#[test]
fn a_snapshot_of_another_shard_is_refused() {
    let source = filled(&Home::memory(MemoryEngine::new(), SimDisk::new()), false);
    let home = Home::memory(MemoryEngine::new(), SimDisk::new());
    let (store, _writer) = home.open().expect("opens");
    let other = store.shard(hapax_store::log::GroupId { shard: 4, replica: 7 }).expect("opens");
    let outcome = feed(&mut other.install().expect("a sink"), &chunks(&source.shard));
    assert!(matches!(outcome, Err(StoreError::BadSnapshot("a chunk is of another shard"))), "{outcome:?}");
}

/// Writers go on while the snapshot is read: it stays the one position that its header names.
#[test]
fn a_snapshot_under_concurrent_writes_is_one_position() {
    for (name, home) in Home::all() {
        let mut replica = home.replica();
        replica.apply(&batch(1, (0..200).map(|key| claim(key, key + 1, 1_000_000)).collect()));
        replica.sync();
        let shard = Arc::clone(&replica.shard);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let (index, seq) = (replica.state.index, replica.state.index);
                    let renewals =
                        (0..200).map(|key| renew(key.into(), token(1, key), seq, 1_000_000, false));
                    replica.apply(&batch(index, renewals.collect()));
                    replica.write();
                }
                replica.state.index
            });
            // Also where a check fails: the scope waits for its threads.
            let checked = std::panic::catch_unwind(AssertUnwindSafe(|| {
                (0..20).for_each(|_| check_one_position(name, &shard));
            }));
            stop.store(true, Ordering::Relaxed);
            if let Err(failed) = checked {
                std::panic::resume_unwind(failed);
            }
            assert!(writer.join().expect("it ends") > 1, "{name}: writes went on");
        });
    }
}

fn check_one_position(name: &str, shard: &ShardRecords) {
    let view = shard.view().expect("a view");
    let index = view.meta().position.expect("synced before").index;
    let target = Home::memory(MemoryEngine::new(), SimDisk::new()).replica();
    let mut sink = target.shard.install().expect("a sink");
    for chunk in view.chunks() {
        sink.write(&chunk.expect("a chunk")).expect("taken");
    }
    drop(view);
    sink.finish().expect("installed");
    for record in target.contents().values() {
        let hapax_core::State::Claimed(claimed) = &record.state else { unreachable!("all are claimed") };
        assert_eq!(claimed.renewal_seq, index - 1, "{name}: every record is of the header's position");
    }
    assert_eq!(target.contents().len(), 200, "{name}");
}

/// The power goes at every operation of the disk and with every number of engine operations kept, from the
/// middle of an installation to its end: the old shard or the new one, whole.
#[test]
fn a_crash_during_installation_leaves_the_old_or_the_new() {
    let source = filled(&Home::memory(MemoryEngine::new(), SimDisk::new()), false);
    let stream = chunks(&source.shard);
    let new = source.settled(source.state.time);
    let (mut olds, mut news) = (0, 0);
    for cut in 0..40u64 {
        let (engine, disk) = (MemoryEngine::new(), SimDisk::new());
        let mut home = Home::memory(engine.clone(), disk.clone());
        let mut target = home.replica();
        target.apply(&batch(7, vec![claim(999, 1, 1_000)]));
        target.sync();
        let old = target.contents();
        disk.power_off_at(disk.ops() + cut % 10);
        let mut sink = target.shard.install().expect("a sink");
        feed(&mut sink, &stream).expect("taken");
        let _may_fail = sink.finish();
        disk.crash(cut);
        let keep = usize::try_from(cut / 10 * 2).expect("small").min(engine.unsynced());
        home.config.kind = EngineKind::Memory(engine.crash(keep));
        let contents = home.replica().contents();
        if contents == old {
            olds += 1;
        } else {
            assert_eq!(contents, new, "cut {cut}: neither the old nor the new");
            news += 1;
        }
    }
    assert!(news > 0, "{olds} old, {news} new");
}

/// Nobody knows what a failed sync left on the disk, so that the process must end, not only the installation.
#[test]
fn a_sync_that_fails_under_an_installation_is_fatal_and_a_bad_stream_is_not() {
    let source = filled(&Home::memory(MemoryEngine::new(), SimDisk::new()), false);
    let stream = chunks(&source.shard);
    let disk = SimDisk::new();
    let mut home = Home::memory(MemoryEngine::new(), disk.clone());
    let fatal = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&fatal);
    home.config.fatal = OnFatal::new(move |error| {
        assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
        seen.fetch_add(1, Ordering::Relaxed);
    });
    let target = home.replica();
    let cut_short = target.shard.install().expect("a sink").finish();
    assert!(matches!(cut_short, Err(StoreError::BadSnapshot(_))), "{cut_short:?}");
    assert_eq!(fatal.load(Ordering::Relaxed), 0);
    disk.fail_after(DiskOp::Sync, 0, std::io::ErrorKind::Other);
    let mut sink = target.shard.install().expect("a sink");
    feed(&mut sink, &stream).expect("taken");
    let failed = sink.finish();
    assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
    assert_eq!(fatal.load(Ordering::Relaxed), 1);
}

/// The engine alone: every prefix of the operations of an installation.
#[test]
fn every_prefix_of_an_installation_opens() {
    let source = filled(&Home::memory(MemoryEngine::new(), SimDisk::new()), true);
    let new = source.settled(source.state.time);
    let engine = MemoryEngine::new();
    let home = Home::memory(engine.clone(), SimDisk::new());
    let mut target = home.replica();
    target.apply(&batch(7, vec![claim(999, 1, 1_000)]));
    target.sync();
    let old = target.contents();
    let mut sink = target.shard.install().expect("a sink");
    let (mut tried, mut kept_new) = (0, 0);
    let mut check = |engine: &MemoryEngine| {
        for keep in 0..=engine.unsynced() {
            let home = Home::memory(engine.crash(keep), SimDisk::new());
            let contents = home.replica().contents();
            assert!(contents == old || contents == new, "{keep} of {} kept", engine.unsynced());
            kept_new += usize::from(contents == new);
            tried += 1;
        }
    };
    for chunk in chunks(&source.shard) {
        sink.write(&chunk).expect("taken");
        check(&engine);
    }
    sink.finish().expect("installed");
    check(&engine);
    assert!(tried > 10 && kept_new > 0, "{tried} tried, {kept_new} new");
}

#[test]
fn a_snapshot_leaves_out_what_has_ended() {
    let mut home = Home::memory(MemoryEngine::new(), SimDisk::new());
    home.config.sweep_ms = u64::MAX / 2;
    let replica = filled(&home, false);
    let all = replica.contents();
    let now = LogTime(5_500);
    assert!(settled(&all, now).len() < all.len(), "something has ended");
    let target = Home::memory(MemoryEngine::new(), SimDisk::new()).replica();
    let mut sink = target.shard.install().expect("a sink");
    feed(&mut sink, &chunks(&replica.shard)).expect("taken");
    sink.finish().expect("installed");
    assert_eq!(target.contents(), settled(&all, now));
    let counts = target.shard.stats().counts;
    assert_eq!(counts.total(), settled(&all, now).len() as u64);
    assert_eq!(counts.in_doubt, 20);
}

#[test]
fn a_record_that_fits_no_chunk_is_an_error_and_not_the_end() {
    let mut replica = Home::memory(MemoryEngine::new(), SimDisk::new()).replica();
    replica.apply(&batch(1, vec![claim(1, 1, 1_000), claim(2, 1, 1_000)]));
    replica.apply(&batch(1, vec![complete(1, token(1, 0), &vec![1; CHUNK_BYTES_MAX], 1_000)]));
    replica.sync();
    let chunks: Vec<_> = replica.shard.view().expect("a view").chunks().collect();
    assert!(matches!(chunks.last(), Some(Err(StoreError::Damaged { .. }))), "{chunks:?}");
}
