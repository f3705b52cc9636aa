//! The marks kept outside the engine: up to where each shard's records are known to be on the disk.
//!
//! Contract: a mark is written after the engine's sync that it tells of, and the log may be purged up to it and no
//! further. An engine that opens behind its mark has lost something that it had promised; that shard is damaged.
//! The file is replaced whole, so that a crash leaves the old or the new one.

use super::error::StoreError;
use crate::codec;
use crate::disk::{Disk, read_file, replace_file};
use crate::log::{GroupId, LogPosition};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most replicas that one node may hold records of.
pub(crate) const REPLICAS_MAX: usize = 4096;

/// Numbers a mark takes in the file: shard, replica, generation, term, index.
const NUMBERS: usize = 5;

/// Bounds the file on reading.
const FILE_BYTES_MAX: usize = 64 + REPLICAS_MAX * NUMBERS * 8;

/// What is known to be on the disk of one replica's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which generation of the replica's space.
    pub(crate) generation: u64,
    /// Up to where.
    pub(crate) position: LogPosition,
}

/// The marks of a node.
#[derive(Debug)]
pub(crate) struct Marks {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    marks: BTreeMap<GroupId, Mark>,
}

/// What the file's checksum is seeded with.
const PLACE: &[u8] = b"marks";

impl Marks {
    /// Reads the marks in `dir`; none if there is no file.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("marks");
        let marks = match read_file(disk.as_ref(), &path, FILE_BYTES_MAX) {
            Ok(bytes) => decode(&bytes)?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                return Err(StoreError::damaged("the marks", error));
            }
            Err(error) => return Err(StoreError::io("read the marks", error)),
        };
        Ok(Self { disk, path, marks })
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<Mark> {
        self.marks.get(&id).copied()
    }

    /// Changes marks (`None` removes one) and writes the file, unless nothing changed.
    pub(crate) fn update(&mut self, changes: &[(GroupId, Option<Mark>)]) -> Result<(), StoreError> {
        let mut marks = self.marks.clone();
        for (id, mark) in changes {
            match mark {
                Some(mark) => marks.insert(*id, *mark),
                None => marks.remove(id),
            };
        }
        if marks == self.marks {
            return Ok(());
        }
        replace_file(self.disk.as_ref(), &self.path, &encode(&marks))
            .map_err(|error| StoreError::io("write the marks", error))?;
        self.marks = marks;
        Ok(())
    }
}

fn encode(marks: &BTreeMap<GroupId, Mark>) -> Vec<u8> {
    let numbers: Vec<u64> = marks
        .iter()
        .flat_map(|(id, mark)| {
            [u64::from(id.shard), id.replica, mark.generation, mark.position.term, mark.position.index]
        })
        .collect();
    codec::encode_numbers(&numbers, PLACE)
}

fn decode(bytes: &[u8]) -> Result<BTreeMap<GroupId, Mark>, StoreError> {
    let numbers = codec::decode_all_numbers(bytes, PLACE, "the marks")?;
    let (marks, rest) = numbers.as_chunks::<NUMBERS>();
    let read = |[shard, replica, generation, term, index]: &[u64; NUMBERS]| {
        let id = GroupId { shard: u32::try_from(*shard).ok()?, replica: *replica };
        let position = LogPosition { term: *term, index: *index };
        Some((id, Mark { generation: *generation, position }))
    };
    let read: Option<BTreeMap<_, _>> = marks.iter().map(read).collect();
    read.filter(|_| rest.is_empty()).ok_or_else(|| StoreError::damaged("the marks", "cannot be decoded"))
}
