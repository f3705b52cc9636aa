//! What the log promises its callers while nothing goes wrong.

mod log_support;

use bytes::Bytes;
use hapax_store::disk::SimDisk;
use hapax_store::log::{GroupState, LogConfig, LogError};
use log_support::{IdleMark, Node, append, at, entries, entry, gid, read_all, small};

fn fresh() -> (SimDisk, Node) {
    let disk = SimDisk::new();
    let node = Node::open(&disk, small(), IdleMark::Never).expect("a fresh log opens");
    (disk, node)
}

#[test]
fn everything_saved_is_there_after_a_clean_restart() {
    let (disk, node) = fresh();
    assert!(node.log.is_new());
    let (a, b) = (node.group(gid(1)), node.group(gid(2)));
    node.append(&a, entries(a.id(), 1, 0..10, 100)).expect("appended");
    node.append(&b, entries(b.id(), 1, 1..4, 100)).expect("appended");
    node.run(a.save_vote(Bytes::from_static(b"vote a"))).expect("saved");
    a.save_committed(Some(at(1, 7))).expect("noted");
    node.run(a.truncate_after(Some(8))).expect("truncated");
    node.run(a.purge_to(at(1, 3))).expect("purged");
    node.append(&a, entries(a.id(), 2, 9..12, 100)).expect("appended");
    let (state_a, state_b) = (a.state().expect("state"), b.state().expect("state"));
    let (log_a, log_b) = (read_all(&a).expect("read"), read_all(&b).expect("read"));
    assert_eq!(state_a.purged, Some(at(1, 3)));
    assert_eq!(state_a.last, Some(at(2, 11)));
    assert_eq!(state_a.committed, Some(at(1, 7)));
    assert_eq!(log_a.len(), 8);
    drop((a, b));
    node.stop().expect("stopped");

    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens again");
    assert!(!node.log.is_new());
    assert_eq!(node.log.groups(), vec![gid(1), gid(2)]);
    let (a, b) = (node.group(gid(1)), node.group(gid(2)));
    assert_eq!((a.state().expect("state"), b.state().expect("state")), (state_a, state_b));
    assert_eq!((read_all(&a).expect("read"), read_all(&b).expect("read")), (log_a, log_b));
    assert_eq!(node.log.stats().damages, 0);
}

#[test]
fn entries_are_readable_before_they_are_durable_and_durable_when_told_so() {
    let (disk, node) = fresh();
    let group = node.group(gid(1));
    let (sender, mut receiver) = tokio::sync::oneshot::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    group.try_append(entries(gid(1), 1, 1..3, 50), done).expect("queued");
    assert_eq!(group.read(1, 3, usize::MAX).expect("read").len(), 2);
    assert!(receiver.try_recv().is_err(), "the writer has not run");
    node.run(receiver).expect("told").expect("durable");
    let copy = disk.fork();
    disk.crash(0);
    drop((group, node));
    for disk in [disk, copy] {
        let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
        assert_eq!(read_all(&node.group(gid(1))).expect("read"), entries(gid(1), 1, 1..3, 50));
    }
}

#[test]
fn appends_that_wait_together_share_one_write_and_one_sync() {
    let (_disk, node) = fresh();
    let groups: Vec<_> = (0..32).map(|shard| node.group(gid(shard))).collect();
    node.run(async {
        let mut waits = Vec::new();
        for group in &groups {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let done = Box::new(move |result| drop(sender.send(result)));
            group.append(entries(group.id(), 1, 1..3, 40), done).await.expect("queued");
            waits.push(receiver);
        }
        for wait in waits {
            wait.await.expect("told").expect("durable");
        }
    });
    let stats = node.log.stats();
    assert_eq!((stats.writes, stats.syncs, stats.entries), (1, 1, 64));
}

#[test]
fn callbacks_come_in_the_order_of_the_calls_across_groups() {
    let (_disk, node) = fresh();
    let order = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (a, b) = (node.group(gid(1)), node.group(gid(2)));
    for (number, index) in (0..40_u64).map(|number| (number, number / 2)) {
        let group = if number % 2 == 0 { &a } else { &b };
        let order = std::sync::Arc::clone(&order);
        let done = Box::new(move |result: Result<(), LogError>| {
            result.expect("durable");
            order.lock().push(number);
        });
        node.run(group.append(vec![entry(group.id(), 1, index, 900)], done)).expect("queued");
    }
    node.run(a.save_vote(Bytes::from_static(b"after all"))).expect("saved");
    assert_eq!(*order.lock(), (0..40).collect::<Vec<_>>());
}

#[test]
fn appends_that_do_not_follow_are_refused_without_effect() {
    let (_disk, node) = fresh();
    let group = node.group(gid(1));
    node.append(&group, entries(gid(1), 1, 0..3, 10)).expect("appended");
    let before = group.state().expect("state");
    for bad in [entries(gid(1), 1, 4..5, 10), entries(gid(1), 1, 2..3, 10)] {
        let error = node.append(&group, bad).expect_err("refused");
        assert!(matches!(error, LogError::OutOfOrder { expected: 3, .. }), "{error}");
        assert!(error.is_definite());
    }
    let gap = vec![entry(gid(1), 1, 3, 10), entry(gid(1), 1, 5, 10)];
    let error = node.append(&group, gap).expect_err("refused");
    assert!(matches!(error, LogError::OutOfOrder { expected: 4, found: 5 }), "{error}");
    let error = node.append(&group, vec![entry(gid(1), 1, 3, 8193)]).expect_err("refused");
    assert!(matches!(error, LogError::EntryTooLarge { bytes: 8193, bytes_max: 8192 }), "{error}");
    assert_eq!(group.state().expect("state"), before);
}

#[test]
fn a_full_queue_refuses_or_makes_wait() {
    let (_disk, node) = fresh();
    let group = node.group(gid(1));
    let mut index = 0;
    let error = loop {
        match group.try_append(vec![entry(gid(1), 1, index, 8000)], Box::new(|_| {})) {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::QueueFull), "{error}");
    assert!(node.log.stats().queued_bytes > 64_000);
    assert_eq!(index, 8, "64 KiB hold eight entries of 8000 bytes");
    assert_eq!(group.state().expect("state").last, Some(at(1, 7)), "the refused one left no trace");
    // The waiting form gets through once the writer has made room.
    node.append(&group, vec![entry(gid(1), 1, index, 8000)]).expect("appended");
    assert_eq!(read_all(&group).expect("read").len(), 9);
    node.settle();
    assert_eq!(node.log.stats().queued_bytes, 0);
}

#[test]
fn one_append_may_be_longer_than_a_write_and_than_the_queue() {
    let (disk, node) = fresh();
    let group = node.group(gid(1));
    let all = entries(gid(1), 1, 1..101, 2000);
    node.append(&group, all.clone()).expect("appended in parts");
    assert_eq!(read_all(&group).expect("read"), all);
    assert!(node.log.stats().writes > 8);
    drop(group);
    node.stop().expect("stopped");
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    assert_eq!(read_all(&node.group(gid(1))).expect("read"), all);
}

#[test]
fn reads_stop_at_their_bound_but_give_at_least_one() {
    let (_disk, node) = fresh();
    let group = node.group(gid(1));
    node.append(&group, entries(gid(1), 1, 1..51, 100)).expect("appended");
    assert_eq!(group.read(1, 50, 0).expect("read").len(), 1);
    assert_eq!(group.read(1, 50, 250).expect("read").len(), 3);
    assert_eq!(group.read(10, 20, usize::MAX).expect("read").len(), 10);
    assert_eq!(group.read(51, 60, usize::MAX).expect("read"), vec![]);
    // The cache holds about ten of the fifty: the others came back from disk, and are the same.
    assert_eq!(group.read(1, 51, usize::MAX).expect("read"), entries(gid(1), 1, 1..51, 100));
    node.run(group.purge_to(at(1, 20))).expect("purged");
    let error = group.read(20, 30, usize::MAX).expect_err("gone");
    assert!(matches!(error, LogError::Purged { from: 20, purged } if purged == at(1, 20)), "{error}");
    assert_eq!(group.read(21, 30, usize::MAX).expect("read").len(), 9);
}

#[test]
fn a_purge_beyond_the_end_restarts_the_log_behind_it() {
    let (disk, node) = fresh();
    let group = node.group(gid(1));
    node.append(&group, entries(gid(1), 1, 0..5, 100)).expect("appended");
    node.run(group.purge_to(at(7, 100))).expect("purged");
    let state = group.state().expect("state");
    assert_eq!((state.purged, state.last), (Some(at(7, 100)), Some(at(7, 100))));
    node.run(group.purge_to(at(1, 3))).expect("an older purge changes nothing");
    assert_eq!(group.state().expect("state"), state);
    let error = node.append(&group, entries(gid(1), 7, 5..6, 10)).expect_err("refused");
    assert!(matches!(error, LogError::OutOfOrder { expected: 101, .. }), "{error}");
    node.append(&group, entries(gid(1), 7, 101..103, 10)).expect("appended");
    let error = node.run(group.truncate_after(Some(99))).expect_err("below the purge point");
    assert!(error.is_definite());
    node.run(group.truncate_after(Some(100))).expect("all after the purge point");
    drop(group);
    node.stop().expect("stopped");
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    assert_eq!(node.group(gid(1)).state().expect("state"), state);
}

#[test]
fn commit_hints_are_written_along_and_never_trusted_beyond_the_log() {
    for (hint, found) in [(Some(at(1, 2)), Some(at(1, 2))), (Some(at(1, 3)), None), (None, None)] {
        let (disk, node) = fresh();
        let group = node.group(gid(1));
        node.append(&group, entries(gid(1), 1, 0..3, 10)).expect("appended");
        let writes = disk.ops();
        group.save_committed(Some(at(1, 1))).expect("noted");
        group.save_committed(hint).expect("noted");
        node.settle();
        assert_eq!(disk.ops(), writes, "a hint alone is not written");
        assert_eq!(group.state().expect("state").committed, hint);
        node.run(group.save_vote(Bytes::from_static(b"carries the hint"))).expect("saved");
        drop((group, node));
        disk.crash(3);
        let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
        assert_eq!(node.group(gid(1)).state().expect("state").committed, found, "{hint:?}");
    }
}

#[test]
fn a_removed_group_is_gone_and_the_others_are_not() {
    let (disk, node) = fresh();
    let (a, b) = (node.group(gid(1)), node.group(gid(2)));
    node.append(&a, entries(gid(1), 1, 0..5, 100)).expect("appended");
    node.append(&b, entries(gid(2), 1, 0..5, 100)).expect("appended");
    node.run(a.save_vote(Bytes::from_static(b"v"))).expect("saved");
    node.run(node.log.remove_group(gid(1))).expect("removed");
    assert!(matches!(a.state(), Err(LogError::Removed(id)) if id == gid(1)));
    assert!(node.append(&a, entries(gid(1), 1, 5..6, 100)).is_err());
    assert_eq!(node.log.groups(), vec![gid(2)]);
    drop((a, b));
    node.stop().expect("stopped");
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    assert_eq!(node.log.groups(), vec![gid(2)]);
    assert_eq!(node.group(gid(1)).state().expect("state"), GroupState::default());
}

#[test]
fn a_stopped_log_refuses_and_the_last_handle_stops_the_writer() {
    let (disk, node) = fresh();
    let group = node.group(gid(1));
    node.append(&group, entries(gid(1), 1, 0..1, 10)).expect("appended");
    node.run(node.log.flush_and_stop()).expect("stopped");
    let error = node.run(append(&group, entries(gid(1), 1, 1..2, 10))).expect_err("refused");
    assert!(matches!(error, LogError::Stopped), "{error}");
    drop((group, node));

    let (log, writer) =
        hapax_store::log::Log::open(std::sync::Arc::new(disk), &log_support::dir(), small()).expect("opens");
    let group = log.group(gid(1));
    group
        .try_append(entries(gid(1), 1, 1..2, 10), Box::new(|result| result.expect("written")))
        .expect("queued");
    drop(log);
    drop(group);
    // Returns only because no handle is left; and the queued append was written first.
    writer.run_blocking();
}

#[test]
fn a_writer_that_is_never_run_tells_those_who_wait() {
    let (log, writer) =
        hapax_store::log::Log::open(std::sync::Arc::new(SimDisk::new()), &log_support::dir(), small())
            .expect("opens");
    let (sender, receiver) = std::sync::mpsc::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    log.group(gid(1)).try_append(entries(gid(1), 1, 0..1, 10), done).expect("queued");
    drop(writer);
    assert!(matches!(receiver.recv(), Ok(Err(LogError::Stopped))));
}

#[test]
fn an_impossible_configuration_is_refused_by_name() {
    let open = |config: LogConfig| {
        hapax_store::log::Log::open(std::sync::Arc::new(SimDisk::new()), &log_support::dir(), config)
            .map(drop)
    };
    for config in [
        LogConfig { block_bytes: 1000, ..small() },
        LogConfig { segment_bytes: 100_000, ..small() },
        LogConfig { entry_bytes_max: 128 << 10, ..small() },
        LogConfig { live_segments_max: 1, ..small() },
        LogConfig { queue_bytes_max: 10, ..small() },
    ] {
        assert!(matches!(open(config), Err(LogError::Config(_))));
    }
    open(LogConfig::default()).expect("the defaults fit together");
}
