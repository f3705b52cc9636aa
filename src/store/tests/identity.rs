//! A data directory is opened by its own node only, by one process at a time, and never by mistake.

use std::path::Path;
use std::sync::Arc;

use hapax_store::disk::{Disk, DiskOp, OpenMode, RealDisk, SimDisk};
use hapax_store::identity::{DataDir, Expected, Identity, IdentityError};

const DIR: &str = "/node";
const EXPECTED: Expected = Expected { cluster_id: 7, node_id: None, fresh_node_id: 99 };

fn open(disk: &SimDisk, expected: Expected) -> Result<DataDir, IdentityError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    DataDir::open(&disk, Path::new(DIR), expected)
}

#[test]
fn an_empty_directory_gets_the_fresh_id_and_keeps_it() {
    let disk = SimDisk::new();
    let dir = open(&disk, EXPECTED).expect("opened");
    assert!(dir.is_new());
    assert_eq!(dir.identity(), Identity { cluster_id: 7, node_id: 99 });
    drop(dir);
    let dir = open(&disk, Expected { fresh_node_id: 100, ..EXPECTED }).expect("opened");
    assert!(!dir.is_new());
    assert_eq!(dir.identity().node_id, 99);
}

#[test]
fn a_wiped_directory_gets_a_new_id() {
    let disk = SimDisk::new();
    drop(open(&disk, EXPECTED).expect("opened"));
    disk.remove(&Path::new(DIR).join("identity")).expect("wiped");
    let dir = open(&disk, Expected { fresh_node_id: 100, ..EXPECTED }).expect("opened");
    assert_eq!(dir.identity().node_id, 100);
}

#[test]
fn a_directory_of_another_cluster_or_node_is_refused_by_name() {
    let disk = SimDisk::new();
    drop(open(&disk, EXPECTED).expect("opened"));
    let error = open(&disk, Expected { cluster_id: 8, ..EXPECTED }).expect_err("refused");
    assert!(matches!(error, IdentityError::WrongCluster { found: 7, expected: 8 }), "{error}");
    let error = open(&disk, Expected { node_id: Some(5), ..EXPECTED }).expect_err("refused");
    assert!(matches!(error, IdentityError::WrongNode { found: 99, expected: 5 }), "{error}");
    open(&disk, Expected { node_id: Some(99), ..EXPECTED }).expect("its own node opens it");
}

#[test]
fn only_one_may_have_it_open() {
    let disk = SimDisk::new();
    let first = open(&disk, EXPECTED).expect("opened");
    assert!(matches!(open(&disk, EXPECTED), Err(IdentityError::InUse(_))));
    drop(first);
    open(&disk, EXPECTED).expect("free again");
}

#[test]
fn the_real_lock_keeps_a_second_opening_out() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let path = temp.path().join("node");
    let first = DataDir::open(&disk, &path, EXPECTED).expect("opened");
    assert!(matches!(DataDir::open(&disk, &path, EXPECTED), Err(IdentityError::InUse(_))));
    drop(first);
    let again = DataDir::open(&disk, &path, EXPECTED).expect("free again");
    assert_eq!(again.identity().node_id, 99);
}

#[test]
fn every_flipped_bit_and_every_cut_is_called_damage() {
    let disk = SimDisk::new();
    drop(open(&disk, EXPECTED).expect("opened"));
    let path = Path::new(DIR).join("identity");
    let bytes = disk.contents(&path).expect("it exists");
    for bit in 0..bytes.len() * 8 {
        let copy = disk.fork();
        assert!(copy.tamper(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)));
        let error = open(&copy, EXPECTED).expect_err("refused");
        assert!(matches!(error, IdentityError::Damaged(_)), "bit {bit}: {error}");
    }
    for len in (0..bytes.len()).chain([bytes.len() + 1]) {
        let copy = disk.fork();
        assert!(copy.tamper(&path, |bytes| bytes.resize(len, 0)));
        let error = open(&copy, EXPECTED).expect_err("refused");
        assert!(matches!(error, IdentityError::Damaged(_)), "length {len}: {error}");
    }
}

#[test]
fn data_without_an_identity_is_not_adopted() {
    let disk = SimDisk::new();
    disk.create_dir(&Path::new(DIR).join("log")).expect("created");
    assert!(matches!(open(&disk, EXPECTED), Err(IdentityError::Missing(_))));
    let disk = SimDisk::new();
    disk.create_dir(Path::new(DIR)).expect("created");
    disk.open(&Path::new(DIR).join("data"), OpenMode::CreateNew).expect("created");
    assert!(matches!(open(&disk, EXPECTED), Err(IdentityError::Missing(_))));
}

#[test]
fn zero_is_no_id() {
    for expected in [Expected { cluster_id: 0, ..EXPECTED }, Expected { fresh_node_id: 0, ..EXPECTED }] {
        assert!(matches!(open(&SimDisk::new(), expected), Err(IdentityError::Zero(_))));
    }
}

#[test]
fn a_crash_at_any_step_of_the_creation_leaves_none_or_the_whole_identity() {
    let calls = {
        let disk = SimDisk::new();
        open(&disk, EXPECTED).expect("opened");
        disk.ops()
    };
    assert!(calls >= 6, "directory, file, write, sync, rename, sync: {calls}");
    for (call, seed) in (0..calls).flat_map(|call| (0..16).map(move |seed| (call, seed))) {
        let disk = SimDisk::new();
        disk.power_off_at(call);
        assert!(open(&disk, EXPECTED).is_err(), "the power is off at {call}");
        disk.crash(seed);
        let dir = open(&disk, Expected { fresh_node_id: 100, ..EXPECTED }).expect("it can be opened anew");
        assert!([99, 100].contains(&dir.identity().node_id));
    }
    // Once opened, the identity is durable.
    for seed in 0..64 {
        let disk = SimDisk::new();
        drop(open(&disk, EXPECTED).expect("opened"));
        disk.crash(seed);
        let dir = open(&disk, Expected { fresh_node_id: 100, ..EXPECTED }).expect("opened");
        assert_eq!(dir.identity().node_id, 99, "seed {seed}");
    }
}

#[test]
fn a_failing_disk_is_told_as_such() {
    for op in [DiskOp::Create, DiskOp::Write, DiskOp::Sync, DiskOp::Rename, DiskOp::SyncDir] {
        let disk = SimDisk::new();
        disk.fail_after(op, 0, std::io::ErrorKind::StorageFull);
        let error = open(&disk, EXPECTED).expect_err("refused");
        assert!(matches!(error, IdentityError::Io { .. }), "{op:?}: {error}");
    }
}
