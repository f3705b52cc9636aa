//! What callers may do with the handles: move them, share them, and rely on the mark that follows work.

mod log_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hapax_store::disk::{Disk, RealDisk, SimDisk};
use hapax_store::log::{GroupLog, Log, LogConfig, LogWriter};
use log_support::{append, dir, entries, gid, small};

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn handles_and_their_futures_go_from_thread_to_thread() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Log>();
    is_shared::<GroupLog>();
    is_shared::<Arc<dyn Disk>>();
    is_send::<Option<LogWriter>>(None);
    let (log, writer) = Log::open(Arc::new(SimDisk::new()), &dir(), small()).expect("it opens");
    let group = log.group(gid(1));
    drop(is_send(group.append(Vec::new(), Box::new(|_| {}))));
    drop(is_send(group.save_vote(Bytes::new())));
    drop(is_send(group.truncate_after(None)));
    drop(is_send(group.purge_to(log_support::at(1, 1))));
    drop(is_send(log.remove_group(gid(1))));
    drop(is_send(log.flush_and_stop()));
    drop(is_send(writer.run_inline(|_| std::future::ready(()))));
}

#[test]
fn a_mark_names_the_end_of_the_last_write_once_the_log_idles() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let config = LogConfig { reserve_bytes: 0, idle_mark_after: Duration::from_millis(1), ..small() };
    let (log, writer) = Log::open(Arc::new(RealDisk), temp.path(), config).expect("it opens");
    let writer = std::thread::spawn(move || writer.run_blocking());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(append(&log.group(gid(1)), entries(gid(1), 1, 1..2, 10))).expect("appended");
    let deadline = Instant::now() + Duration::from_secs(30);
    while log.stats().marks == 0 {
        assert!(Instant::now() < deadline, "no mark came");
        std::thread::yield_now();
    }
    // Idle again: one mark is enough, and stopping has nothing left to name.
    runtime.block_on(log.flush_and_stop()).expect("stopped");
    assert_eq!((log.stats().marks, log.stats().writes), (1, 2));
    writer.join().expect("the writer ends");
}

#[test]
fn latency_figures_come_from_the_clock_that_was_given() {
    let ticks = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let clock =
        Arc::new(move || Duration::from_micros(ticks.fetch_add(100, std::sync::atomic::Ordering::Relaxed)));
    let config = LogConfig { clock, ..small() };
    let node =
        log_support::Node::open(&SimDisk::new(), config, log_support::IdleMark::Never).expect("it opens");
    for index in 1..4 {
        node.append(&node.group(gid(1)), entries(gid(1), 1, index..index + 1, 10)).expect("appended");
    }
    let stats = node.log.stats();
    assert_eq!((stats.sync_total_ns, stats.sync_max_ns), (300_000, 100_000));
    // 100 µs is less than 2^7 and no less than 2^6.
    assert_eq!(stats.sync_buckets.iter().position(|count| *count > 0), Some(7));
    assert_eq!(stats.sync_buckets.iter().sum::<u64>(), 3);
}
