//! The files that hold the log: which are in use, how much of each still matters, and which wait for reuse.
//!
//! Contract: a file named `<id>.log` is a segment, `<id>.free` waits for reuse; ids are 16 hex digits, only
//! grow, and are never reused. A segment's live bytes are those of records that a recovery still needs; the
//! oldest is given up only when it has none, so what is in use is always one run of segments. A new segment is
//! always made of a file that waits: a crash in the middle of making one leaves nothing that looks like a log.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::disk::{Disk, DiskFile, OpenMode};

use super::error::LogError;

/// Where a record stands and how long it is, header and padding included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) len: u32,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    live_bytes: AtomicU64,
}

/// The segments in use, by id. Shared between the writer, which adds and drops, and the readers.
#[derive(Debug, Default)]
pub(super) struct Segments {
    in_use: RwLock<BTreeMap<u64, Arc<Segment>>>,
}

/// No log lives to see a higher id. A file that is named with one is not ours: ids could not go on from it.
const SEGMENT_ID_MAX: u64 = u64::MAX >> 1;

/// What a file name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    Log(u64),
    Free(u64),
}

impl FileName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (id, kind) = name.split_once('.')?;
        if id.len() != 16 {
            return None;
        }
        let id = u64::from_str_radix(id, 16).ok().filter(|id| *id <= SEGMENT_ID_MAX)?;
        let parsed = match kind {
            "log" => Self::Log(id),
            "free" => Self::Free(id),
            _ => return None,
        };
        (parsed.to_string() == name).then_some(parsed)
    }

    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }

    pub(super) fn id(self) -> u64 {
        let (Self::Log(id) | Self::Free(id)) = self;
        id
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(id) => write!(f, "{id:016x}.log"),
            Self::Free(id) => write!(f, "{id:016x}.free"),
        }
    }
}

impl Segments {
    pub(super) fn add(&self, id: u64, file: Arc<dyn DiskFile>) {
        self.in_use.write().insert(id, Arc::new(Segment { file, live_bytes: AtomicU64::new(0) }));
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<Segment>> {
        self.in_use.read().get(&id).cloned()
    }

    pub(super) fn live(&self, at: Located) {
        if let Some(segment) = self.in_use.read().get(&at.segment) {
            segment.live_bytes.fetch_add(u64::from(at.len), Ordering::Relaxed);
        }
    }

    pub(super) fn dead(&self, at: Located) {
        if let Some(segment) = self.in_use.read().get(&at.segment) {
            segment.live_bytes.fetch_sub(u64::from(at.len), Ordering::Relaxed);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.in_use.read().len()
    }

    /// The oldest segment and its live bytes.
    pub(super) fn oldest(&self) -> Option<(u64, u64)> {
        let in_use = self.in_use.read();
        in_use.first_key_value().map(|(id, segment)| (*id, segment.live_bytes.load(Ordering::Relaxed)))
    }

    /// The first segment that has live bytes or is `current`.
    pub(super) fn first_needed(&self, current: u64) -> u64 {
        let in_use = self.in_use.read();
        let needed = |segment: &Segment| segment.live_bytes.load(Ordering::Relaxed) > 0;
        in_use.iter().find(|(id, segment)| **id >= current || needed(segment)).map_or(current, |(id, _)| *id)
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.in_use.read().values().map(|segment| segment.live_bytes.load(Ordering::Relaxed)).sum()
    }

    /// Takes the segments below `first` out of use. Those that nobody is reading come with their file, ready
    /// to be overwritten; the others must be unlinked, so that the readers keep what they opened.
    pub(super) fn take_below(&self, first: u64) -> Vec<(u64, Option<Arc<dyn DiskFile>>)> {
        let mut in_use = self.in_use.write();
        let kept = in_use.split_off(&first);
        let taken = std::mem::replace(&mut *in_use, kept);
        taken
            .into_iter()
            .map(|(id, segment)| (id, Arc::into_inner(segment).map(|segment| segment.file)))
            .collect()
    }
}

/// A segment's id and file.
type Numbered = (u64, Arc<dyn DiskFile>);

/// Files that wait for use, and the ids given out. Used by the writer alone.
#[derive(Debug)]
pub(super) struct Pool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    kept_max: usize,
    free: Vec<Numbered>,
    /// Segments that a crash left without a write.
    unborn: Vec<u64>,
    last_id: u64,
}

impl Pool {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        segment_bytes: u64,
        kept_max: usize,
        unborn: Vec<u64>,
        last_id: u64,
    ) -> Self {
        Self { disk, dir, segment_bytes, kept_max, free: Vec::new(), unborn, last_id }
    }

    pub(super) fn free_count(&self) -> usize {
        self.free.len()
    }

    /// Takes over a file that a former run had set aside, or removes it if it does not fit.
    pub(super) fn adopt(&mut self, id: u64) -> Result<(), LogError> {
        let path = FileName::Free(id).path(&self.dir);
        let file =
            self.disk.open_blocks(&path, OpenMode::ReadWrite).map_err(LogError::io("open a free segment"))?;
        let len = file.len().map_err(LogError::io("measure a free segment"))?;
        if len == self.segment_bytes && self.free.len() < self.kept_max.max(1) {
            self.free.push((id, file));
            return Ok(());
        }
        self.disk.remove(&path).map_err(LogError::io("remove a free segment"))
    }

    /// Sets a segment's file aside for reuse if there is room and nobody reads it, or removes it.
    pub(super) fn retire(&mut self, id: u64, file: Option<Arc<dyn DiskFile>>) -> Result<(), LogError> {
        let path = FileName::Log(id).path(&self.dir);
        match file {
            Some(file) if self.free.len() < self.kept_max && file.len().ok() == Some(self.segment_bytes) => {
                let free = FileName::Free(id).path(&self.dir);
                self.disk.rename(&path, &free).map_err(LogError::io("set a segment aside"))?;
                self.free.push((id, file));
                Ok(())
            }
            _ => self.disk.remove(&path).map_err(LogError::io("remove a segment")),
        }
    }

    /// Sets a new file aside, with its space reserved; says whether the disk had the room.
    pub(super) fn prepare(&mut self) -> Result<bool, LogError> {
        let id = self.last_id + 1;
        self.last_id = id;
        let path = FileName::Free(id).path(&self.dir);
        let made = self.disk.open_blocks(&path, OpenMode::CreateNew).and_then(|file| {
            file.preallocate(self.segment_bytes)?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                self.free.push((id, file));
                Ok(true)
            }
            Err(error) => {
                // Part of the last space may be taken. If the file stays, the next opening looks at its length.
                let _stays = self.disk.remove(&path);
                if is_no_room(&error) { Ok(false) } else { Err(LogError::io("create a segment")(error)) }
            }
        }
    }

    /// A file for a new segment, and its id; none while the disk has no room for one. Its name is durable only
    /// after the directory is synced.
    pub(super) fn take(&mut self) -> Result<Option<Numbered>, LogError> {
        if self.free.is_empty() && !self.prepare()? {
            return Ok(None);
        }
        if !self.unborn.is_empty() {
            for id in self.unborn.drain(..) {
                let path = FileName::Log(id).path(&self.dir);
                self.disk.remove(&path).map_err(LogError::io("remove an unborn segment"))?;
            }
            // Recovery takes only the newest segments for unborn: none may come back behind the new one.
            self.sync_dir()?;
        }
        let Some((free_id, file)) = self.free.pop() else { return Ok(None) };
        let id = self.last_id + 1;
        self.last_id = id;
        let (free, path) = (FileName::Free(free_id).path(&self.dir), FileName::Log(id).path(&self.dir));
        self.disk.rename(&free, &path).map_err(LogError::io("begin a segment"))?;
        Ok(Some((id, file)))
    }

    pub(super) fn sync_dir(&self) -> Result<(), LogError> {
        self.disk.sync_dir(&self.dir).map_err(LogError::io("sync the log's directory"))
    }
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
