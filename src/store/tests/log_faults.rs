//! A disk that fails, fills up or stalls: the log says so once, ends, and tries nothing again.

mod log_support;

use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hapax_store::disk::{DiskOp, SimDisk};
use hapax_store::log::{Log, LogConfig, LogError};
use log_support::{IdleMark, Node, append, dir, entries, gid, read_all, small};
use parking_lot::Mutex;

/// A configuration that counts how often the fatal hook was called.
fn counting() -> (LogConfig, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let fatal = Arc::new(move |_: &LogError| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (LogConfig { fatal, ..small() }, calls)
}

#[test]
fn a_failed_write_or_sync_ends_the_log_and_tells_everybody() {
    for (op, kind) in [
        (DiskOp::Sync, ErrorKind::Other),
        (DiskOp::Write, ErrorKind::Other),
        (DiskOp::Write, ErrorKind::StorageFull),
    ] {
        let disk = SimDisk::new();
        let (config, fatal) = counting();
        let node = Node::open(&disk, config, IdleMark::Never).expect("it opens");
        let (a, b) = (node.group(gid(1)), node.group(gid(2)));
        node.append(&a, entries(gid(1), 1, 1..3, 10)).expect("appended");
        disk.fail_after(op, 0, kind);
        let ops = disk.ops();
        let (first, second, vote) = node.run(async {
            let (sender, first) = tokio::sync::oneshot::channel();
            let done = Box::new(move |result| drop(sender.send(result)));
            a.append(entries(gid(1), 1, 3..4, 10), done).await.expect("queued");
            let (sender, second) = tokio::sync::oneshot::channel();
            let done = Box::new(move |result| drop(sender.send(result)));
            b.append(entries(gid(2), 1, 1..2, 10), done).await.expect("queued");
            let vote = b.save_vote(Bytes::from_static(b"v")).await;
            (first.await.expect("told"), second.await.expect("told"), vote)
        });
        for result in [first, second, vote] {
            let error = result.expect_err("failed");
            assert!(matches!(&error, LogError::Io { error, .. } if error.kind() == kind), "{op:?}: {error}");
            assert!(!error.is_definite(), "it may be on disk");
        }
        assert_eq!(fatal.load(Ordering::SeqCst), 1, "{op:?}");
        assert!(node.log.stats().failed && a.is_failed());
        let made = disk.ops() - ops;
        assert_eq!(made, if op == DiskOp::Sync { 2 } else { 1 }, "{op:?}: nothing is tried again");
        // The log takes nothing more, and says why.
        assert!(matches!(node.append(&a, entries(gid(1), 1, 4..5, 10)), Err(LogError::Io { .. })));
        assert!(matches!(node.run(a.save_vote(Bytes::new())), Err(LogError::Io { .. })));
        assert!(matches!(a.save_committed(None), Err(LogError::Io { .. })));
        assert!(matches!(node.run(node.log.flush_and_stop()), Err(LogError::Io { .. })));
        assert_eq!(disk.ops() - ops, made);
        assert_eq!(fatal.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn the_hook_comes_before_any_callback() {
    let disk = SimDisk::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    let config = LogConfig { fatal: Arc::new(move |_| seen.lock().push("hook")), ..small() };
    let node = Node::open(&disk, config, IdleMark::Never).expect("it opens");
    disk.fail_after(DiskOp::Sync, 0, ErrorKind::Other);
    let seen = Arc::clone(&order);
    let done = Box::new(move |_| seen.lock().push("callback"));
    node.run(node.group(gid(1)).append(entries(gid(1), 1, 1..2, 10), done)).expect("queued");
    node.settle();
    assert_eq!(*order.lock(), ["hook", "callback"]);
}

#[test]
fn a_failed_roll_to_a_new_segment_is_fatal_too() {
    for op in [DiskOp::Create, DiskOp::SetLen, DiskOp::SyncDir, DiskOp::Rename] {
        let disk = SimDisk::new();
        let (config, fatal) = counting();
        let node = Node::open(&disk, config, IdleMark::Never).expect("it opens");
        let group = node.group(gid(1));
        node.append(&group, entries(gid(1), 1, 1..2, 10)).expect("appended");
        disk.fail_after(op, 0, ErrorKind::Other);
        let mut acked = 1;
        let error = loop {
            let index = acked + 1;
            match node.append(&group, entries(gid(1), 1, index..index + 1, 8000)) {
                Ok(()) => acked = index,
                Err(error) => break error,
            }
            node.run(group.purge_to(log_support::at(1, index - 1))).ok();
            assert!(index < 100, "{op:?} never came");
        };
        assert!(matches!(error, LogError::Io { .. }), "{op:?}: {error}");
        assert_eq!(fatal.load(Ordering::SeqCst), 1);
        drop((group, node));
        disk.crash(7);
        let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
        let last = node.group(gid(1)).state().expect("state").last.expect("entries").index;
        assert!(last == acked || last == acked + 1, "{op:?}: {last} of {acked}");
    }
}

#[test]
fn a_disk_below_its_reserve_refuses_appends_but_not_what_makes_room() {
    let disk = SimDisk::new();
    let (config, fatal) = counting();
    let config = LogConfig { reserve_bytes: 200 << 10, ..config };
    disk.limit_capacity(Some(700 << 10));
    let node = Node::open(&disk, config, IdleMark::Never).expect("it opens");
    let group = node.group(gid(1));
    let mut index = 1;
    let error = loop {
        match node.append(&group, entries(gid(1), 1, index..index + 1, 8000)) {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, LogError::DiskFull { reserve_bytes, .. } if reserve_bytes == 200 << 10),
        "{error}"
    );
    assert!(error.is_definite());
    assert!(index > 20);
    assert_eq!(read_all(&group).expect("read").len() as u64, index - 1, "nothing of the refused one");
    assert!(matches!(node.log.check_room(), Err(LogError::DiskFull { .. })));
    // Votes and purges still go, and purging makes room in recycled segments.
    node.run(group.save_vote(Bytes::from_static(b"v"))).expect("saved");
    node.run(group.purge_to(log_support::at(1, index - 1))).expect("purged");
    node.settle();
    for _ in 0..50 {
        node.append(&group, entries(gid(1), 1, index..index + 1, 8000)).expect("there is room again");
        node.run(group.purge_to(log_support::at(1, index))).expect("purged");
        index += 1;
    }
    assert_eq!(fatal.load(Ordering::SeqCst), 0);
}

#[test]
fn a_stalled_disk_holds_up_callbacks_and_the_next_write_takes_all_that_came_meanwhile() {
    let disk = SimDisk::new();
    let (log, writer) = Log::open(Arc::new(disk.clone()), &dir(), small()).expect("it opens");
    let (entered_sender, entered) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    disk.stall_with(move |op| {
        if op == DiskOp::Sync {
            entered_sender.send(()).ok();
            released.lock().recv().ok();
        }
    });
    let thread = std::thread::spawn(move || writer.run_blocking());
    let (done_sender, done) = std::sync::mpsc::channel();
    let append = |shard: u32| {
        let sender = done_sender.clone();
        let done =
            Box::new(move |result: Result<(), LogError>| sender.send((shard, result.is_ok())).expect("kept"));
        log.group(gid(shard)).try_append(entries(gid(shard), 1, 1..2, 100), done).expect("queued");
    };
    append(0);
    entered.recv().expect("the sync began");
    (1..20).for_each(append);
    assert!(done.try_recv().is_err(), "nothing is acknowledged while the sync hangs");
    drop(release);
    let acked: Vec<_> = (0..20).map(|_| done.recv().expect("told")).collect();
    assert_eq!(acked, (0..20).map(|shard| (shard, true)).collect::<Vec<_>>());
    assert_eq!(log.stats().syncs, 2);
    drop(log);
    thread.join().expect("the writer ends");
}

/// What the child process of the next test does: it ends by the hook, so it never gets past the append.
#[test]
fn child_that_aborts() {
    if std::env::var_os("HAPAX_TEST_ABORT").is_none() {
        return;
    }
    let disk = SimDisk::new();
    let config = LogConfig { fatal: Arc::new(|_| std::process::abort()), ..small() };
    let node = Node::open(&disk, config, IdleMark::Never).expect("it opens");
    disk.fail_after(DiskOp::Sync, 0, ErrorKind::Other);
    node.run(append(&node.group(gid(1)), entries(gid(1), 1, 1..2, 10))).ok();
    std::process::exit(0);
}

#[test]
fn a_process_ends_by_a_failed_sync() {
    use std::os::unix::process::ExitStatusExt;
    let program = std::env::current_exe().expect("this test's program");
    let status = Command::new(program)
        .args(["--exact", "child_that_aborts", "--nocapture"])
        .env("HAPAX_TEST_ABORT", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it starts");
    assert_eq!(status.signal(), Some(6), "it is ended by SIGABRT, not by itself: {status}");
}
