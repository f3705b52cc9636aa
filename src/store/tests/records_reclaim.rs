//! Reclaiming gives bytes back and never changes an answer, now or after a replay.

mod records_support;

use hapax_core::{LogTime, StateKind};
use hapax_store::disk::SimDisk;
use hapax_store::records::{EngineKind, MemoryEngine};
use records_support::{Home, Replica, address, batch, claim, complete, token};

/// Claims keys, completes them with a result, and moves far more through the engine, so that fjall compacts.
fn complete_keys(replica: &mut Replica, time_ms: u64, keys: std::ops::Range<u64>, retention_ms: u64) {
    let index = replica.state.index + 1;
    replica.apply(&batch(time_ms, keys.clone().map(|key| claim(key, key + 1, 10_000)).collect()));
    let completes =
        keys.zip(0u32..).map(|(key, at)| complete(key, token(index, at), &[7; 2_000], retention_ms));
    replica.apply(&batch(time_ms, completes.collect()));
    replica.sync();
}

/// Later keys with a long life, written until the engine has had reason to compact the earlier ones.
fn churn(replica: &mut Replica, time_ms: u64) {
    for round in 0..12u64 {
        let from = 10_000 + round * 100;
        complete_keys(replica, time_ms, from..from + 100, 1_000_000);
        replica.apply(&batch(time_ms, (0..100).map(|key| claim(20_000 + key, 1, 10_000)).collect()));
        replica.sync();
    }
    for _ in 0..100 {
        replica.write();
    }
}

#[test]
fn what_has_ended_is_given_back_by_sled_and_memory() {
    for (name, home) in Home::all().into_iter().filter(|(name, _)| *name != "fjall") {
        let mut replica = home.replica();
        complete_keys(&mut replica, 1_000, 0..100, 1_000);
        replica.apply(&batch(2_500, vec![]));
        replica.sync();
        (0..20).for_each(|_| replica.write());
        let kinds: Vec<_> = replica.contents().values().map(|record| record.state.kind()).collect();
        assert_eq!(kinds, vec![StateKind::Spent; 100], "{name}: shrunk");
        replica.apply(&batch(4_000, vec![]));
        replica.sync();
        (0..20).for_each(|_| replica.write());
        assert_eq!(replica.contents().len(), 0, "{name}: dropped");
    }
}

#[test]
fn what_has_ended_is_given_back_by_the_compactions_of_fjall() {
    let home = Home::real(EngineKind::Fjall);
    let mut replica = home.replica();
    complete_keys(&mut replica, 1_000, 0..100, 1_000);
    complete_keys(&mut replica, 1_000, 100..200, 10_000);
    replica.apply(&batch(5_000, vec![]));
    replica.sync();
    drop(replica);
    let mut replica = home.replica();
    let mut rounds = 0;
    while (0..100).any(|key| replica.shard.get(&address(key)).expect("a read").is_some()) {
        replica.sync();
        churn(&mut replica, 5_000);
        rounds += 1;
        assert!(rounds < 40, "fjall never gave anything back");
        // A read puts a record into the cache, where it stays although the engine dropped it: read anew.
        drop(replica);
        replica = home.replica();
    }
    for key in 100..200 {
        let record = replica.shard.get(&address(key)).expect("a read").expect("it has not ended");
        assert_eq!(record.state.kind(), StateKind::Completed);
    }
}

/// The log time of what is applied, or written but not synced, is not the time to reclaim by.
#[test]
fn nothing_is_reclaimed_by_a_log_time_that_a_crash_could_take_back() {
    let engine = MemoryEngine::new();
    let home = Home::memory(engine.clone(), SimDisk::new());
    let mut replica = home.replica();
    complete_keys(&mut replica, 1_000, 0..50, 1_000);
    let synced = engine.crash(0);
    // Applied and written, and swept many times, but never synced.
    replica.apply(&batch(100_000, vec![]));
    replica.writer.step(replica.now_ms + 1).expect("it goes on");
    replica.writer.step(replica.now_ms + 20_000).expect("it goes on");
    for step in 0..4 {
        replica.writer.step(replica.now_ms + 20_000 + 220 * step).expect("it goes on");
    }
    assert!(engine.unsynced() > 0, "it was written and not synced");
    assert_eq!(replica.contents().len(), 50, "nothing was reclaimed");
    // After the crash the log is replayed from a time at which all of it was alive.
    let home = Home::memory(synced, SimDisk::new());
    let replica = home.replica();
    assert_eq!(replica.state.time, LogTime(1_000));
    assert_eq!(replica.settled(replica.state.time).len(), 50);
}

/// A record that ended, was reclaimed, and came again is the new one, in every engine, through many rounds.
#[test]
fn a_reclaimed_record_never_comes_back() {
    for (name, home) in Home::all() {
        let mut replica = home.replica();
        for round in 0..8u64 {
            let now = 1_000 + round * 10_000;
            let index = replica.state.index + 1;
            // Enough claims to fill a table of fjall: should one come back, it outlives what was completed.
            replica
                .apply(&batch(now, (0..400).map(|key| claim(key, round * 1_000 + key + 1, 5_000)).collect()));
            replica.sync();
            let results = (0..400u32).map(|at| complete(at.into(), token(index, at), &[7; 400], 1_000));
            let replies = replica.apply(&batch(now, results.collect()));
            assert!(replies.iter().all(|reply| reply.name() == "completed"), "{name}: round {round}");
            replica.sync();
            replica.apply(&batch(now + 2_500, vec![]));
            replica.sync();
            // More tables, so that there is a reason to compact.
            for more in 0..3u64 {
                let keys = 1_000 + more * 400..1_400 + more * 400;
                replica.apply(&batch(now + 2_500, keys.map(|key| claim(key, key + 1, 1_000_000)).collect()));
                replica.sync();
            }
            (0..20).for_each(|_| replica.write());
            if round % 3 == 2 {
                drop(replica);
                replica = home.replica();
            }
            for key in 0..400 {
                let found = replica.shard.get(&address(key)).expect("a read");
                let settled = found.as_ref().and_then(|record| record.settle(LogTime(now + 2_500)));
                assert_eq!(
                    settled, None,
                    "{name}: round {round}: it has ended, and an older version came back"
                );
            }
        }
    }
}

/// A view that was open before reclaiming still has everything.
#[test]
fn a_view_is_not_disturbed_by_reclaiming() {
    let home = Home::real(EngineKind::Fjall);
    let mut replica = home.replica();
    complete_keys(&mut replica, 1_000, 0..100, 1_000);
    let view = replica.shard.view().expect("a view");
    let digest = view.content_digest().expect("a digest");
    replica.apply(&batch(50_000, vec![]));
    replica.sync();
    for _ in 0..5 {
        churn(&mut replica, 50_000);
    }
    assert_eq!(view.content_digest().expect("a digest"), digest);
    assert_eq!(view.meta().time, LogTime(1_000));
}
