//! Reads one segment's bytes back into writes and damage, without deciding what the damage means.
//!
//! Contract: nothing that fails a checksum is returned as a record. A write whose mark is readable is stepped
//! over whole, and its unreadable records are charged to the groups that the mark names. Where a mark is
//! unreadable, the next readable one at a block boundary is looked for; what lies between is charged to all.

use super::error::LogError;
use super::format::{self, HeaderError, Kind, Mark, Place, RecordHeader, SegmentHeader};
use super::types::GroupId;

/// Who may have had a record in a damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Harmed {
    /// What is damaged is written elsewhere, too.
    Nobody,
    Groups(Vec<GroupId>),
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// The start of the write that it lies in.
    pub(super) at: Place,
    pub(super) harmed: Harmed,
    pub(super) what: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Where its header starts, in the segment.
    pub(super) offset: usize,
    pub(super) header: RecordHeader,
}

impl Record {
    pub(super) fn body<'a>(&self, segment: &'a [u8]) -> &'a [u8] {
        let start = self.offset + format::RECORD_HEADER_BYTES;
        segment.get(start..start + self.header.body_len as usize).unwrap_or_default()
    }
}

/// A write with a readable mark, and its readable records.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) mark: Mark,
    pub(super) records: Vec<Record>,
}

#[derive(Debug, Default)]
pub(super) struct Scan {
    /// `None` if the header block is damaged, or was never written.
    pub(super) header: Option<SegmentHeader>,
    pub(super) writes: Vec<Write>,
    pub(super) damages: Vec<Damage>,
    /// Where the last readable write ended, or the first would start.
    pub(super) end: u64,
}

impl Scan {
    /// Where the segment before this one ended, as far as this one tells.
    pub(super) fn previous_end(&self) -> Option<Place> {
        let by_mark = self.writes.first().map(|write| write.mark.synced_end);
        self.header.map(|header| header.previous_end).or(by_mark)
    }

    /// The furthest place that this segment's own words say was synced.
    pub(super) fn synced_end(&self) -> Place {
        let by_marks = self.writes.iter().map(|write| write.mark.synced_end).max();
        by_marks.max(self.header.map(|header| header.previous_end)).unwrap_or_default()
    }
}

struct Scanner<'a> {
    segment: u64,
    bytes: &'a [u8],
    block: usize,
    scan: Scan,
}

/// Writes start on multiples of this, whatever the block size.
const BLOCK_BYTES_MIN: u32 = 512;

/// Reads the segment named `segment`. With `end`, the writes must reach exactly there and what lies behind is
/// not looked at; without, the segment is the last.
///
/// # Errors
/// [`LogError::Version`] for whole records of an unknown version.
pub(super) fn scan(segment: u64, bytes: &[u8], end: Option<u64>) -> Result<Scan, LogError> {
    let header = match SegmentHeader::decode(bytes, segment) {
        Ok(header) => Some(header),
        Err(HeaderError::Damaged) => None,
        Err(HeaderError::Version(found)) => return Err(version(segment, found)),
    };
    let block = header.map_or(BLOCK_BYTES_MIN, |header| header.block_bytes) as usize;
    if !is_block_size(block as u64) {
        return Err(LogError::Config("a segment header names an impossible block size"));
    }
    let wanted_end = end.map(|end| usize::try_from(end).unwrap_or(usize::MAX));
    let readable = &bytes[..wanted_end.unwrap_or(usize::MAX).min(bytes.len())];
    let mut scanner = Scanner { segment, bytes: readable, block, scan: Scan { header, ..Scan::default() } };
    scanner.run(wanted_end)?;
    Ok(scanner.scan)
}

/// Whether writes can be aligned to so many bytes.
pub(super) fn is_block_size(bytes: u64) -> bool {
    bytes.is_power_of_two() && (512..=65536).contains(&bytes)
}

fn version(segment: u64, found: u32) -> LogError {
    LogError::Version { segment, found, supported: u32::from(format::VERSION) }
}

impl Scanner<'_> {
    fn run(&mut self, wanted_end: Option<usize>) -> Result<(), LogError> {
        let mut at = if self.scan.header.is_some() { self.block } else { self.first_write()? };
        self.scan.end = at as u64;
        while at < wanted_end.unwrap_or(self.bytes.len()) {
            if let Some(mark) = self.mark_at(at)? {
                at += mark.write_bytes as usize;
                self.scan.end = at as u64;
                continue;
            }
            match self.next_mark(at)? {
                Some(next) => {
                    self.damage(at, Harmed::All, "mark");
                    at = next;
                }
                None => break,
            }
        }
        if let Some(wanted) = wanted_end
            && wanted as u64 != self.scan.end
        {
            self.damage(at.min(wanted), Harmed::All, "missing end of a segment");
        }
        Ok(())
    }

    /// Where the writes start in a segment whose header is damaged. Its first write names the segment before,
    /// as the header did, so nothing is lost if that write is readable.
    fn first_write(&mut self) -> Result<usize, LogError> {
        self.damage(0, Harmed::Nobody, "segment header");
        let Some(at) = self.next_mark(0)? else { return Ok(self.block) };
        let mark = self.read_mark(at)?.unwrap_or_default();
        if mark.synced_end.segment == self.segment {
            self.damage(self.block, Harmed::All, "mark");
        }
        Ok(at)
    }

    fn damage(&mut self, at: usize, harmed: Harmed, what: &'static str) {
        let at = Place { segment: self.segment, offset: at as u64 };
        self.scan.damages.push(Damage { at, harmed, what });
    }

    fn record_at(&self, at: usize) -> Result<Option<RecordHeader>, LogError> {
        let place = Place { segment: self.segment, offset: at as u64 };
        match RecordHeader::decode(self.bytes.get(at..).unwrap_or_default(), place) {
            Ok(header) => Ok(Some(header)),
            Err(HeaderError::Damaged) => Ok(None),
            Err(HeaderError::Version(found)) => Err(version(self.segment, found)),
        }
    }

    fn read_mark(&self, at: usize) -> Result<Option<Mark>, LogError> {
        let Some(header) = self.record_at(at)? else { return Ok(None) };
        if header.kind != Kind::Mark {
            return Ok(None);
        }
        let body = Record { offset: at, header }.body(self.bytes);
        if !header.body_matches(self.segment, body) {
            return Ok(None);
        }
        let mark = Mark::decode(body);
        let plausible = |mark: &Mark| {
            let len = mark.write_bytes as usize;
            len >= format::mark_bytes(mark.groups.len()) && len.is_multiple_of(self.block)
        };
        Ok(mark.filter(plausible))
    }

    fn next_mark(&self, after: usize) -> Result<Option<usize>, LogError> {
        let mut at = after + self.block;
        while at < self.bytes.len() {
            if self.read_mark(at)?.is_some() {
                return Ok(Some(at));
            }
            at += self.block;
        }
        Ok(None)
    }

    /// Takes the write that starts at `start`, or nothing if its mark is unreadable.
    fn mark_at(&mut self, start: usize) -> Result<Option<Mark>, LogError> {
        let Some(mark) = self.read_mark(start)? else { return Ok(None) };
        let end = start + mark.write_bytes as usize;
        let mut at = start + format::mark_bytes(mark.groups.len());
        let mut records = Vec::new();
        for _ in 0..mark.records {
            let header = if at < end { self.record_at(at)? } else { None };
            let Some(header) = header else {
                self.damage(start, Harmed::Groups(mark.groups.clone()), "record header");
                break;
            };
            let record = Record { offset: at, header };
            if header.body_matches(self.segment, record.body(self.bytes)) {
                records.push(record);
            } else {
                self.damage(start, Harmed::Groups(vec![header.group]), "record body");
            }
            at += format::record_bytes(header.body_len as usize);
        }
        self.scan.writes.push(Write { start: start as u64, end: end as u64, mark: mark.clone(), records });
        Ok(Some(mark))
    }
}
