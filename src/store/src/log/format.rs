//! The bytes of the log. Frozen: a change makes a new version, and old ones stay readable.
//!
//! A segment is a header block, then writes. A write starts on a block and is a mark record and the records
//! that were synced with it; zeros fill its last block. All integers are little-endian. Checksums are crc32c
//! and seeded with the segment's id, headers with their offset too, so that what an earlier use of the file
//! left behind, or a misplaced block, never passes for live.
//!
//! | record header, 48 bytes | at |   | segment header, 56 bytes | at |
//! |---|---|---|---|---|
//! | crc of the rest of the header | 0 | | magic `HAPAXLOG` | 0 |
//! | crc of the body, seeded with segment, group and index | 4 | | version | 8 |
//! | body length | 8 | | block bytes | 12 |
//! | kind, version (1 byte each) | 12 | | this segment's id | 16 |
//! | flags (2 bytes) | 14 | | the segment before: id, and where it ended | 24, 32 |
//! | shard, zero | 16, 20 | | segment bytes | 40 |
//! | replica, term, index | 24, 32, 40 | | zero, crc of all before | 48, 52 |
//!
//! A body follows its header and is padded with zeros to 8 bytes.

use bytes::{Buf, BufMut, Bytes};

use super::types::GroupId;

/// The length of a record header.
pub(super) const RECORD_HEADER_BYTES: usize = 48;
/// The length of the used part of a segment's first block.
pub(super) const SEGMENT_HEADER_BYTES: usize = 56;
/// The version of segments and records that this program writes.
pub(super) const VERSION: u8 = 1;
/// What commit records, the mark with its groups, and padding may add to a write.
pub(super) const WRITE_OVERHEAD_MAX: u64 = 64 << 10;

const MAGIC: &[u8; 8] = b"HAPAXLOG";
const MARK_BODY_BYTES: usize = 40;
const MARK_GROUP_BYTES: usize = 12;

/// A place in the log: offsets grow within a segment, ids from segment to segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What a record is. The tags are on disk and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Starts a write and names what precedes it.
    Mark = 1,
    /// An entry of a group; its body is the payload.
    Entry = 2,
    /// A vote; its body is the vote.
    Vote = 3,
    /// A commit position, or none with [`FLAG_NONE`].
    Committed = 4,
    /// Entries from `index` on are gone.
    Truncate = 5,
    /// Entries up to `index`, of `term`, are gone.
    Purge = 6,
    /// The group is gone.
    Remove = 7,
    /// The group is quarantined; its body says why.
    Quarantine = 8,
    /// All groups before the place in `term` (segment) and `index` (offset) are in doubt: see [`Judged`].
    Judged = 9,
}

/// On a commit record: nothing is committed.
pub(super) const FLAG_NONE: u16 = 1;
/// On any record but a mark: written again so that an older segment can go.
pub(super) const FLAG_REWRITTEN: u16 = 2;

/// What an earlier opening made of damage that may have held records of any group, even of groups that nothing
/// names any more: since then an unknown group cannot be taken for new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// All groups that were known at this end of the log have quarantine records. Whatever group lives on came
    /// later, so damage of that kind before this place harms nobody else.
    pub(super) up_to: Place,
}

impl Kind {
    fn from_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            1 => Self::Mark,
            2 => Self::Entry,
            3 => Self::Vote,
            4 => Self::Committed,
            5 => Self::Truncate,
            6 => Self::Purge,
            7 => Self::Remove,
            8 => Self::Quarantine,
            9 => Self::Judged,
            _ => return None,
        })
    }
}

/// A decoded record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    pub(super) group: GroupId,
    pub(super) term: u64,
    pub(super) index: u64,
    pub(super) body_len: u32,
    pub(super) body_crc: u32,
}

/// Why a header could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// The bytes are not what was written here.
    Damaged,
    /// The bytes are whole, and of a version that this program does not know.
    Version(u32),
}

/// What a record takes in the log, padding included.
pub(super) fn record_bytes(body_len: usize) -> usize {
    RECORD_HEADER_BYTES + body_len.next_multiple_of(8)
}

/// What a mark over so many groups takes in the log.
pub(super) fn mark_bytes(groups: usize) -> usize {
    record_bytes(MARK_BODY_BYTES + groups * MARK_GROUP_BYTES)
}

fn header_crc(place: Place, rest: &[u8]) -> u32 {
    let mut seed = [0; 16];
    (&mut seed[..]).put_u64_le(place.segment);
    (&mut seed[8..]).put_u64_le(place.offset);
    crc32c::crc32c_append(crc32c::crc32c(&seed), rest)
}

/// The checksum of a body that stands in `segment`.
pub(super) fn body_crc(segment: u64, group: GroupId, index: u64, body: &[u8]) -> u32 {
    let mut seed = [0; 28];
    let mut rest = &mut seed[..];
    rest.put_u64_le(segment);
    rest.put_u32_le(group.shard);
    rest.put_u64_le(group.replica);
    rest.put_u64_le(index);
    crc32c::crc32c_append(crc32c::crc32c(&seed), body)
}

impl RecordHeader {
    /// The header as it stands at `place`.
    pub(super) fn encode(&self, place: Place) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        let mut rest = &mut bytes[4..];
        rest.put_u32_le(self.body_crc);
        rest.put_u32_le(self.body_len);
        rest.put_u8(self.kind as u8);
        rest.put_u8(VERSION);
        rest.put_u16_le(self.flags);
        rest.put_u32_le(self.group.shard);
        rest.put_u32_le(0);
        rest.put_u64_le(self.group.replica);
        rest.put_u64_le(self.term);
        rest.put_u64_le(self.index);
        let crc = header_crc(place, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header that should stand at `place`.
    pub(super) fn decode(bytes: &[u8], place: Place) -> Result<Self, HeaderError> {
        let Some(mut bytes) = bytes.get(..RECORD_HEADER_BYTES) else { return Err(HeaderError::Damaged) };
        if bytes.get_u32_le() != header_crc(place, bytes) {
            return Err(HeaderError::Damaged);
        }
        let body_crc = bytes.get_u32_le();
        let body_len = bytes.get_u32_le();
        let tag = bytes.get_u8();
        let version = bytes.get_u8();
        let flags = bytes.get_u16_le();
        let shard = bytes.get_u32_le();
        bytes.advance(4);
        let group = GroupId { shard, replica: bytes.get_u64_le() };
        let (term, index) = (bytes.get_u64_le(), bytes.get_u64_le());
        match Kind::from_tag(tag) {
            Some(kind) if version == VERSION => {
                Ok(Self { kind, flags, group, term, index, body_len, body_crc })
            }
            _ => Err(HeaderError::Version(u32::from(version))),
        }
    }

    /// Whether `body` is what was written behind this header in `segment`.
    pub(super) fn body_matches(&self, segment: u64, body: &[u8]) -> bool {
        body.len() == self.body_len as usize
            && body_crc(segment, self.group, self.index, body) == self.body_crc
    }
}

/// The body of a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Where the last synced write ended. A write starts only when the one before is synced, so all before
    /// this place was once durable.
    pub(super) synced_end: Place,
    /// Segments below this one hold nothing that matters.
    pub(super) first_segment: u64,
    /// The length of the whole write: mark, records and padding.
    pub(super) write_bytes: u32,
    /// How many records follow the mark.
    pub(super) records: u32,
    /// The groups that have records in this write, sorted: who is harmed if a record header is unreadable.
    pub(super) groups: Vec<GroupId>,
}

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MARK_BODY_BYTES + self.groups.len() * MARK_GROUP_BYTES);
        bytes.put_u64_le(self.synced_end.segment);
        bytes.put_u64_le(self.synced_end.offset);
        bytes.put_u64_le(self.first_segment);
        bytes.put_u32_le(self.write_bytes);
        bytes.put_u32_le(self.records);
        bytes.put_u64_le(self.groups.len() as u64);
        for group in &self.groups {
            bytes.put_u32_le(group.shard);
            bytes.put_u64_le(group.replica);
        }
        bytes
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < MARK_BODY_BYTES {
            return None;
        }
        let synced_end = Place { segment: bytes.get_u64_le(), offset: bytes.get_u64_le() };
        let first_segment = bytes.get_u64_le();
        let (write_bytes, records) = (bytes.get_u32_le(), bytes.get_u32_le());
        let groups_len = usize::try_from(bytes.get_u64_le()).ok()?;
        if bytes.len() != groups_len.checked_mul(MARK_GROUP_BYTES)? {
            return None;
        }
        let group = |bytes: &mut &[u8]| GroupId { shard: bytes.get_u32_le(), replica: bytes.get_u64_le() };
        let groups = (0..groups_len).map(|_| group(&mut bytes)).collect();
        Some(Self { synced_end, first_segment, write_bytes, records, groups })
    }
}

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) segment: u64,
    pub(super) block_bytes: u32,
    pub(super) segment_bytes: u64,
    /// The segment before and where its last synced write ended; zeros for the first segment of a log.
    pub(super) previous_end: Place,
}

impl SegmentHeader {
    /// The block, zeros behind the header.
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.block_bytes as usize);
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(u32::from(VERSION));
        bytes.put_u32_le(self.block_bytes);
        bytes.put_u64_le(self.segment);
        bytes.put_u64_le(self.previous_end.segment);
        bytes.put_u64_le(self.previous_end.offset);
        bytes.put_u64_le(self.segment_bytes);
        bytes.put_u32_le(0);
        bytes.put_u32_le(crc32c::crc32c(&bytes));
        bytes.resize(self.block_bytes as usize, 0);
        bytes.into()
    }

    /// Reads the header of the file that is named after `segment`.
    pub(super) fn decode(bytes: &[u8], segment: u64) -> Result<Self, HeaderError> {
        let Some(all) = bytes.get(..SEGMENT_HEADER_BYTES) else { return Err(HeaderError::Damaged) };
        let (checked, mut crc) = all.split_at(SEGMENT_HEADER_BYTES - 4);
        let Some(mut rest) = checked.strip_prefix(MAGIC) else { return Err(HeaderError::Damaged) };
        if crc.get_u32_le() != crc32c::crc32c(checked) {
            return Err(HeaderError::Damaged);
        }
        let version = rest.get_u32_le();
        let block_bytes = rest.get_u32_le();
        let found = rest.get_u64_le();
        let previous_end = Place { segment: rest.get_u64_le(), offset: rest.get_u64_le() };
        let segment_bytes = rest.get_u64_le();
        if found != segment {
            return Err(HeaderError::Damaged);
        }
        if version != u32::from(VERSION) {
            return Err(HeaderError::Version(version));
        }
        Ok(Self { segment, block_bytes, segment_bytes, previous_end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId { shard: 3, replica: 0x0102_0304_0506_0708 };

    fn header() -> RecordHeader {
        let body_crc = body_crc(7, GROUP, 42, b"payload");
        RecordHeader { kind: Kind::Entry, flags: 2, group: GROUP, term: 5, index: 42, body_len: 7, body_crc }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_a_record_header_are_frozen() {
        let bytes = header().encode(Place { segment: 7, offset: 4096 });
        assert_eq!(
            hex(&bytes),
            "30091cbce1c1f30e07000000020102000300000000000000080706050403020105000000000000002a00000000000000"
        );
        assert_eq!(RecordHeader::decode(&bytes, Place { segment: 7, offset: 4096 }), Ok(header()));
    }

    #[test]
    fn the_bytes_of_a_mark_are_frozen() {
        let mark = Mark {
            synced_end: Place { segment: 6, offset: 8192 },
            first_segment: 2,
            write_bytes: 4096,
            records: 1,
            groups: vec![GROUP],
        };
        assert_eq!(
            hex(&mark.encode()),
            "06000000000000000020000000000000020000000000000000100000010000000100000000000000030000000807060504030201"
        );
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
    }

    #[test]
    fn the_bytes_of_a_segment_header_are_frozen() {
        let previous_end = Place { segment: 6, offset: 8192 };
        let header = SegmentHeader { segment: 7, block_bytes: 512, segment_bytes: 65536, previous_end };
        let bytes = header.encode();
        assert_eq!(bytes.len(), 512);
        assert_eq!(
            hex(&bytes[..SEGMENT_HEADER_BYTES]),
            "48415041584c4f47010000000002000007000000000000000600000000000000002000000000000000000100000000000000000017dbb1b4"
        );
        assert_eq!(SegmentHeader::decode(&bytes, 7), Ok(header));
        assert_eq!(SegmentHeader::decode(&bytes, 8), Err(HeaderError::Damaged));
    }

    #[test]
    fn a_record_is_only_valid_where_it_was_written() {
        let bytes = header().encode(Place { segment: 7, offset: 4096 });
        for place in [Place { segment: 8, offset: 4096 }, Place { segment: 7, offset: 8192 }] {
            assert_eq!(RecordHeader::decode(&bytes, place), Err(HeaderError::Damaged));
        }
        assert!(header().body_matches(7, b"payload"));
        assert!(!header().body_matches(8, b"payload"));
        let other = RecordHeader { index: 43, ..header() };
        assert!(!other.body_matches(7, b"payload"));
        let other = RecordHeader { group: GroupId { shard: 4, ..GROUP }, ..header() };
        assert!(!other.body_matches(7, b"payload"));
    }

    #[test]
    fn a_whole_header_of_another_version_is_told_apart_from_damage() {
        let place = Place { segment: 7, offset: 4096 };
        let mut bytes = header().encode(place);
        bytes[13] = 9;
        let crc = header_crc(place, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(RecordHeader::decode(&bytes, place), Err(HeaderError::Version(9)));
    }

    #[test]
    fn every_cut_of_a_mark_is_refused() {
        let mark = Mark { groups: vec![GROUP, GROUP], ..Mark::default() }.encode();
        for len in 0..mark.len() {
            assert_eq!(Mark::decode(&mark[..len]), None, "cut at {len}");
        }
    }
}
