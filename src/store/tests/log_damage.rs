//! Bad blocks, lost files and torn tails: a damaged record is found, charged to whom it harms, and never cut.

mod log_support;

use bytes::Bytes;
use hapax_store::disk::{Disk, OpenMode, SimDisk};
use hapax_store::log::{GroupId, LogError};
use log_support::model::{Expected, World, observe_group};
use log_support::{IdleMark, Node, at, dir, entries, entry, gid, read_all, segments, small};
use proptest::prelude::*;

const BLOCK: usize = 512;
const RECORD_HEADER: usize = 48;
/// A mark that names one group: header, 52 bytes of body, 4 of padding.
const MARK_ONE_GROUP: usize = 104;
const MARK_USED: usize = 100;

fn open(disk: &SimDisk) -> Node {
    Node::open(disk, small(), IdleMark::AtOnce).expect("damage is no reason not to open")
}

fn flip(disk: &SimDisk, path: &std::path::Path, byte: usize, bit: usize) -> SimDisk {
    let copy = disk.fork();
    assert!(copy.tamper(path, |bytes| bytes[byte] ^= 1 << bit));
    copy
}

fn is_quarantined(node: &Node, group: GroupId) -> bool {
    matches!(node.group(group).state(), Err(LogError::Quarantined { group: id, .. }) if id == group)
}

/// What each group holds, or that it is quarantined.
fn outcome(node: &Node, group: GroupId) -> Option<Expected> {
    (!is_quarantined(node, group)).then(|| observe_group(&node.group(group)))
}

/// Two groups with something of everything.
fn two_groups() -> (SimDisk, Node) {
    let disk = SimDisk::new();
    let node = open(&disk);
    for id in [gid(1), gid(2)] {
        let group = node.group(id);
        node.append(&group, entries(id, 1, 1..5, 60)).expect("appended");
        node.run(group.save_vote(Bytes::from_static(b"a vote"))).expect("saved");
    }
    node.settle();
    (disk, node)
}

type Deed = fn(&Node);

/// Each kind of record, made by a write that holds it alone, and how long its body is.
const DEEDS: [(&str, Deed, usize); 5] = [
    ("entry", |node| node.append(&node.group(gid(1)), entries(gid(1), 1, 5..6, 33)).expect("appended"), 33),
    (
        "vote",
        |node| node.run(node.group(gid(1)).save_vote(Bytes::from_static(b"another"))).expect("saved"),
        7,
    ),
    ("truncate", |node| node.run(node.group(gid(1)).truncate_after(Some(3))).expect("truncated"), 0),
    ("purge", |node| node.run(node.group(gid(1)).purge_to(at(1, 2))).expect("purged"), 0),
    ("remove", |node| node.run(node.log.remove_group(gid(1))).expect("removed"), 0),
];

#[test]
fn every_flipped_bit_of_every_kind_of_record_stops_its_group_and_only_those_it_may_harm() {
    for (kind, deed, body) in DEEDS {
        let (disk, node) = two_groups();
        let path = segments(&disk).pop().expect("a segment");
        let before = disk.contents(&path).expect("it exists");
        deed(&node);
        node.settle();
        let other = observe_group(&node.group(gid(2)));
        drop(node);
        let after = disk.contents(&path).expect("it exists");
        let start = (0..after.len()).find(|at| before[*at] != after[*at]).expect("a write") / BLOCK * BLOCK;
        for byte in start..start + MARK_ONE_GROUP + RECORD_HEADER + body {
            if (MARK_USED..MARK_ONE_GROUP).contains(&(byte - start)) {
                continue;
            }
            for bit in 0..8 {
                let node = open(&flip(&disk, &path, byte, bit));
                let context = format!("{kind}: byte {} bit {bit}", byte - start);
                assert!(is_quarantined(&node, gid(1)), "{context}");
                assert_eq!(node.log.stats().damages, 1, "{context}");
                let in_mark = byte - start < MARK_ONE_GROUP;
                let harmed_other = outcome(&node, gid(2)).is_none();
                assert_eq!(harmed_other, in_mark, "{context}: only an unreadable mark harms all");
                assert!(harmed_other || outcome(&node, gid(2)) == Some(other.clone()), "{context}");
            }
        }
    }
}

#[test]
fn a_damaged_commit_record_stops_its_group() {
    let (disk, node) = two_groups();
    let path = segments(&disk).pop().expect("a segment");
    let before = disk.contents(&path).expect("it exists");
    node.group(gid(1)).save_committed(Some(at(1, 3))).expect("noted");
    node.run(node.group(gid(2)).save_vote(Bytes::from_static(b"carries it"))).expect("saved");
    node.settle();
    drop(node);
    let after = disk.contents(&path).expect("it exists");
    let start = (0..after.len()).find(|at| before[*at] != after[*at]).expect("a write") / BLOCK * BLOCK;
    // The mark names two groups; then the vote of ten bytes, then the commit record.
    let commit = start + RECORD_HEADER + 64 + RECORD_HEADER + 16;
    for bit in 0..RECORD_HEADER * 8 {
        let node = open(&flip(&disk, &path, commit + bit / 8, bit % 8));
        assert!(is_quarantined(&node, gid(1)), "bit {bit}");
    }
    let node = open(&disk);
    assert_eq!(node.group(gid(1)).state().expect("state").committed, Some(at(1, 3)));
}

#[test]
fn a_damaged_segment_header_is_counted_and_harms_nobody() {
    let (disk, node) = two_groups();
    let expected = [outcome(&node, gid(1)), outcome(&node, gid(2))];
    drop(node);
    let path = segments(&disk).pop().expect("a segment");
    for bit in 0..56 * 8 {
        let node = open(&flip(&disk, &path, bit / 8, bit % 8));
        assert_eq!([outcome(&node, gid(1)), outcome(&node, gid(2))], expected, "bit {bit}");
        assert_eq!(node.log.stats().damages, 1, "bit {bit}");
        assert!(!node.log.is_new());
    }
}

/// Enough to fill several segments, with small and large entries of three groups.
fn several_segments() -> (SimDisk, Vec<Option<Expected>>) {
    let disk = SimDisk::new();
    let node = open(&disk);
    let ids: Vec<GroupId> = (0..3).map(gid).collect();
    for round in 0..8_u64 {
        for id in &ids {
            let group = node.group(*id);
            node.append(&group, entries(*id, 1, round * 3..round * 3 + 3, 6000)).expect("appended");
            node.run(group.save_vote(Bytes::from(format!("vote {round}")))).expect("saved");
        }
        node.settle();
    }
    assert!(segments(&disk).len() >= 3);
    let expected = ids.iter().map(|id| outcome(&node, *id)).collect();
    (disk, expected)
}

#[test]
fn a_flipped_bit_anywhere_gives_the_truth_or_a_quarantine() {
    let (disk, expected) = several_segments();
    let mut found = 0;
    let mut flips = 0;
    for path in segments(&disk) {
        let len = disk.contents(&path).expect("it exists").len();
        for byte in (0..len).step_by(347) {
            let node = open(&flip(&disk, &path, byte, byte % 8));
            for (shard, expected) in (0..3).zip(&expected) {
                let outcome = outcome(&node, gid(shard));
                assert!(outcome.is_none() || outcome == *expected, "{path:?} byte {byte}");
            }
            found += u64::from(node.log.stats().damages > 0);
            flips += 1;
        }
    }
    // The rest are padding, and the unused end of the last segment.
    assert!(found * 2 > flips, "{found} of {flips}");
}

#[test]
fn a_lost_or_shortened_older_segment_stops_everybody() {
    let (disk, _) = several_segments();
    let all = segments(&disk);
    let (newest, older) = all.split_last().expect("segments");
    for path in older {
        let removed = disk.fork();
        removed.remove(path).expect("removed");
        let shortened = disk.fork();
        assert!(shortened.tamper(path, |bytes| bytes.truncate(bytes.len() / 2)));
        let emptied = disk.fork();
        assert!(emptied.tamper(path, Vec::clear));
        let blank = disk.fork();
        assert!(blank.tamper(path, |bytes| bytes.fill(0)));
        for disk in [removed, shortened, emptied, blank] {
            let node = open(&disk);
            assert!((0..3).all(|shard| is_quarantined(&node, gid(shard))), "{path:?}, newest {newest:?}");
        }
    }
}

#[test]
fn stale_and_misplaced_blocks_are_damage() {
    let (disk, expected) = several_segments();
    let all = segments(&disk);
    let [first, second, ..] = all.as_slice() else { panic!("two segments at least") };
    // Blocks of another segment at the same place, and of the same segment at another place.
    let stale = disk.contents(first).expect("it exists")[BLOCK..4 * BLOCK].to_vec();
    let misplaced = disk.contents(second).expect("it exists")[BLOCK..4 * BLOCK].to_vec();
    for (bytes, offset) in [(stale, BLOCK), (misplaced, 40 * BLOCK)] {
        let copy = disk.fork();
        assert!(copy.tamper(second, |target| target[offset..offset + bytes.len()].copy_from_slice(&bytes)));
        let node = open(&copy);
        let outcomes: Vec<_> = (0..3).map(|shard| outcome(&node, gid(shard))).collect();
        assert!(outcomes.iter().any(Option::is_none), "somebody lost a record");
        assert!(outcomes.iter().zip(&expected).all(|(found, expected)| found.is_none() || found == expected));
    }
}

#[test]
fn a_recycled_segment_that_was_never_begun_holds_nothing() {
    let (disk, expected) = several_segments();
    let all = segments(&disk);
    for old in &all {
        let copy = disk.fork();
        let stale = copy.contents(old).expect("it exists");
        let file = copy.open(&dir().join("00000000000000ff.log"), OpenMode::CreateNew).expect("created");
        file.write_at(&[std::io::IoSlice::new(&stale)], 0).expect("written");
        let node = open(&copy);
        let outcomes: Vec<_> = (0..3).map(|shard| outcome(&node, gid(shard))).collect();
        assert_eq!(outcomes, expected);
        assert_eq!(node.log.stats().damages, 0);
        // Its id is not used again, and the next segment goes on behind it.
        let group = node.group(gid(1));
        node.append(&group, entries(gid(1), 1, 24..25, 100)).expect("appended");
        assert_eq!(segments(&copy).pop(), Some(dir().join("0000000000000100.log")));
        assert!(copy.contents(&dir().join("00000000000000ff.log")).is_none());
        drop((group, node));
        assert_eq!(read_all(&open(&copy).group(gid(1))).expect("read").len(), 25);
    }
}

type Cut = fn(&mut Vec<u8>, usize);

/// How a tail may look from the cut on.
const TAILS: [(&str, Cut); 3] = [
    ("shortened", |bytes, cut| bytes.truncate(cut)),
    ("zeros", |bytes, cut| bytes[cut..].fill(0)),
    ("garbage", |bytes, cut| bytes[cut..].fill(0xa5)),
];

#[test]
fn a_tail_cut_at_every_byte_ends_with_the_last_whole_write() {
    let disk = SimDisk::new();
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    let group = node.group(gid(1));
    let mut worlds = vec![Expected::default()];
    let mut ends = vec![0];
    let note = |worlds: &mut Vec<Expected>, ends: &mut Vec<usize>| {
        let path = segments(&disk).pop().expect("a segment");
        let bytes = disk.contents(&path).expect("it exists");
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        ends.push(used.next_multiple_of(BLOCK));
        worlds.push(observe_group(&group));
    };
    for index in [1, 2, 3] {
        node.append(&group, entries(gid(1), 1, index..index + 1, 600 * usize::from(index == 2)))
            .expect("appended");
        note(&mut worlds, &mut ends);
    }
    node.run(group.save_vote(Bytes::from_static(b"vote"))).expect("saved");
    note(&mut worlds, &mut ends);
    node.run(group.truncate_after(Some(2))).expect("truncated");
    note(&mut worlds, &mut ends);
    node.run(group.purge_to(at(1, 1))).expect("purged");
    note(&mut worlds, &mut ends);
    drop((group, node));

    let path = segments(&disk).pop().expect("a segment");
    let end = ends.last().copied().expect("writes");
    assert!(end < 16 * BLOCK);
    for cut in 0..=end {
        for (tail, make) in TAILS {
            let copy = disk.fork();
            assert!(copy.tamper(&path, |bytes| make(bytes, cut)));
            let node = open(&copy);
            let context = format!("{tail} from byte {cut} of {end}");
            assert_eq!(node.log.stats().damages, 0, "{context}");
            let found = observe_group(&node.group(gid(1)));
            let least = ends.iter().rposition(|end| *end <= cut).expect("0 is before every cut");
            let most = ends.len().min(least + 2);
            assert!(worlds[least..most].contains(&found), "{context}: {found:?}");
        }
    }
}

#[test]
fn damage_before_a_later_write_is_never_taken_for_a_torn_tail() {
    // One write, then another that proves that the first was synced: no tail of the first may be cut.
    let disk = SimDisk::new();
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    node.append(&node.group(gid(1)), entries(gid(1), 1, 1..2, 2000)).expect("appended");
    node.append(&node.group(gid(2)), entries(gid(2), 1, 1..2, 10)).expect("appended");
    let expected = observe_group(&node.group(gid(2)));
    drop(node);
    let path = segments(&disk).pop().expect("a segment");
    for cut in BLOCK..BLOCK + MARK_ONE_GROUP + RECORD_HEADER + 2000 {
        let copy = disk.fork();
        assert!(copy.tamper(&path, |bytes| bytes[cut..5 * BLOCK + BLOCK].fill(0)));
        let node = open(&copy);
        if outcome(&node, gid(1)) != Some(Expected::default()) {
            assert!(is_quarantined(&node, gid(1)), "byte {cut}");
        } else {
            panic!("byte {cut}: an acknowledged entry was cut silently");
        }
        let other = outcome(&node, gid(2));
        assert!(other.is_none() || other == Some(expected.clone()));
    }
}

#[test]
fn the_header_of_a_torn_new_segment_still_vouches_for_the_one_before() {
    let disk = SimDisk::new();
    let node = Node::open(&disk, small(), IdleMark::Never).expect("it opens");
    let group = node.group(gid(1));
    let mut last = 0;
    while segments(&disk).len() < 2 {
        last += 1;
        node.append(&group, vec![entry(gid(1), 1, last, 7000)]).expect("appended");
    }
    drop((group, node));
    let [old, new] = segments(&disk).try_into().expect("two segments");
    // The first write of the new segment never arrived, but for the header: the entry is cut, no more.
    assert!(disk.tamper(&new, |bytes| bytes[BLOCK..].fill(0)));
    let node = open(&disk.fork());
    assert_eq!(node.group(gid(1)).state().expect("whole").last, Some(at(1, last - 1)));
    assert_eq!(node.log.stats().damages, 0);
    // If the last write of the old segment is damaged as well, the header proves that it was synced.
    let used = disk.contents(&old).expect("it exists").iter().rposition(|byte| *byte != 0).expect("writes");
    let node = open(&flip(&disk, &old, used, 0));
    assert!(is_quarantined(&node, gid(1)));
}

#[test]
fn a_quarantine_outlives_the_damage_and_the_segment_that_it_was_in() {
    let (disk, node) = two_groups();
    drop(node);
    let path = segments(&disk).pop().expect("a segment");
    // The first mark: all are harmed, and there may have been others.
    let damaged = flip(&disk, &path, BLOCK + 5, 1);
    let node = open(&damaged);
    node.settle();
    assert_eq!(node.log.stats().quarantined_groups, 2);
    assert!(is_quarantined(&node, gid(3)), "an unknown group may have been in the damaged write");
    // A group that is known to be new is not: it lives on, past restarts, beside the damage.
    let fresh = node.log.create_group(gid(4));
    node.append(&fresh, entries(gid(4), 1, 1..3, 100)).expect("appended");
    drop((fresh, node));
    let node = open(&damaged);
    assert_eq!(read_all(&node.group(gid(4))).expect("whole").len(), 2);
    assert!(is_quarantined(&node, gid(1)) && is_quarantined(&node, gid(2)) && is_quarantined(&node, gid(3)));
    // Traffic pushes the damaged segment out.
    let fresh = node.group(gid(4));
    for index in 3..90 {
        node.append(&fresh, entries(gid(4), 1, index..index + 1, 7000)).expect("appended");
        node.run(fresh.purge_to(at(1, index - 1))).expect("purged");
    }
    node.settle();
    assert!(damaged.contents(&path).is_none(), "the damaged segment is gone");
    drop((fresh, node));
    let node = open(&damaged);
    assert_eq!(node.log.stats().damages, 0);
    assert!([1, 2, 3, 5].iter().all(|shard| is_quarantined(&node, gid(*shard))));
    assert_eq!(read_all(&node.group(gid(4))).expect("whole").len(), 1);
    // A quarantined group refuses everything but its removal.
    let group = node.group(gid(1));
    assert!(node.append(&group, entries(gid(1), 9, 1..2, 10)).is_err());
    assert!(node.run(group.save_vote(Bytes::new())).is_err());
    assert!(group.save_committed(None).is_err());
    assert!(node.run(group.truncate_after(None)).is_err());
    assert!(node.run(group.purge_to(at(1, 1))).is_err());
    assert!(group.read(0, 9, 9).is_err());
    node.run(node.log.remove_group(gid(1))).expect("removed");
    assert!(!node.log.groups().contains(&gid(1)));
}

#[test]
fn a_group_that_came_after_the_damage_does_not_pay_for_it_wherever_the_power_goes() {
    let (disk, node) = two_groups();
    drop(node);
    let path = segments(&disk).pop().expect("a segment");
    let damaged = flip(&disk, &path, BLOCK + 5, 1);
    let mut acked_beside_damage = 0;
    for (call, seed) in (0..16).flat_map(|call| (0..4).map(move |seed| (call, seed))) {
        let disk = damaged.fork();
        let node = open(&disk);
        disk.power_off_at(disk.ops() + call);
        let acked = node.append(&node.log.create_group(gid(4)), entries(gid(4), 1, 1..3, 100)).is_ok();
        node.settle();
        drop(node);
        disk.crash(seed);
        let node = open(&disk);
        let context = format!("power off at call {call}, seed {seed}");
        assert!(is_quarantined(&node, gid(1)) && is_quarantined(&node, gid(2)), "{context}");
        if acked {
            acked_beside_damage += u64::from(node.log.stats().damages > 0);
            assert_eq!(read_all(&node.group(gid(4))).expect("whole").len(), 2, "{context}");
        }
    }
    assert!(acked_beside_damage > 0, "the damaged segment was still there in some of them");
}

#[test]
fn damage_that_comes_after_other_damage_was_dealt_with_is_not_overlooked() {
    let (disk, node) = two_groups();
    drop(node);
    let path = segments(&disk).pop().expect("a segment");
    let place_of = |group: GroupId| {
        let bytes = disk.contents(&path).expect("it exists");
        let needle = entries(group, 1, 2..3, 60)[0].payload.clone();
        bytes.windows(needle.len()).position(|window| window == needle).expect("it is there")
    };
    let first = flip(&disk, &path, place_of(gid(2)), 0);
    let node = open(&first);
    node.settle();
    assert!(is_quarantined(&node, gid(2)) && !is_quarantined(&node, gid(1)));
    drop(node);
    let node = open(&flip(&first, &path, place_of(gid(1)), 0));
    assert!(is_quarantined(&node, gid(2)) && is_quarantined(&node, gid(1)));
}

#[test]
fn damaged_records_of_a_removed_group_bring_nobody_back() {
    let (disk, node) = two_groups();
    node.run(node.log.remove_group(gid(1))).expect("removed");
    node.settle();
    drop(node);
    let path = segments(&disk).pop().expect("a segment");
    // Header and body of its first record, in a write that named it.
    for byte in [BLOCK + MARK_ONE_GROUP, BLOCK + MARK_ONE_GROUP + RECORD_HEADER] {
        let node = open(&flip(&disk, &path, byte, 0));
        assert_eq!(node.log.stats().damages, 1);
        assert_eq!(node.log.groups(), vec![gid(2)]);
    }
}

#[test]
fn damage_found_by_a_read_stops_the_group_for_ever() {
    let (disk, node) = two_groups();
    let group = node.group(gid(1));
    node.append(&group, entries(gid(1), 1, 5..9, 1000)).expect("appended");
    let path = segments(&disk).pop().expect("a segment");
    let needle = entries(gid(1), 1, 5..6, 1000)[0].payload.clone();
    assert!(disk.tamper(&path, |bytes| {
        let place = bytes.windows(needle.len()).position(|window| window == needle).expect("it is there");
        bytes[place + 500] ^= 1;
    }));
    // The newest entry is still in memory, the damaged one is not.
    assert_eq!(group.read(8, 9, 1).expect("cached").len(), 1);
    let error = group.read(5, 6, 1).expect_err("damaged");
    assert!(matches!(error, LogError::Quarantined { .. }), "{error}");
    assert!(!error.to_string().contains("1/1001/"), "no payload in an error: {error}");
    assert!(is_quarantined(&node, gid(1)) && !is_quarantined(&node, gid(2)));
    node.settle();
    drop((group, node));
    assert!(is_quarantined(&open(&disk), gid(1)));
}

#[test]
fn a_log_of_a_newer_format_is_refused_not_repaired() {
    let (disk, node) = two_groups();
    drop(node);
    let path = segments(&disk).pop().expect("a segment");
    assert!(disk.tamper(&path, |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..52]);
        bytes[52..56].copy_from_slice(&crc.to_le_bytes());
    }));
    let error = Node::open(&disk, small(), IdleMark::Never).map(drop).expect_err("refused");
    assert!(matches!(error, LogError::Version { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn the_model_sees_what_the_log_holds() {
    // Guards the tests above: a log that always looked empty would pass some of them.
    let (_disk, node) = two_groups();
    let world: World = [(gid(1), observe_group(&node.group(gid(1))))].into();
    assert_eq!(world[&gid(1)].entries, entries(gid(1), 1, 1..5, 60));
    assert_eq!(world[&gid(1)].vote, Some(Bytes::from_static(b"a vote")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_garbage_brings_the_opening_down_or_makes_anything_up(
        splices in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..2000)),
            1..6,
        ),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (disk, expected) = several_segments();
        let all = segments(&disk);
        for (file, place, bytes) in &splices {
            assert!(disk.tamper(&all[file.index(all.len())], |target| {
                let start = place.index(target.len());
                let end = target.len().min(start + bytes.len());
                target[start..end].copy_from_slice(&bytes[..end - start]);
            }));
        }
        if let Some(cut) = cut {
            assert!(disk.tamper(&all[0], |target| target.truncate(cut.index(target.len()))));
        }
        let node = open(&disk);
        let newest = all.len() - 1;
        let torn_tail = splices.iter().any(|(file, ..)| file.index(all.len()) == newest);
        for (shard, expected) in (0..3).zip(&expected) {
            let outcome = outcome(&node, gid(shard));
            // Garbage in the newest segment may pass for a torn tail: then less is there, but nothing else.
            let shorter = |found: &Expected| {
                let expected = expected.as_ref().expect("it was whole");
                torn_tail && expected.entries.starts_with(&found.entries)
            };
            assert!(outcome.is_none() || outcome == *expected || outcome.as_ref().is_some_and(shorter));
        }
    }
}
