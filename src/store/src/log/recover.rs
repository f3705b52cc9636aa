//! Reads the whole log back when it is opened.
//!
//! Contract: every write that was synced counts, in order. A final write that was not whole is cut, as if it
//! had never been: nobody was told that it is there. Damage before the end of what is known to have been synced
//! is never cut: the groups that may have lost a record by it are quarantined. Opening twice gives the same.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{self, Disk, DiskFile, OpenMode};
use hapax_core::seeded::{self, Bug};

use super::error::LogError;
use super::format::{Place, SegmentHeader};
use super::replay::Replay;
use super::scan::{self, Damage, Harmed, Scan, Write, scan};
use super::segment::FileName;
use super::types::GroupId;

/// What opening found.
pub(super) struct Recovered {
    /// The segments in use, oldest first.
    pub(super) segments: Vec<(u64, Arc<dyn DiskFile>)>,
    /// Files to set aside: segments that were given up before the last crash, and the free ones.
    pub(super) given_up: Vec<(u64, Arc<dyn DiskFile>)>,
    pub(super) free: Vec<u64>,
    /// Segments without a write, to be removed before a new one is made.
    pub(super) unborn: Vec<u64>,
    /// The highest id that any file name carries, or 0.
    pub(super) last_id: u64,
    /// The end of the last accepted write.
    pub(super) end: Place,
    /// Whether that write has records, so that nothing names its end yet.
    pub(super) unnamed: bool,
    pub(super) replay: Replay,
    /// Damaged places in what had been synced.
    pub(super) damages: Vec<Damage>,
}

/// A segment's file while it is being read.
struct Opened {
    id: u64,
    file: Arc<dyn DiskFile>,
}

/// Longer files are not segments of ours.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Enough to hold a segment's header, whatever its block size.
const HEAD_BYTES: u64 = 64 << 10;

impl Opened {
    fn open(disk: &dyn Disk, dir: &Path, id: u64) -> Result<Self, LogError> {
        let path = FileName::Log(id).path(dir);
        let file = disk.open_blocks(&path, OpenMode::ReadWrite).map_err(LogError::io("open a segment"))?;
        Ok(Self { id, file })
    }

    fn read(&self, bytes_max: u64) -> Result<Vec<u8>, LogError> {
        let len = self.file.len().map_err(LogError::io("measure a segment"))?;
        let len = usize::try_from(len.min(bytes_max).min(SEGMENT_BYTES_MAX)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        let read = disk::read_up_to(self.file.as_ref(), &mut bytes, 0);
        let read = read.map_err(LogError::io("read a segment"))?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

impl Opened {
    /// Writes the last accepted write once more, as it is. Its own sync may have failed, and a kernel may then
    /// call pages clean that never reached the disk: only a new write makes the next sync mean something.
    fn write_again(&self, bytes: &[u8], from: u64, to: u64) -> Result<(), LogError> {
        let range = usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
        let slice = bytes.get(range).unwrap_or_default();
        disk::write_all_at(self.file.as_ref(), &mut [IoSlice::new(slice)], from)
            .map_err(LogError::io("write the last write again"))
    }

    /// Gives back the space behind the last accepted write: the next write begins a new segment, and a node
    /// that is started again and again must not take a whole segment each time.
    fn give_back_behind(&self, end: u64) -> Result<(), LogError> {
        let len = self.file.len().map_err(LogError::io("measure a segment"))?;
        if len > end {
            self.file.set_len(end).map_err(LogError::io("shorten a segment"))?;
        }
        Ok(())
    }

    /// Writes the header that a crash tore off the segment's first write, so that it does not count as damage
    /// later. All that it says is known from that write.
    fn write_header(&self, first: &Write) -> Result<(), LogError> {
        let segment_bytes = self.file.len().map_err(LogError::io("measure a segment"))?;
        // A write starts on a block of at most 64 KiB, and the first one behind the first block.
        let block_bytes = u32::try_from(first.start).unwrap_or(u32::MAX);
        let previous_end = first.mark.synced_end;
        let header = SegmentHeader { segment: self.id, block_bytes, segment_bytes, previous_end }.encode();
        disk::write_all_at(self.file.as_ref(), &mut [IoSlice::new(&header)], 0)
            .map_err(LogError::io("write a segment header again"))
    }
}

/// Reads the log in `dir`.
///
/// # Errors
/// [`LogError::Io`], or [`LogError::Version`] for a log of another format.
pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovered, LogError> {
    let names = disk.list(dir).map_err(LogError::io("list the log's directory"))?;
    let names: Vec<FileName> = names.iter().filter_map(|name| FileName::parse(name)).collect();
    let last_id = names.iter().map(|name| name.id()).max().unwrap_or(0);
    let mut logs: Vec<u64> =
        names.iter().filter(|name| matches!(name, FileName::Log(_))).map(|n| n.id()).collect();
    logs.sort_unstable();
    let free = names.iter().filter(|name| matches!(name, FileName::Free(_))).map(|name| name.id()).collect();

    let newest = find_newest(disk, dir, &mut logs)?;
    let mut reader = Reader { disk, dir, replay: Replay::default(), damages: Vec::new() };
    let first_segment = newest.scan.writes.iter().map(|write| write.mark.first_segment).max().unwrap_or(0);
    let (old, logs): (Vec<u64>, Vec<u64>) = logs.into_iter().partition(|id| *id < first_segment);
    let lost = Place { segment: first_segment, offset: 0 };
    if first_segment > 0 && logs.first() != Some(&first_segment) {
        reader.missing(lost);
    }
    let segments = reader.read_all(&logs, newest.scan.previous_end())?;
    let unborn = newest.unborn.clone();
    let (end, unnamed) = reader.read_newest(segments.last(), newest)?;
    let given_up = old.into_iter().map(|id| Opened::open(disk, dir, id)).collect::<Result<Vec<_>, _>>()?;
    let pair = |opened: Opened| (opened.id, opened.file);
    Ok(Recovered {
        segments: segments.into_iter().map(pair).collect(),
        given_up: given_up.into_iter().map(pair).collect(),
        free,
        unborn,
        last_id,
        end,
        unnamed,
        replay: reader.replay,
        damages: reader.damages,
    })
}

/// The newest segment that holds an accepted write, with its bytes.
#[derive(Default)]
struct Newest {
    /// Its writes, without those that were cut.
    scan: Scan,
    bytes: Vec<u8>,
    /// Damage before the end of what was synced.
    damages: Vec<Damage>,
    /// Ids of newer segments whose only write was cut: they were being created when the power went.
    unborn: Vec<u64>,
    /// The furthest place that is known to have been synced.
    synced_end: Place,
    /// Whether the header was torn off an otherwise whole first write.
    lacks_header: bool,
}

/// Finds the newest segment that holds an accepted write, and takes the unborn ones from `logs`. What an unborn
/// one says was synced still counts: it tells a torn tail of the one before it from damage.
fn find_newest(disk: &dyn Disk, dir: &Path, logs: &mut Vec<u64>) -> Result<Newest, LogError> {
    let mut newest = Newest::default();
    while let Some(id) = logs.last().copied() {
        let bytes = Opened::open(disk, dir, id)?.read(SEGMENT_BYTES_MAX)?;
        let end = (newest.synced_end.segment == id).then_some(newest.synced_end.offset);
        let mut found = scan(id, &bytes, end)?;
        newest.synced_end = newest.synced_end.max(found.synced_end());
        let cuts_all = seeded::active(Bug::CutMidLog);
        let (synced, torn): (Vec<_>, Vec<_>) =
            found.damages.drain(..).partition(|damage| damage.at < newest.synced_end && !cuts_all);
        let harmful = torn.iter().filter(|damage| damage.harmed != Harmed::Nobody);
        let cut = harmful.map(|damage| damage.at.offset).min();
        found.writes.retain(|write| cut.is_none_or(|cut| write.start < cut));
        if !found.writes.is_empty() || end.is_some() {
            newest.lacks_header = torn.iter().any(|damage| damage.harmed == Harmed::Nobody);
            (newest.scan, newest.bytes, newest.damages) = (found, bytes, synced);
            break;
        }
        newest.unborn.push(id);
        logs.pop();
    }
    Ok(newest)
}

struct Reader<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    replay: Replay,
    damages: Vec<Damage>,
}

impl Reader<'_> {
    fn missing(&mut self, at: Place) {
        self.damages.push(Damage { at, harmed: Harmed::All, what: "missing segment" });
    }

    /// Opens all segments and replays all but the newest. `newest_previous` is what the newest names as the
    /// end of the one before it.
    fn read_all(&mut self, logs: &[u64], newest_previous: Option<Place>) -> Result<Vec<Opened>, LogError> {
        let opened = logs.iter().map(|id| Opened::open(self.disk, self.dir, *id));
        let opened = opened.collect::<Result<Vec<_>, _>>()?;
        for (at, segment) in opened.iter().enumerate() {
            let Some(next) = opened.get(at + 1) else { break };
            let is_last_pair = at + 2 == opened.len();
            let previous = if is_last_pair { newest_previous } else { self.previous_of(next)? };
            let end = self.check_chain(segment.id, next.id, previous);
            let bytes = segment.read(end.unwrap_or(SEGMENT_BYTES_MAX))?;
            let scanned = scan(segment.id, &bytes, end)?;
            self.damages.extend(scanned.damages.iter().cloned());
            self.replay.apply(segment.id, &bytes, &scanned.writes);
        }
        Ok(opened)
    }

    fn previous_of(&self, segment: &Opened) -> Result<Option<Place>, LogError> {
        // The header usually tells; if it is damaged, the first mark does, and its length is not known.
        let head = scan(segment.id, &segment.read(HEAD_BYTES)?, None)?;
        if head.header.is_some() {
            return Ok(head.previous_end());
        }
        let all = segment.read(SEGMENT_BYTES_MAX)?;
        Ok(scan(segment.id, &all, None)?.previous_end())
    }

    /// Where segment `id` must end for `next` to follow it, if that is known.
    fn check_chain(&mut self, id: u64, next: u64, previous: Option<Place>) -> Option<u64> {
        match previous {
            Some(previous) if previous.segment == id => Some(previous.offset),
            _ => {
                self.missing(Place { segment: next, offset: 0 });
                None
            }
        }
    }

    /// Replays the newest segment, and makes durable what is accepted: a write may be readable only because
    /// the machine did not go down with the process.
    fn read_newest(&mut self, opened: Option<&Opened>, newest: Newest) -> Result<(Place, bool), LogError> {
        let Some(opened) = opened else { return Ok((newest.synced_end, false)) };
        self.damages.extend(newest.damages);
        self.replay.apply(opened.id, &newest.bytes, &newest.scan.writes);
        let writes = &newest.scan.writes;
        // A first write that stands where none can is no base for a header, which the next opening would refuse.
        let fits = |first: &&Write| newest.lacks_header && scan::is_block_size(first.start);
        if let Some(first) = writes.first().filter(fits) {
            opened.write_header(first)?;
        }
        if let Some(last) = writes.last().filter(|last| last.mark.records > 0) {
            let with_header = writes.len() == 1 && !newest.lacks_header;
            let from = if with_header { 0 } else { last.start };
            opened.write_again(&newest.bytes, from, last.end)?;
        }
        if let Some(last) = writes.last().filter(|_| self.damages.is_empty()) {
            opened.give_back_behind(last.end)?;
        }
        opened.file.sync_data().map_err(LogError::io("sync what was recovered"))?;
        self.disk.sync_dir(self.dir).map_err(LogError::io("sync the log's directory"))?;
        let Some(last) = writes.last() else { return Ok((newest.synced_end, true)) };
        Ok((Place { segment: opened.id, offset: last.end }, last.mark.records > 0))
    }
}

/// The reasons to quarantine, group by group, and whether any damage may concern groups that nothing names.
/// Damage that may concern all counts only from `judged_up_to` on: before, it was dealt with by an earlier
/// opening, and groups that came later must not pay for it. Damage that is charged to groups always counts.
pub(super) fn harm(
    damages: &[Damage],
    known: &[GroupId],
    judged_up_to: Place,
) -> (BTreeMap<GroupId, Arc<str>>, bool) {
    let mut harmed = BTreeMap::new();
    let mut doubt = false;
    for damage in damages {
        let groups = match &damage.harmed {
            Harmed::Nobody => continue,
            Harmed::All if damage.at < judged_up_to => continue,
            Harmed::Groups(groups) => groups.as_slice(),
            Harmed::All => {
                doubt = true;
                known
            }
        };
        let Place { segment, offset } = damage.at;
        let reason = format!("damaged {} in segment {segment}, write at byte {offset}", damage.what);
        let reason: Arc<str> = reason.into();
        for group in groups {
            harmed.entry(*group).or_insert_with(|| Arc::clone(&reason));
        }
    }
    (harmed, doubt)
}
