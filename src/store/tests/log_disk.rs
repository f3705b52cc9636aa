//! The disk that the log stands on: the real and the simulated one behave alike, and the simulated one loses
//! exactly what a power cut may lose.

use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;

use hapax_store::disk::{
    Disk, DiskOp, OpenMode, RealDisk, SECTOR_BYTES, SimDisk, read_file, read_up_to, replace_file,
    write_all_at,
};

/// What every disk must do, whatever it is made of.
fn conform(disk: &dyn Disk, dir: &Path) {
    disk.create_dir(&dir.join("a/b")).expect("created with its parents");
    disk.create_dir(&dir.join("a/b")).expect("an existing one is fine");
    let dir = dir.join("a");
    let (one, two) = (dir.join("one"), dir.join("two"));
    let missing = disk.open(&one, OpenMode::ReadWrite).expect_err("missing");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let file = disk.open(&one, OpenMode::CreateNew).expect("created");
    assert!(file.is_empty().expect("measured"));
    let taken = disk.open(&one, OpenMode::CreateNew).expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);

    let mut slices = [IoSlice::new(b"hello, "), IoSlice::new(b""), IoSlice::new(b"world")];
    write_all_at(file.as_ref(), &mut slices, 3).expect("written");
    assert_eq!(read_file(disk, &one, 100).expect("read"), b"\0\0\0hello, world");
    assert_eq!(read_file(disk, &one, 14).expect_err("too long").kind(), ErrorKind::FileTooLarge);
    let mut buf = [9; 8];
    assert_eq!(read_up_to(file.as_ref(), &mut buf, 10).expect("read"), 5);
    assert_eq!(&buf, b"world\x09\x09\x09");
    assert_eq!(file.read_at(&mut buf, 1000).expect("past the end"), 0);
    let many = vec![1_u8; 3000];
    let mut slices: Vec<_> = many.chunks(1).map(IoSlice::new).collect();
    write_all_at(file.as_ref(), &mut slices, 0).expect("more slices than one call takes");
    assert_eq!(file.len().expect("measured"), 3000);

    file.set_len(5).expect("cut");
    file.preallocate(8).expect("lengthened");
    file.preallocate(2).expect("nothing to do");
    assert_eq!(read_file(disk, &one, 100).expect("read"), [1, 1, 1, 1, 1, 0, 0, 0]);
    file.sync_data().expect("synced");
    let reader = disk.open(&one, OpenMode::Read).expect("opened");
    assert!(reader.write_at(&[IoSlice::new(b"x")], 0).is_err(), "opened for reading only");

    disk.rename(&one, &two).expect("renamed");
    assert_eq!(disk.list(&dir).expect("listed"), ["b", "two"]);
    assert_eq!(disk.rename(&one, &two).expect_err("gone").kind(), ErrorKind::NotFound);
    replace_file(disk, &two, b"new").expect("replaced");
    assert_eq!(read_file(disk, &two, 100).expect("read"), b"new");
    disk.remove(&two).expect("removed");
    assert_eq!(disk.remove(&two).expect_err("gone").kind(), ErrorKind::NotFound);
    assert_eq!(file.len().expect("a removed file can be read on"), 8);
    assert_eq!(disk.list(&dir).expect("listed"), ["b"]);
    assert_eq!(disk.list(&dir.join("c")).expect_err("missing").kind(), ErrorKind::NotFound);
    disk.sync_dir(&dir).expect("synced");
    assert!(disk.free_bytes(&dir).expect("measured") > 0);

    let lock = disk.lock(&dir.join("lock")).expect("locked");
    assert_eq!(disk.lock(&dir.join("lock")).expect_err("held").kind(), ErrorKind::WouldBlock);
    drop(lock);
    disk.lock(&dir.join("lock")).expect("free again");
}

#[test]
fn the_real_disk_conforms() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    conform(&RealDisk, temp.path());
}

#[test]
fn the_simulated_disk_conforms() {
    let disk = SimDisk::new();
    conform(&disk, Path::new("/"));
    disk.limit_writes(Some(2));
    conform(&disk, Path::new("/short"));
}

const FILE: &str = "/dir/file";

/// A file of four sectors of ones, durable, its name too.
fn durable_file() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/dir")).expect("created");
    disk.sync_dir(Path::new("/")).expect("synced");
    let file = disk.open(Path::new(FILE), OpenMode::CreateNew).expect("created");
    write_all_at(file.as_ref(), &mut [IoSlice::new(&[1; 4 * SECTOR_BYTES])], 0).expect("written");
    file.sync_data().expect("synced");
    disk.sync_dir(Path::new("/dir")).expect("synced");
    disk
}

#[test]
fn a_crash_keeps_what_was_synced_and_tears_the_rest_by_sector() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let disk = durable_file();
        let file = disk.open(Path::new(FILE), OpenMode::ReadWrite).expect("opened");
        write_all_at(file.as_ref(), &mut [IoSlice::new(&[2; 2 * SECTOR_BYTES])], SECTOR_BYTES as u64)
            .expect("written");
        assert!(!disk.is_synced(Path::new(FILE)));
        disk.crash(seed);
        assert!(file.len().is_err(), "handles do not outlive the process");
        let bytes = disk.contents(Path::new(FILE)).expect("its name was durable");
        assert_eq!(bytes.len(), 4 * SECTOR_BYTES);
        let sectors: Vec<u8> = bytes.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect();
        let whole = bytes.chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|byte| *byte == sector[0]));
        assert!(whole, "a sector is never torn");
        outcomes.insert(sectors);
    }
    let expected = [[1, 1, 1, 1], [1, 1, 2, 1], [1, 2, 1, 1], [1, 2, 2, 1]].map(Vec::from);
    assert_eq!(outcomes, BTreeSet::from(expected), "all ways to tear it, and no other");
}

#[test]
fn a_crash_may_lose_names_that_were_not_synced_and_no_others() {
    let mut renamed = BTreeSet::new();
    for seed in 0..100 {
        let disk = durable_file();
        disk.rename(Path::new(FILE), Path::new("/dir/other")).expect("renamed");
        disk.open(Path::new("/dir/fresh"), OpenMode::CreateNew).expect("created");
        disk.crash(seed);
        renamed.insert(disk.list(Path::new("/dir")).expect("listed"));
    }
    let expected = [vec!["file"], vec!["other"], vec!["fresh", "other"]];
    let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(renamed, BTreeSet::from(expected));

    for seed in 0..100 {
        let disk = durable_file();
        disk.rename(Path::new(FILE), Path::new("/dir/other")).expect("renamed");
        disk.sync_dir(Path::new("/dir")).expect("synced");
        disk.crash(seed);
        assert_eq!(disk.list(Path::new("/dir")).expect("listed"), ["other"]);
    }
}

#[test]
fn the_same_seed_gives_the_same_crash() {
    let crash = |seed| {
        let disk = durable_file();
        let file = disk.open(Path::new(FILE), OpenMode::ReadWrite).expect("opened");
        write_all_at(file.as_ref(), &mut [IoSlice::new(&[2; 4 * SECTOR_BYTES])], 0).expect("written");
        disk.crash(seed);
        disk.contents(Path::new(FILE))
    };
    assert!((0..50).all(|seed| crash(seed) == crash(seed)));
    assert!((0..50).any(|seed| crash(seed) != crash(seed + 1)));
}

#[test]
fn faults_hit_the_call_that_they_are_armed_for() {
    let disk = durable_file();
    let file = disk.open(Path::new(FILE), OpenMode::ReadWrite).expect("opened");
    disk.fail_after(DiskOp::Sync, 1, ErrorKind::Other);
    file.sync_data().expect("the first passes");
    file.sync_data().expect_err("the second fails");
    file.sync_data().expect("the third passes");

    disk.limit_capacity(Some(5 * SECTOR_BYTES as u64));
    assert_eq!(disk.free_bytes(Path::new("/dir")).expect("measured"), SECTOR_BYTES as u64);
    assert_eq!(file.preallocate(6 * SECTOR_BYTES as u64).expect_err("full").kind(), ErrorKind::StorageFull);

    disk.power_off_at(disk.ops());
    file.sync_data().expect_err("no power");
    let after: Arc<dyn Disk> = Arc::new(disk.clone());
    assert!(after.list(Path::new("/dir")).is_err() && after.open(Path::new(FILE), OpenMode::Read).is_err());
    disk.crash(0);
    assert_eq!(after.list(Path::new("/dir")).expect("power is back"), ["file"]);
}
