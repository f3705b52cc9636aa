//! A log whose end was overtaken by another leader's entries, under records that came from a peer.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use bytes::Bytes;
use hapax_raft::group::open::drop_overtaken;
use hapax_store::disk::{Disk, SimDisk};
use hapax_store::log::{GroupId, GroupLog, Log, LogConfig, LogEntry, LogPosition};
use std::path::Path;
use std::sync::Arc;

const ID: GroupId = GroupId { shard: 0, replica: 7 };

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, index }
}

/// Opens a log on the disk; its writer ends with it.
fn open(disk: &SimDisk) -> Log {
    let config = LogConfig {
        segment_bytes: 4 << 20,
        entry_bytes_max: 1 << 16,
        write_bytes_max: 1 << 20,
        reserve_bytes: 0,
        ..LogConfig::default()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, writer) = Log::open(disk, Path::new("/log"), config).unwrap();
    std::thread::spawn(move || writer.run_blocking());
    log
}

/// A group with entries of term 2 at 1 to 9, purged up to 4.
async fn written(log: &Log) -> GroupLog {
    let group = log.create_group(ID);
    let (sender, synced) = tokio::sync::oneshot::channel();
    let done = Box::new(move |result: Result<(), _>| drop(sender.send(result)));
    let entry = |index| LogEntry { term: 2, index, payload: Bytes::from_static(b"entry") };
    group.append((1..10).map(entry).collect(), done).await.unwrap();
    synced.await.unwrap().unwrap();
    group.purge_to(at(2, 4)).await.unwrap();
    group
}

/// The last entry that is left after a loss of power, when records at `applied` were found.
async fn left_under(applied: LogPosition) -> Option<LogPosition> {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/log")).unwrap();
    let log = open(&disk);
    drop_overtaken(&written(&log).await, applied).await.unwrap();
    disk.crash(1);
    open(&disk).group(ID).state().unwrap().last
}

#[tokio::test]
async fn what_a_later_leader_overtook_is_dropped_for_good() {
    assert_eq!(left_under(at(3, 9)).await, Some(at(2, 8)));
    assert_eq!(left_under(at(3, 6)).await, Some(at(2, 5)));
    assert_eq!(left_under(at(3, 5)).await, Some(at(2, 4)), "the point up to which it was purged");
}

#[tokio::test]
async fn what_follows_the_records_stays() {
    assert_eq!(left_under(at(2, 6)).await, Some(at(2, 9)), "they lag behind");
    assert_eq!(left_under(at(2, 9)).await, Some(at(2, 9)), "they are up to date");
    assert_eq!(left_under(at(3, 10)).await, Some(at(2, 9)), "they go further");
    assert_eq!(left_under(at(2, 4)).await, Some(at(2, 9)), "the log begins there");
}
