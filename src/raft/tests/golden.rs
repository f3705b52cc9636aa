//! The bytes that this crate keeps on disk are frozen: payloads, votes, memberships, the layout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use hapax_raft::codec::{
    decode_membership, decode_payload, decode_vote, encode_membership, encode_payload, encode_vote,
};
use hapax_raft::ids::NodeId;
use hapax_raft::layout::{Layout, LayoutError};
use hapax_raft::types::{Membership, Payload, Proposal, StoredMembership, Vote, log_id};
use hapax_store::disk::{Disk, DiskFile, OpenMode, SimDisk, write_all_at};
use hapax_store::log::LogPosition;
use hapax_wire::ClusterId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::IoSlice;
use std::path::Path;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Voters 1 and 2 become 1 and 3, 9 learns.
fn joint() -> Membership {
    let voters = vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 3])];
    Membership::new(voters, BTreeMap::from([(1, ()), (2, ()), (3, ()), (9, ())])).unwrap()
}

#[test]
fn payloads_have_these_bytes() {
    let commands = Payload::Normal(Proposal(bytes::Bytes::from_static(b"batch")));
    for (payload, golden) in [
        (Payload::Blank, "00".to_owned()),
        (commands, format!("01{}", hex(b"batch"))),
        (Payload::Membership(joint()), format!("02{}", golden_membership(None))),
    ] {
        let bytes = encode_payload(&payload);
        assert_eq!(hex(&bytes), golden);
        assert_eq!(decode_payload(&bytes).unwrap(), payload);
    }
}

fn golden_membership(set_at: Option<(u64, u64)>) -> String {
    let set_at = set_at.map_or("00".to_owned(), |(term, index)| {
        format!("01{}{}", hex(&term.to_le_bytes()), hex(&index.to_le_bytes()))
    });
    let sets = [vec![1, 2], vec![1, 3], vec![1, 2, 3, 9]].map(|set: Vec<u64>| {
        let ids: String = set.iter().map(|id| hex(&id.to_le_bytes())).collect();
        hex(&(set.len() as u64).to_le_bytes()) + &ids
    });
    format!("01{set_at}{}{}{}{}", hex(&2u64.to_le_bytes()), sets[0], sets[1], sets[2])
}

#[test]
fn memberships_have_these_bytes() {
    assert_eq!(golden_membership(None).len(), 2 * (1 + 1 + 8 + 24 + 24 + 40));
    for set_at in [None, Some((3, 70))] {
        let id = set_at.map(|(term, index)| log_id(LogPosition { term, index }));
        let stored = StoredMembership::new(id, joint());
        let bytes = encode_membership(&stored);
        assert_eq!(hex(&bytes), golden_membership(set_at));
        assert_eq!(decode_membership(&bytes).unwrap(), stored);
    }
    assert_eq!(decode_membership(&[]).unwrap(), StoredMembership::default(), "a group that has none yet");
}

#[test]
fn votes_have_these_bytes() {
    let golden = concat!("01", "0700000000000000", "0000000100000000", "0");
    for (vote, committed) in [(Vote::new(7, 1 << 24), "0"), (Vote::new_committed(7, 1 << 24), "1")] {
        let bytes = encode_vote(&vote);
        assert_eq!(hex(&bytes), format!("{golden}{committed}"));
        assert_eq!(decode_vote(&bytes).unwrap(), vote);
    }
}

#[test]
fn what_is_cut_lengthened_or_of_another_version_is_refused() {
    let vote = encode_vote(&Vote::new_committed(7, 65_536));
    let membership = encode_membership(&StoredMembership::new(None, joint()));
    for cut in 0..vote.len() {
        assert!(decode_vote(&vote[..cut]).is_err(), "a vote cut at {cut}");
    }
    for cut in 1..membership.len() {
        assert!(decode_membership(&membership[..cut]).is_err(), "a membership cut at {cut}");
    }
    let longer = |bytes: &[u8]| [bytes, &[0]].concat();
    assert!(decode_vote(&longer(&vote)).is_err());
    assert!(decode_membership(&longer(&membership)).is_err());
    let newer = |bytes: &[u8]| [&[2], &bytes[1..]].concat();
    assert!(decode_vote(&newer(&vote)).is_err());
    assert!(decode_membership(&newer(&membership)).is_err());
    for tag in 3..=255 {
        assert!(decode_payload(&bytes::Bytes::from(vec![tag, 0])).is_err(), "tag {tag}");
    }
    assert!(decode_payload(&bytes::Bytes::new()).is_err());
}

#[test]
fn a_length_that_lies_allocates_nothing_and_is_refused() {
    // A membership of 2^56 voter sets.
    let lie = [&[1, 0][..], &(1u64 << 56).to_le_bytes(), &[0; 64]].concat();
    assert!(decode_membership(&lie).is_err());
    // A voter that is no member.
    let mut bytes = encode_membership(&StoredMembership::new(None, joint()));
    let voter = 1 + 1 + 8 + 8;
    assert_eq!(bytes[voter], 1);
    bytes[voter] = 0x77;
    assert!(decode_membership(&bytes).is_err());
}

fn layout() -> Layout {
    let node = |n: u64| NodeId::from_u64(n << 16);
    Layout {
        version: 3,
        replication: 2,
        nodes: vec![(node(1), "a".to_owned()), (node(2), "b".to_owned())],
        table: vec![
            vec![node(1).replica(0), node(2).replica(7)],
            vec![node(2).replica(7), node(1).replica(0)],
        ],
    }
}

const OURS: ClusterId = ClusterId(*b"cluster-of-three");

fn saved() -> (SimDisk, Vec<u8>) {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/n")).unwrap();
    layout().save(&disk, Path::new("/n"), OURS).unwrap();
    let bytes = disk.contents(Path::new("/n/layout")).unwrap();
    (disk, bytes)
}

#[test]
fn the_layout_file_has_these_bytes() {
    let (disk, bytes) = saved();
    let golden = concat!(
        "48415041584c410a", // magic
        "01",               // version
        "CHECKSUM",
        "636c75737465722d6f662d7468726565", // cluster
        "02",                               // shards
        "02",                               // replication
        "03",                               // version of the layout
        "02fc000001000161fc000002000162",   // nodes: id and name
        "02",
        "0002fc00000100fc07000200", // shard 0
        "0102fc07000200fc00000100", // shard 1
    );
    let sum = hex(&crc32c::crc32c(&bytes[13..]).to_le_bytes());
    assert_eq!(hex(&bytes), golden.replace("CHECKSUM", &sum));
    assert_eq!(Layout::load(&disk, Path::new("/n"), OURS).unwrap(), Some(layout()));
}

#[test]
fn a_damaged_cut_foreign_or_newer_layout_file_is_refused_and_none_is_none() {
    let (disk, bytes) = saved();
    let load = |bytes: &[u8]| {
        let path = Path::new("/n/layout");
        disk.remove(path).unwrap();
        let file = disk.open(path, OpenMode::CreateNew).unwrap();
        let file: &dyn DiskFile = file.as_ref();
        write_all_at(file, &mut [IoSlice::new(bytes)], 0).unwrap();
        Layout::load(&disk, Path::new("/n"), OURS)
    };
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        assert!(load(&flipped).is_err(), "byte {at} flipped");
        assert!(load(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(matches!(load(&[bytes.as_slice(), &[0]].concat()), Err(LayoutError::Damaged)));
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert!(matches!(load(&newer), Err(LayoutError::Version { found: 2 })));
    assert!(load(&bytes).unwrap().is_some());
    let other = Layout::load(&disk, Path::new("/n"), ClusterId([1; 16]));
    assert!(matches!(other, Err(LayoutError::WrongCluster)));
    disk.create_dir(Path::new("/new")).unwrap();
    assert_eq!(Layout::load(&disk, Path::new("/new"), OURS).unwrap(), None);
}
