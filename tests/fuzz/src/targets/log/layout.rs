//! The bytes of a segment, known here once more so that checksums can be made to fit after a change.
//!
//! The format is frozen; see the store's `log/format.rs`.

use super::workload::BLOCK_BYTES;
use hapax_store::disk::SimDisk;
use std::path::Path;

pub(super) const RECORD_HEADER_BYTES: usize = 48;
pub(super) const SEGMENT_HEADER_BYTES: usize = 56;
const MARK: u8 = 1;

/// A header that checks out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// Which segment file.
    pub(super) file: usize,
    /// The id in that segment's own header.
    pub(super) segment: u64,
    pub(super) offset: usize,
    /// The tag of a record; none for a segment's header.
    kind: Option<u8>,
    pub(super) body_bytes: usize,
}

impl Spot {
    pub(super) fn is_mark(&self) -> bool {
        self.kind == Some(MARK)
    }

    pub(super) fn header_bytes(&self) -> usize {
        if self.kind.is_some() { RECORD_HEADER_BYTES } else { SEGMENT_HEADER_BYTES }
    }

    /// Makes the checksums fit what stands here now.
    pub(super) fn seal(&self, bytes: &mut [u8]) {
        let at = self.offset;
        if self.kind.is_none() {
            let sum = crc32c::crc32c(&bytes[at..at + SEGMENT_HEADER_BYTES - 4]);
            bytes[at + SEGMENT_HEADER_BYTES - 4..at + SEGMENT_HEADER_BYTES]
                .copy_from_slice(&sum.to_le_bytes());
            return;
        }
        let length = number(bytes, at + 8, 4);
        let body = at + RECORD_HEADER_BYTES..at + RECORD_HEADER_BYTES + usize::try_from(length).unwrap();
        if let Some(body) = bytes.get(body) {
            let seed = [
                &self.segment.to_le_bytes()[..],
                &bytes[at + 16..at + 20],
                &bytes[at + 24..at + 32],
                &bytes[at + 40..at + 48],
            ];
            let sum = crc32c::crc32c_append(crc32c::crc32c(&seed.concat()), body);
            bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
        }
        let sum = header_sum(self.segment, at, &bytes[at + 4..at + RECORD_HEADER_BYTES]);
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let mut number = [0; 8];
    number[..len].copy_from_slice(&bytes[at..at + len]);
    u64::from_le_bytes(number)
}

fn header_sum(segment: u64, offset: usize, rest: &[u8]) -> u32 {
    let seed = [segment.to_le_bytes(), (offset as u64).to_le_bytes()].concat();
    crc32c::crc32c_append(crc32c::crc32c(&seed), rest)
}

/// All headers of a segment that check out.
pub(super) fn spots(disk: &SimDisk, file: usize, path: &Path) -> Vec<Spot> {
    let bytes = disk.contents(path).unwrap();
    let segment = number(&bytes, 16, 8);
    let mut spots = vec![Spot { file, segment, offset: 0, kind: None, body_bytes: 0 }];
    let mut at = BLOCK_BYTES;
    while at + RECORD_HEADER_BYTES <= bytes.len() {
        let header = &bytes[at..at + RECORD_HEADER_BYTES];
        if number(header, 0, 4) == u64::from(header_sum(segment, at, &header[4..])) {
            let body_bytes = usize::try_from(number(header, 8, 4)).unwrap();
            spots.push(Spot { file, segment, offset: at, kind: Some(header[12]), body_bytes });
        }
        at += 8;
    }
    spots
}
