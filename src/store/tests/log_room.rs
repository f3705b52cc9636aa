//! A disk without room for a segment: the log waits, loses nothing, and goes on by itself.

mod log_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hapax_store::disk::{Disk, SimDisk};
use hapax_store::log::{GroupLog, Log, LogConfig, LogError};
use log_support::{dir, entries, gid, read_all, small};
use tokio::sync::oneshot;

/// Longer than any of this takes on a slow machine.
const WITHIN: Duration = Duration::from_secs(60);

/// A log whose writer has a thread, as in the server.
struct Threaded {
    log: Log,
    writer: JoinHandle<()>,
    fatal: Arc<AtomicUsize>,
}

impl Threaded {
    fn open(disk: &SimDisk) -> Self {
        let fatal = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fatal);
        let hook = Arc::new(move |_: &LogError| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let config = LogConfig { fatal: hook, ..small() };
        let (log, writer) = Log::open(Arc::new(disk.clone()), &dir(), config).expect("it opens");
        Self { log, writer: std::thread::spawn(move || writer.run_blocking()), fatal }
    }

    /// Queues one entry of 8000 bytes; its end is told by what is returned.
    fn begin(group: &GroupLog, index: u64) -> oneshot::Receiver<Result<(), LogError>> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        let appended = group.append_into_reserve(entries(gid(1), 1, index..index + 1, 8000), done);
        block_on(appended).expect("queued");
        receiver
    }

    fn wait_for(&self, what: &str, reached: impl Fn(&Log) -> bool) {
        let since = Instant::now();
        while !reached(&self.log) {
            assert!(since.elapsed() < WITHIN, "{what}: {:?}", self.log.stats());
            std::thread::yield_now();
        }
    }

    /// Appends from `index` on until the log waits for room; returns the first entry that is not written, and its end.
    fn fill_from(&self, group: &GroupLog, mut index: u64) -> (u64, oneshot::Receiver<Result<(), LogError>>) {
        loop {
            let writes = self.log.stats().writes;
            let end = Self::begin(group, index);
            self.wait_for("a write, or none", |log| {
                let stats = log.stats();
                stats.waits_for_room || stats.writes > writes
            });
            if self.log.stats().waits_for_room {
                return (index, end);
            }
            block_on(end).expect("told").expect("written");
            index += 1;
            assert!(index < 1000, "the disk never was full");
        }
    }

    fn ended(self) -> usize {
        drop(self.log);
        self.writer.join().expect("the writer ends");
        self.fatal.load(Ordering::SeqCst)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// Nobody gets another byte of it.
fn make_full(disk: &SimDisk) {
    disk.limit_capacity(Some(disk.used()));
}

fn free_segments(disk: &SimDisk) -> usize {
    disk.list(&dir()).expect("listed").iter().filter(|name| name.ends_with(".free")).count()
}

/// A disk with a log of one entry, and a segment set aside.
fn begun() -> (SimDisk, Threaded) {
    let disk = SimDisk::new();
    let node = Threaded::open(&disk);
    let group = node.log.group(gid(1));
    block_on(Threaded::begin(&group, 1)).expect("told").expect("written");
    node.wait_for("a segment set aside", |log| log.stats().segments_free == 1);
    (disk, node)
}

#[test]
fn a_full_disk_holds_writes_up_and_loses_none() {
    let (disk, node) = begun();
    make_full(&disk);
    let group = node.log.group(gid(1));
    let (held, end) = node.fill_from(&group, 2);
    // A segment holds fifteen such entries: the one set aside was used as well.
    assert!(held > 20, "{held}");
    let behind = Threaded::begin(&group, held + 1);
    // New work is refused at once.
    let refused = block_on(log_support::append(&group, entries(gid(1), 1, held + 2..held + 3, 10)));
    assert!(matches!(refused, Err(LogError::DiskFull { .. })), "{refused:?}");
    assert!(matches!(node.log.check_room(), Err(LogError::DiskFull { .. })));
    disk.limit_capacity(None);
    block_on(end).expect("told").expect("written once there is room");
    block_on(behind).expect("told").expect("and what was queued behind it");
    node.wait_for("the wait to end", |log| !log.stats().waits_for_room);
    block_on(log_support::append(&group, entries(gid(1), 1, held + 2..held + 3, 10))).expect("taken again");
    drop(group);
    assert_eq!(node.ended(), 0, "a full disk is no failure");
    disk.crash(3);
    let node = Threaded::open(&disk);
    assert_eq!(read_all(&node.log.group(gid(1))).expect("read").len() as u64, held + 2);
    node.ended();
}

#[test]
fn a_start_on_a_full_disk_writes_into_the_segment_set_aside() {
    let (disk, node) = begun();
    node.ended();
    make_full(&disk);
    let node = Threaded::open(&disk);
    let group = node.log.group(gid(1));
    // What the start has given back of the last segment is too little for another; or somebody else takes it.
    make_full(&disk);
    block_on(Threaded::begin(&group, 2)).expect("told").expect("written");
    drop(group);
    assert_eq!((node.ended(), free_segments(&disk)), (0, 0));
    // With room again, the next start sets one aside again.
    disk.limit_capacity(None);
    let node = Threaded::open(&disk);
    block_on(node.log.group(gid(1)).save_vote("v".into())).expect("saved");
    node.wait_for("a segment set aside", |log| log.stats().segments_free == 1);
    assert_eq!((node.ended(), free_segments(&disk)), (0, 1));
}

#[test]
fn a_log_that_waits_for_room_can_be_stopped() {
    let (disk, node) = begun();
    make_full(&disk);
    let group = node.log.group(gid(1));
    let (held, end) = node.fill_from(&group, 2);
    let stopped = block_on(node.log.flush_and_stop()).expect_err("not all was written");
    assert!(matches!(stopped, LogError::NoRoom { .. }) && stopped.is_definite(), "{stopped}");
    let told = block_on(end).expect("told").expect_err("not written");
    assert!(matches!(told, LogError::NoRoom { .. }), "{told}");
    drop(group);
    assert_eq!(node.ended(), 0);
    // With nothing set aside, and no room, it opens, is read, and waits.
    make_full(&disk);
    let node = Threaded::open(&disk);
    let group = node.log.group(gid(1));
    assert_eq!(read_all(&group).expect("read").len() as u64, held - 1, "all that was written, and no more");
    let end = Threaded::begin(&group, held);
    node.wait_for("the wait", |log| log.stats().waits_for_room);
    disk.limit_capacity(None);
    block_on(end).expect("told").expect("written once there is room");
    drop(group);
    assert_eq!(node.ended(), 0);
}

#[test]
fn a_log_that_waits_for_room_can_be_dropped() {
    let (disk, node) = begun();
    make_full(&disk);
    let group = node.log.group(gid(1));
    let (_, end) = node.fill_from(&group, 2);
    drop(group);
    assert_eq!(node.ended(), 0);
    assert!(matches!(block_on(end).expect("told"), Err(LogError::NoRoom { .. })));
}
