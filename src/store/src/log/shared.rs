//! What the log's handles and its writer share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::disk::{self, Disk};

use super::config::LogConfig;
use super::error::LogError;
use super::format::{Kind, Place, RECORD_HEADER_BYTES, RecordHeader, record_bytes};
use super::group::Group;
use super::queue::{Op, Queue};
use super::segment::{Located, Segments};
use super::stats::{self, Counters};
use super::types::GroupId;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) config: LogConfig,
    pub(super) queue: Queue,
    pub(super) groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    pub(super) segments: Segments,
    pub(super) counters: Counters,
    /// Damage may have held records of groups that nothing names: an unknown group cannot be trusted.
    pub(super) doubt: AtomicBool,
    /// The last reading of free space was below the reserve.
    pub(super) disk_full: AtomicBool,
}

/// Why a record could not be read back.
#[derive(Debug)]
pub(super) enum ReadBack {
    /// The segment was given up meanwhile: the record is elsewhere or gone.
    Moved,
    /// The bytes are not what was written.
    Damaged,
    /// The disk failed.
    Failed(LogError),
}

impl Shared {
    /// Reads an entry's payload from where it was written.
    pub(super) fn read_entry(&self, group: GroupId, index: u64, at: Located) -> Result<Bytes, ReadBack> {
        let Some(segment) = self.segments.get(at.segment) else { return Err(ReadBack::Moved) };
        let mut bytes = vec![0; at.len as usize];
        let read = disk::read_up_to(segment.file.as_ref(), &mut bytes, u64::from(at.offset));
        let read = read.map_err(|error| ReadBack::Failed(LogError::io("read an entry back")(error)))?;
        let place = Place { segment: at.segment, offset: u64::from(at.offset) };
        let Ok(header) = RecordHeader::decode(&bytes[..read], place) else { return Err(ReadBack::Damaged) };
        let body_len = header.body_len as usize;
        if header.kind != Kind::Entry || header.group != group || header.index != index {
            return Err(ReadBack::Damaged);
        }
        if record_bytes(body_len) != bytes.len() {
            return Err(ReadBack::Damaged);
        }
        let body = Bytes::from(bytes).slice(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + body_len);
        if header.body_matches(at.segment, &body) { Ok(body) } else { Err(ReadBack::Damaged) }
    }

    /// Counts damage that was found while the log runs, and stops the group.
    pub(super) fn found_damage(&self, group: &Arc<Group>, reason: &Arc<str>) {
        stats::add(&self.counters.damages, 1);
        self.quarantine(group, reason);
    }

    /// Stops a group whose record was found damaged, now and after every restart.
    pub(super) fn quarantine(&self, group: &Arc<Group>, reason: &Arc<str>) {
        let mut mem = group.mem.lock();
        if mem.removed || mem.quarantined.is_some() {
            return;
        }
        let GroupId { shard, replica } = group.id;
        tracing::error!(shard, replica, %reason, "a group's log is quarantined");
        let op = Op::Quarantine { group: Arc::clone(group), reason: Arc::clone(reason) };
        // A closed queue takes nothing; the damage is found again by the next opening.
        let _closed = self.queue.push(op, None, record_bytes(reason.len()), None);
        mem.quarantined = Some(Arc::clone(reason));
        mem.clear(&self.segments);
    }

    /// Notes whether there is room for more, free segments counted in. While the writer waits for room, that is
    /// room for a segment at least.
    pub(super) fn sample_space(&self) -> Result<(), LogError> {
        let waits = self.counters.waits_for_room.load(Ordering::Relaxed);
        let needed = if waits { self.config.segment_bytes } else { 0 };
        let reserve_bytes = self.config.reserve_bytes.max(needed);
        if reserve_bytes == 0 {
            return Ok(());
        }
        let free = self.disk.free_bytes(&self.dir).map_err(LogError::io("measure the free space"))?;
        let reusable = self.counters.segments_free.load(Ordering::Relaxed) * self.config.segment_bytes;
        let free_bytes = free.saturating_add(reusable);
        self.disk_full.store(free_bytes < reserve_bytes, Ordering::Relaxed);
        if free_bytes < reserve_bytes {
            return Err(LogError::DiskFull { free_bytes, reserve_bytes });
        }
        Ok(())
    }

    /// Refuses appends while the reserve is not there; looks again each time, so that it ends by itself.
    pub(super) fn check_space(&self) -> Result<(), LogError> {
        if self.disk_full.load(Ordering::Relaxed) { self.sample_space() } else { Ok(()) }
    }
}
