//! The small files of a node, and the small values of its log: identity, layout, marks; votes, memberships, payloads.
//!
//! Input: which one it is and whether its checksum is made to fit, then its bytes. What is read must be the same
//! after it was written again; what is refused, is refused by its own error.

use super::samples::ID;
use crate::seen::Seen;
use bytes::Bytes;
use hapax_raft::codec::{
    decode_membership, decode_payload, decode_vote, encode_membership, encode_payload, encode_vote,
};
use hapax_raft::ids::{NodeId, ReplicaId};
use hapax_raft::layout::{Layout, LayoutError};
use hapax_raft::types::{Membership, Payload, StoredMembership, Vote, log_id};
use hapax_store::disk::{Disk, OpenMode, SimDisk};
use hapax_store::identity::{self, IdentityError};
use hapax_store::log::LogPosition;
use hapax_store::records::{EngineKind, MemoryEngine, RecordConfig, RecordStore, StoreError};
use hapax_wire::ClusterId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/node";
const CLUSTER: [u8; 16] = [7; 16];

/// Each file as a node writes it, and each value as its log holds it.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let disk = SimDisk::new();
    let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let expected = identity::Expected { cluster_id: 9, node_id: Some(5), fresh_node_id: 6 };
    drop(identity::DataDir::open(&dyn_disk, Path::new(DIR), expected).unwrap());
    let nodes = [1, 2, 3].map(|id| (NodeId::from_u64(id), format!("node-{id}")));
    let table = vec![[11, 12, 13].map(ReplicaId::from_u64).to_vec(); 2];
    let layout = Layout { version: 1, replication: 3, nodes: nodes.to_vec(), table };
    layout.save(&disk, Path::new(DIR), ClusterId(CLUSTER)).unwrap();
    let file =
        |kind: u8, name: &str| [vec![kind], disk.contents(&Path::new(DIR).join(name)).unwrap()].concat();
    let members = |ids: &[u64]| ids.iter().map(|id| (*id, ())).collect::<BTreeMap<_, _>>();
    let voters = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<_>>();
    let joint =
        Membership::new(vec![voters(&[1, 2, 3]), voters(&[2, 3, 4])], members(&[1, 2, 3, 4, 5])).unwrap();
    let set_at = log_id(LogPosition { term: 2, index: 9 });
    let stored = StoredMembership::new(Some(set_at), joint.clone());
    let mut marks = vec![0; 5];
    [3u64, 7, 0, 1, 4].iter().for_each(|number| marks.extend_from_slice(&number.to_le_bytes()));
    super::stored::seal(&mut marks, b"marks");
    vec![
        file(0, "identity"),
        file(1, "layout"),
        [vec![2], marks].concat(),
        [&[3][..], &encode_vote(&Vote::new_committed(7, 3))].concat(),
        [&[4][..], &encode_membership(&stored)].concat(),
        [&[5][..], &encode_payload(&Payload::Membership(joint))].concat(),
        vec![5, 0],
        vec![5, 1, 1, 0, 0],
    ]
}

/// Runs the target.
pub(super) fn node_file(input: &[u8], seen: &mut Seen) -> usize {
    let Some((kind, bytes)) = input.split_first() else { return 0 };
    seen.note(("kind", kind % 6));
    let taken = match kind % 6 {
        0 => identity(bytes, seen),
        1 => layout(bytes, seen),
        2 => marks(bytes, seen),
        3 => vote(bytes),
        4 => membership(bytes, seen),
        _ => payload(bytes, seen),
    };
    usize::from(taken)
}

/// Makes the checksum of a file fit.
pub(super) fn repair(input: &mut Vec<u8>) {
    let Some((kind, bytes)) = input.split_first_mut() else { return };
    match kind.checked_rem(6) {
        Some(0) if bytes.len() >= 40 => {
            let sum = crc32c::crc32c(&bytes[..36]);
            bytes[36..40].copy_from_slice(&sum.to_le_bytes());
            input.truncate(41);
        }
        Some(1) if bytes.len() >= 13 => {
            let sum = crc32c::crc32c(&bytes[13..]);
            bytes[9..13].copy_from_slice(&sum.to_le_bytes());
        }
        Some(2) if bytes.len() >= 5 => super::stored::seal(bytes, b"marks"),
        _ => {}
    }
}

/// A disk with one file.
fn disk_with(dir: &str, name: &str, bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir(Path::new(dir)).unwrap();
    let path = Path::new(dir).join(name);
    disk.open(&path, OpenMode::CreateNew).unwrap();
    disk.tamper(&path, |contents| *contents = bytes.to_vec());
    disk.sync_dir(Path::new(dir)).unwrap();
    disk
}

fn identity(bytes: &[u8], seen: &mut Seen) -> bool {
    let disk = disk_with(DIR, "identity", bytes);
    match identity::read(&disk, Path::new(DIR)) {
        Ok(Some(_)) => true,
        Ok(None) => panic!("the file is there"),
        Err(error @ (IdentityError::Damaged(_) | IdentityError::Version { .. })) => {
            seen.text(&error);
            false
        }
        Err(error) => panic!("a bad file is called something else: {error}"),
    }
}

fn layout(bytes: &[u8], seen: &mut Seen) -> bool {
    let disk = disk_with(DIR, "layout", bytes);
    let cluster = ClusterId(CLUSTER);
    let loaded = Layout::load(&disk, Path::new(DIR), cluster);
    seen.shape(&loaded);
    match loaded {
        Ok(Some(layout)) => {
            layout.save(&disk, Path::new(DIR), cluster).unwrap();
            let again = Layout::load(&disk, Path::new(DIR), cluster).unwrap();
            assert_eq!(again.as_ref(), Some(&layout));
            true
        }
        Ok(None) => panic!("the file is there"),
        Err(LayoutError::Io(error)) => panic!("a bad file is called a failed disk: {error}"),
        Err(_) => false,
    }
}

fn marks(bytes: &[u8], seen: &mut Seen) -> bool {
    let disk = disk_with("/records", "marks", bytes);
    let config = RecordConfig { kind: EngineKind::Memory(MemoryEngine::new()), ..RecordConfig::default() };
    match RecordStore::open(Arc::new(disk), Path::new("/records"), config) {
        Ok((store, _writer)) => {
            seen.note(("shard", store.shard(ID).is_ok()));
            true
        }
        Err(error @ StoreError::Damaged { .. }) => {
            seen.text(&error);
            false
        }
        Err(error) => panic!("a bad file is called something else: {error}"),
    }
}

fn vote(bytes: &[u8]) -> bool {
    let Ok(vote) = decode_vote(bytes) else { return false };
    assert_eq!(encode_vote(&vote), bytes);
    true
}

fn membership(bytes: &[u8], seen: &mut Seen) -> bool {
    let decoded = decode_membership(bytes);
    seen.shape(&decoded);
    let Ok(membership) = decoded else { return false };
    let again = decode_membership(&encode_membership(&membership)).expect("our own bytes");
    assert_eq!(again, membership);
    true
}

fn payload(bytes: &[u8], seen: &mut Seen) -> bool {
    let decoded = decode_payload(&Bytes::copy_from_slice(bytes));
    seen.shape(&decoded);
    let Ok(payload) = decoded else { return false };
    let again = decode_payload(&encode_payload(&payload)).expect("our own bytes");
    assert_eq!(format!("{again:?}"), format!("{payload:?}"));
    true
}
