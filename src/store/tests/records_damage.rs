//! Damage is found: an error or the right answer, never a wrong one.

mod records_support;

use hapax_core::{Address, Record};
use hapax_store::disk::{Disk, DiskOp, OpenMode, SimDisk, read_file};
use hapax_store::records::engine::RecordEngine;
use hapax_store::records::{EngineKind, MemoryEngine, RecordStore, StoreError};
use records_support::{Home, ID, Replica, address, at, batch, claim, complete, respawn, respawned, token};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

fn fill(replica: &mut Replica) {
    for round in 0..6u64 {
        let index = replica.state.index + 1;
        let keys = round * 40..round * 40 + 60;
        replica.apply(&batch(round, keys.clone().map(|key| claim(key, key + 1, 1_000_000)).collect()));
        let done = keys.zip(0u32..).map(|(key, at)| complete(key, token(index, at), &[3; 800], 1_000_000));
        replica.apply(&batch(round, done.collect()));
        replica.sync();
    }
}

/// What a damaged store may say: the truth of the last position, or that it is damaged. (Behind the mark is
/// damage as well, so that a shorter truth is not allowed.)
fn check(home: &Home, truth: &BTreeMap<Address, Record>) -> bool {
    let opened = home.open().and_then(|(store, writer)| Replica::new(store, writer, ID));
    let replica = match opened {
        Ok(replica) => replica,
        Err(error) => {
            assert!(error.is_damage() || matches!(error, StoreError::Io { .. }), "{error}");
            return false;
        }
    };
    assert_eq!(replica.state.index, 12, "it opens at the last position");
    let mut whole = true;
    for (address, record) in truth {
        match replica.shard.get(address) {
            Ok(found) => assert_eq!(found.as_deref(), Some(record), "a wrong answer"),
            Err(error) => {
                assert!(error.is_damage() || matches!(error, StoreError::Io { .. }), "{error}");
                whole = false;
            }
        }
    }
    let mut after: Option<Vec<u8>> = None;
    let mut scanned = BTreeMap::new();
    loop {
        match replica.shard.scan(&[], after.as_deref(), 50) {
            Ok(page) => {
                scanned.extend(page.rows.into_iter().map(|(address, record)| (address, (*record).clone())));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            Err(_) => return false,
        }
    }
    assert_eq!(&scanned, truth, "a scan without an error tells the truth");
    whole
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

/// A cheap sequence of numbers that looks random.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Flips bits of the engine's files, or cuts them, one at a time, spread over all files; a child process opens
/// and reads all, since an engine that believes a damaged length may abort the process.
fn damage_files(kind: EngineKind, tries: u64) {
    let good = Home::real(kind.clone());
    let mut replica = good.replica();
    fill(&mut replica);
    let truth = replica.contents();
    assert_eq!(truth.len(), 260);
    drop(replica);
    assert!(check(&good, &truth), "undamaged it is whole");
    let (mut seed, mut found, mut harmless) = (0x9E37_79B9_7F4A_7C15, 0, 0);
    for n in 0..tries {
        let home = Home::real(kind.clone());
        copy_dir(&good.dir, &home.dir);
        let path = damage_one(&home.dir, n, &mut seed);
        let output = respawn("child_reads_what_was_damaged", &home).output().expect("a child");
        let (code, signal) = (output.status.code(), output.status.signal());
        let is_found = code == Some(FOUND) || signal == Some(SIGABRT);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(is_found || code == Some(0), "try {n}, {}: {stderr}", path.display());
        if is_found { found += 1 } else { harmless += 1 }
    }
    assert!(found > 0, "{found} found, {harmless} harmless");
}

/// The exit status by which a child says that it found damage.
const FOUND: i32 = 42;
const SIGABRT: i32 = 6;

#[test]
#[ignore = "other tests run it as a process of its own"]
fn child_reads_what_was_damaged() {
    let Some(home) = respawned() else { return };
    // The truth does not depend on the engine.
    let mut replica = Home::memory(MemoryEngine::new(), SimDisk::new()).replica();
    fill(&mut replica);
    if !check(&home, &replica.contents()) {
        std::process::exit(FOUND);
    }
}

fn damage_one(dir: &Path, n: u64, seed: &mut u64) -> PathBuf {
    let mut files = files(dir);
    files.retain(|path| std::fs::metadata(path).expect("it is there").len() > 0);
    let path = files.remove(usize::try_from(n).expect("small") % files.len());
    let mut bytes = std::fs::read(&path).expect("read");
    // Preallocated files are mostly zeros that nobody reads: aim at what is used.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
    let byte = usize::try_from(next(seed) % used as u64).expect("small");
    if n % 5 == 4 {
        bytes.truncate(byte);
    } else {
        bytes[byte] ^= 1 << (next(seed) % 8);
    }
    std::fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn a_flipped_bit_in_a_file_of_fjall_is_found_or_harmless() {
    damage_files(EngineKind::Fjall, 90);
}

#[test]
fn a_flipped_bit_in_a_file_of_sled_is_found_or_harmless() {
    damage_files(EngineKind::Sled, 40);
}

/// The name of the space of the one shard that these tests have.
const SPACE: &str = "00000003-0000000000000007-1";

fn filled_memory() -> (MemoryEngine, SimDisk, BTreeMap<Address, Record>) {
    let (engine, disk) = (MemoryEngine::new(), SimDisk::new());
    let mut replica = Home::memory(engine.clone(), disk.clone()).replica();
    fill(&mut replica);
    let truth = replica.contents();
    (engine, disk, truth)
}

#[test]
fn a_flipped_bit_in_any_row_is_found() {
    let (engine, disk, truth) = filled_memory();
    let space = engine.space(SPACE).expect("opened");
    let view = space.view().expect("a view");
    let rows = view.rows(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let mut seed = 77;
    for row in rows {
        let (key, value) = row.expect("a row");
        let damaged = engine.crash(usize::MAX);
        let bit = usize::try_from(next(&mut seed) % (value.len() as u64 * 8)).expect("small");
        assert!(damaged.flip_bit(SPACE, &key, bit));
        assert!(!check(&Home::memory(damaged, disk.clone()), &truth), "{:x?} bit {bit}", &key[..1]);
    }
}

#[test]
fn an_engine_that_lost_batches_before_the_last_is_damaged() {
    let (engine, disk, _) = filled_memory();
    let space = engine.space(SPACE).expect("opened");
    let slots: Vec<_> = space
        .view()
        .expect("a view")
        .rows(std::ops::Bound::Included(&[0xFC]), std::ops::Bound::Excluded(&[0xFD]))
        .map(|row| row.expect("a row").0)
        .collect();
    assert_eq!(slots.len(), 6, "one row a batch");
    for slot in slots {
        let damaged = engine.crash(usize::MAX);
        damaged.space(SPACE).expect("opened").write(&[(slot, None)]).expect("written");
        let (store, _writer) = Home::memory(damaged, disk.clone()).open().expect("the rest is fine");
        assert!(store.shard(ID).expect_err("a batch is missing").is_damage());
    }
}

#[test]
fn an_engine_that_comes_up_behind_its_mark_is_damaged_until_it_is_wiped() {
    let engine = MemoryEngine::new();
    let disk = SimDisk::new();
    let mut replica = Home::memory(engine.clone(), disk.clone()).replica();
    fill(&mut replica);
    let early = engine.crash(0);
    replica.apply(&batch(9, vec![claim(1, 1, 1_000)]));
    replica.sync();
    drop(replica);
    let home = Home::memory(early, disk.clone());
    let (store, writer) = home.open().expect("the rest is fine");
    assert!(store.shard(ID).expect_err("behind the mark").is_damage());
    store.wipe(ID).expect("wiped");
    let mut replica = Replica::new(store, writer, ID).expect("opens");
    assert_eq!((replica.shard.applied().position, replica.shard.durable()), (None, None));
    assert!(replica.contents().is_empty());
    replica.apply(&batch(1, vec![claim(1, 1, 1_000)]));
    replica.sync();
    drop(replica);
    assert_eq!(home.replica().shard.applied().position, at(1), "it is a shard like any other again");
}

#[test]
fn an_emptied_engine_is_damaged() {
    for kind in [EngineKind::Fjall, EngineKind::Sled] {
        let home = Home::real(kind.clone());
        let mut replica = home.replica();
        fill(&mut replica);
        drop(replica);
        let name = if matches!(kind, EngineKind::Fjall) { "fjall" } else { "sled" };
        std::fs::remove_dir_all(home.dir.join(name)).expect("removed");
        let opened = home.open().and_then(|(store, writer)| Replica::new(store, writer, ID));
        assert!(opened.err().is_some_and(|error| error.is_damage()), "{name}");
        RecordStore::destroy(home.disk.as_ref(), &home.dir, &kind).expect("removed");
        assert_eq!(home.replica().shard.applied().position, None, "{name}");
    }
}

#[test]
fn damaged_marks_are_found() {
    let (engine, disk, _) = filled_memory();
    let path = Path::new("/records/marks");
    let bytes = read_file(&disk, path, 1 << 20).expect("the marks");
    for bit in 0..bytes.len() * 8 {
        let tampered = disk.fork();
        assert!(tampered.tamper(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)));
        let opened = Home::memory(engine.crash(usize::MAX), tampered).open();
        assert!(opened.err().is_some_and(|error| error.is_damage()), "bit {bit}");
    }
    assert!(disk.open(path, OpenMode::Read).is_ok());
}

#[test]
fn a_mark_is_never_ahead_of_a_sync() {
    let engine = MemoryEngine::new();
    let disk = SimDisk::new();
    let mut replica = Home::memory(engine.clone(), disk.clone()).replica();
    let (mut checked, mut unmarked) = (0, 0);
    for n in 1..30u64 {
        replica.apply(&batch(n, vec![claim(n, n, 1_000)]));
        replica.now_ms += 400;
        replica.writer.step(replica.now_ms).expect("it goes on");
        if n % 3 == 0 {
            // Of what was not synced, a crash may keep all or nothing: the mark tells the same.
            for keep in [0, usize::MAX] {
                let disk = disk.fork();
                disk.crash(n);
                let survived = Home::memory(engine.crash(keep), disk).replica();
                assert!(survived.shard.applied().position >= replica.shard.durable());
                assert_eq!(survived.shard.durable(), replica.shard.durable(), "the mark is what was told");
                unmarked += usize::from(survived.shard.applied().position > survived.shard.durable());
            }
            checked += usize::from(replica.shard.durable().is_some());
        }
    }
    assert!(checked > 3 && unmarked > 3, "{checked} checked, {unmarked} ahead of their mark");
    assert!(replica.shard.get(&address(1)).expect("a read").is_some());
}

#[test]
fn a_failed_sync_moves_no_mark() {
    let (engine, disk) = (MemoryEngine::new(), SimDisk::new());
    let mut replica = Home::memory(engine.clone(), disk.clone()).replica();
    replica.apply(&batch(1, vec![claim(1, 1, 1_000)]));
    replica.sync();
    replica.apply(&batch(2, vec![claim(2, 1, 1_000)]));
    replica.write();
    replica.write();
    assert!(engine.unsynced() > 0, "written, not synced");
    engine.set_failing(true);
    assert!(replica.writer.step(replica.now_ms + 60_000).is_err());
    assert_eq!(replica.shard.durable(), at(1));
    disk.crash(1);
    let replica = Home::memory(engine.crash(0), disk).replica();
    assert_eq!(replica.shard.applied().position, at(1), "it opens where the last sync was");
}

#[test]
fn a_store_whose_opening_comes_to_no_end_again_and_again_is_damaged() {
    let disk = SimDisk::new();
    let home = Home::memory(MemoryEngine::new(), disk.clone());
    for _ in 0..10 {
        drop(home.open().expect("an attempt that succeeded is forgotten"));
    }
    for _ in 0..5 {
        // The count cannot be taken back, as when the process dies first.
        disk.fail_after(DiskOp::Remove, 1, std::io::ErrorKind::PermissionDenied);
        assert!(matches!(home.open(), Err(StoreError::Io { .. })));
    }
    for _ in 0..2 {
        assert!(home.open().err().is_some_and(|error| error.is_damage()), "it is given up, and stays so");
    }
    RecordStore::destroy(&disk, &home.dir, &home.config.kind).expect("removed");
    assert!(home.open().is_ok());
}
