//! One write in the making: its records, their bytes, and what to tell whom once it is synced.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::format::{self, FLAG_NONE, FLAG_REWRITTEN, Judged, Kind, Mark, Place, RecordHeader};
use super::group::Group;
use super::queue::Op;
use super::types::{GroupId, LogPosition};

/// Bodies shorter than this are copied next to their headers; longer ones are handed to the write as they are.
const COPIED_BODY_BYTES_MAX: usize = 16 << 10;

/// No group: what marks and judgements carry.
const NOBODY: GroupId = GroupId { shard: 0, replica: 0 };

pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    pub(super) group: Option<Arc<Group>>,
    pub(super) term: u64,
    pub(super) index: u64,
    /// Of entries: which of those that had this index.
    pub(super) seq: u64,
    pub(super) body: Bytes,
}

/// Records in the order in which they will stand.
#[derive(Default)]
pub(super) struct Records {
    pub(super) list: Vec<Record>,
    groups: BTreeSet<GroupId>,
    bytes: usize,
}

/// The bytes of a write, in pieces for one vectored write.
#[derive(Default)]
pub(super) struct Encoded {
    copied: Vec<u8>,
    pieces: Vec<Piece>,
    pub(super) len: usize,
    /// Where each record starts, in the order of the list.
    pub(super) offsets: Vec<usize>,
}

enum Piece {
    Copied(Range<usize>),
    Body(Bytes),
}

impl Record {
    fn of(kind: Kind, group: &Arc<Group>, position: LogPosition, body: Bytes) -> Self {
        let LogPosition { term, index } = position;
        Self { kind, flags: 0, group: Some(Arc::clone(group)), term, index, seq: 0, body }
    }

    pub(super) fn bytes(&self) -> usize {
        format::record_bytes(self.body.len())
    }

    pub(super) fn is_rewritten(&self) -> bool {
        self.flags & FLAG_REWRITTEN != 0
    }
}

const NOWHERE: LogPosition = LogPosition { term: 0, index: 0 };

impl Records {
    pub(super) fn push(&mut self, record: Record) {
        self.bytes += record.bytes();
        self.groups.extend(record.group.as_ref().map(|group| group.id));
        self.list.push(record);
    }

    /// Adds the records of a queued operation; [`Op::Advance`], [`Op::Mark`] and [`Op::Stop`] have none.
    pub(super) fn push_op(&mut self, op: &Op) {
        match op {
            Op::Append { group, entries, first_seq } => {
                for (seq, entry) in (*first_seq..).zip(entries) {
                    let record = Record::of(Kind::Entry, group, entry.position(), entry.payload.clone());
                    self.push(Record { seq, ..record });
                }
            }
            Op::Vote { group, vote } => self.push(Record::of(Kind::Vote, group, NOWHERE, vote.clone())),
            Op::Truncate { group, from } => {
                let position = LogPosition { term: 0, index: *from };
                self.push(Record::of(Kind::Truncate, group, position, Bytes::new()));
            }
            Op::Purge { group, position } => {
                self.push(Record::of(Kind::Purge, group, *position, Bytes::new()));
            }
            Op::Remove { group } => self.push(Record::of(Kind::Remove, group, NOWHERE, Bytes::new())),
            Op::Quarantine { group, reason } => self.push_quarantine(group, reason),
            Op::Judged(judged) => self.push_judged(*judged),
            Op::Advance(_) | Op::Mark | Op::Stop => {}
        }
    }

    pub(super) fn push_quarantine(&mut self, group: &Arc<Group>, reason: &Arc<str>) {
        let body = Bytes::copy_from_slice(reason.as_bytes());
        self.push(Record::of(Kind::Quarantine, group, NOWHERE, body));
    }

    pub(super) fn push_judged(&mut self, judged: Judged) {
        let Place { segment: term, offset: index } = judged.up_to;
        let (seq, body) = (0, Bytes::new());
        self.push(Record { kind: Kind::Judged, flags: 0, group: None, term, index, seq, body });
    }

    pub(super) fn push_committed(&mut self, group: &Arc<Group>, committed: Option<LogPosition>) {
        let mut record = Record::of(Kind::Committed, group, committed.unwrap_or(NOWHERE), Bytes::new());
        record.flags = if committed.is_none() { FLAG_NONE } else { 0 };
        self.push(record);
    }

    pub(super) fn push_entry_again(&mut self, group: &Arc<Group>, seq: u64, at: LogPosition, body: Bytes) {
        let record = Record::of(Kind::Entry, group, at, body);
        self.push(Record { seq, ..record });
    }

    pub(super) fn push_vote_again(&mut self, group: &Arc<Group>, vote: Bytes) {
        self.push(Record::of(Kind::Vote, group, NOWHERE, vote));
    }

    pub(super) fn push_purge_again(&mut self, group: &Arc<Group>, purged: LogPosition) {
        self.push(Record::of(Kind::Purge, group, purged, Bytes::new()));
    }

    /// Whether there are records, all of this kind.
    pub(super) fn are_all(&self, kind: Kind) -> bool {
        !self.list.is_empty() && self.list.iter().all(|record| record.kind == kind)
    }

    /// Marks all records so far as copies of older ones.
    pub(super) fn mark_rewritten(&mut self) {
        self.list.iter_mut().for_each(|record| record.flags |= FLAG_REWRITTEN);
    }

    pub(super) fn record_bytes(&self) -> usize {
        self.bytes
    }

    /// The length of the write, whole blocks.
    pub(super) fn write_bytes(&self, block_bytes: u32) -> usize {
        (format::mark_bytes(self.groups.len()) + self.bytes).next_multiple_of(block_bytes as usize)
    }

    /// The bytes of the write as it stands at `place`.
    pub(super) fn encode(
        &self,
        place: Place,
        synced_end: Place,
        first_segment: u64,
        block_bytes: u32,
    ) -> Encoded {
        let len = self.write_bytes(block_bytes);
        let mark = Mark {
            synced_end,
            first_segment,
            // Segments are at most 1 GiB and hold at least one write whole.
            write_bytes: u32::try_from(len).unwrap_or(u32::MAX),
            records: u32::try_from(self.list.len()).unwrap_or(u32::MAX),
            groups: self.groups.iter().copied().collect(),
        };
        let copied_bytes: usize =
            self.list.iter().map(|record| record.body.len()).filter(|len| *len < COPIED_BODY_BYTES_MAX).sum();
        let encoded = Encoded {
            // The headers, the mark and the padding to a block, besides the bodies.
            copied: Vec::with_capacity(copied_bytes + (self.list.len() + 1) * 128 + block_bytes as usize),
            offsets: Vec::with_capacity(self.list.len()),
            ..Encoded::default()
        };
        let mut encoder = Encoder { place, start: place.offset, encoded, piece_start: 0 };
        encoder.record(Kind::Mark, 0, NOBODY, NOWHERE, &mark.encode().into());
        for record in &self.list {
            let group = record.group.as_ref().map_or(NOBODY, |group| group.id);
            let position = LogPosition { term: record.term, index: record.index };
            let offset = encoder.record(record.kind, record.flags, group, position, &record.body);
            encoder.encoded.offsets.push(offset);
        }
        encoder.finish(len)
    }
}

impl Encoded {
    /// The pieces, in order.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        let bytes = self.pieces.iter().map(|piece| match piece {
            Piece::Copied(range) => &self.copied[range.clone()],
            Piece::Body(body) => body,
        });
        bytes.map(IoSlice::new).collect()
    }
}

struct Encoder {
    /// Where the next record will stand.
    place: Place,
    start: u64,
    encoded: Encoded,
    piece_start: usize,
}

impl Encoder {
    /// Adds a record and says at which offset of the segment it stands.
    fn record(
        &mut self,
        kind: Kind,
        flags: u16,
        group: GroupId,
        position: LogPosition,
        body: &Bytes,
    ) -> usize {
        let LogPosition { term, index } = position;
        let body_crc = format::body_crc(self.place.segment, group, index, body);
        // Bodies are bounded by the configuration, far below 4 GiB.
        let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let header = RecordHeader { kind, flags, group, term, index, body_len, body_crc };
        self.encoded.copied.extend_from_slice(&header.encode(self.place));
        if body.len() < COPIED_BODY_BYTES_MAX {
            self.encoded.copied.extend_from_slice(body);
        } else {
            self.end_piece();
            self.encoded.pieces.push(Piece::Body(body.clone()));
        }
        let padding = body.len().next_multiple_of(8) - body.len();
        self.encoded.copied.extend_from_slice(&[0; 8][..padding]);
        let offset = self.place.offset;
        self.place.offset += format::record_bytes(body.len()) as u64;
        usize::try_from(offset).unwrap_or(usize::MAX)
    }

    fn end_piece(&mut self) {
        let end = self.encoded.copied.len();
        if self.piece_start < end {
            self.encoded.pieces.push(Piece::Copied(self.piece_start..end));
        }
        self.piece_start = end;
    }

    fn finish(mut self, len: usize) -> Encoded {
        let used = usize::try_from(self.place.offset - self.start).unwrap_or(usize::MAX);
        let padded = self.encoded.copied.len() + len.saturating_sub(used);
        self.encoded.copied.resize(padded, 0);
        self.end_piece();
        self.encoded.len = len;
        self.encoded
    }
}
