//! The log on a real file system, written to by many threads.

mod log_support;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hapax_store::disk::RealDisk;
use hapax_store::log::{Log, LogConfig};
use log_support::{IdleMark, Node, append, at, entries, entry, gid, read_all};

const GROUPS: u32 = 64;
const APPENDS: u64 = 30;

/// Segments of 1 MiB, so that the test rolls and recycles.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 20,
        live_segments_max: 3,
        cache_bytes_per_group: 4 << 10,
        entry_bytes_max: 64 << 10,
        write_bytes_max: 256 << 10,
        rewrite_bytes_max: 64 << 10,
        queue_bytes_max: 1 << 20,
        reserve_bytes: 1 << 20,
        ..LogConfig::default()
    }
}

/// One group's life: appends of two, a vote now and then, a truncation, purges behind all but one group.
fn live(log: &Log, shard: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let id = gid(shard);
    let group = log.group(id);
    runtime.block_on(async {
        for round in 0..APPENDS {
            let first = round * 2 + 1;
            append(&group, entries(id, 1, first..first + 2, 700)).await.expect("appended");
            if round % 7 == 0 {
                group.save_vote(Bytes::from(format!("vote {round}"))).await.expect("saved");
            }
            if shard != 0 && round > 5 {
                group.purge_to(at(1, first - 10)).await.expect("purged");
            }
        }
        group.truncate_after(Some(APPENDS * 2 - 1)).await.expect("truncated");
        append(&group, vec![entry(id, 2, APPENDS * 2, 700)]).await.expect("appended");
    });
}

fn check(node: &Node) {
    for shard in 0..GROUPS {
        let group = node.group(gid(shard));
        let state = group.state().expect("whole");
        let purged = (shard != 0).then(|| at(1, APPENDS * 2 - 11));
        assert_eq!((state.purged, state.last), (purged, Some(at(2, APPENDS * 2))), "shard {shard}");
        assert_eq!(state.vote, Some(Bytes::from_static(b"vote 28")), "shard {shard}");
        let first = purged.map_or(1, |purged| purged.index + 1);
        let mut expected = entries(gid(shard), 1, first..APPENDS * 2, 700);
        expected.push(entry(gid(shard), 2, APPENDS * 2, 700));
        assert_eq!(read_all(&group).expect("whole"), expected, "shard {shard}");
    }
}

fn open(path: &Path) -> Node {
    Node::open_on(Arc::new(RealDisk), path, config(), IdleMark::Never).expect("it opens")
}

#[test]
fn sixty_four_groups_writing_at_once_lose_and_mix_nothing() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let path = temp.path().join("log");
    let (log, writer) = Log::open(Arc::new(RealDisk), &path, config()).expect("it opens");
    let writer = std::thread::spawn(move || writer.run_blocking());
    std::thread::scope(|scope| {
        for shard in 0..GROUPS {
            let log = log.clone();
            scope.spawn(move || live(&log, shard));
        }
    });
    let stats = log.stats();
    assert!(stats.entries > stats.writes * 2, "many groups share a write: {stats:?}");
    assert_eq!(stats.syncs, stats.writes);
    assert!(stats.segments_free > 0, "purged segments were set aside: {stats:?}");
    drop(log);
    writer.join().expect("the writer ends with the last handle");
    for _ in 0..2 {
        check(&open(&path));
    }
}

#[test]
fn a_read_goes_on_while_its_segment_is_given_up() {
    // Readers of one group race with the writer, which rewrites and recycles what they read.
    let temp = tempfile::tempdir().expect("a temporary directory");
    let path = temp.path().join("log");
    let (log, writer) = Log::open(Arc::new(RealDisk), &path, config()).expect("it opens");
    let writer = std::thread::spawn(move || writer.run_blocking());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let laggard = log.group(gid(0));
    let expected = entries(gid(0), 1, 1..101, 1000);
    runtime.block_on(append(&laggard, expected.clone())).expect("appended");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0_u64;
                    while reads == 0 || !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        assert_eq!(laggard.read(1, 101, usize::MAX).expect("readable"), expected);
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        let busy = log.group(gid(1));
        runtime.block_on(async {
            for index in 1..400 {
                append(&busy, vec![entry(gid(1), 1, index, 40_000)]).await.expect("appended");
                busy.purge_to(at(1, index)).await.expect("purged");
            }
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().expect("no reader fails") > 0));
    });
    let stats = log.stats();
    assert!(stats.rewritten_bytes > 100_000, "the laggard was moved: {stats:?}");
    assert!(stats.segments_live <= 5, "{stats:?}");
    assert_eq!(stats.damages, 0);
    drop((laggard, log));
    writer.join().expect("the writer ends");
}
