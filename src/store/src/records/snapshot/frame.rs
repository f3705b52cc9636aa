//! One chunk's frame.

use super::CHUNK_BYTES_MAX;
use crate::codec::VERSION;
use crate::records::error::StoreError;

/// Length of the frame around a body.
pub(super) const FRAME_BYTES: usize = 14;

/// Where the checksum stands.
const SUM: std::ops::Range<usize> = 10..14;

/// What a chunk holds. The numbers are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The applied position.
    Header = 1,
    /// Rows.
    Rows = 2,
    /// Counts and digests.
    End = 3,
}

/// An empty chunk with room for the frame.
pub(super) fn begin() -> Vec<u8> {
    vec![0; FRAME_BYTES]
}

/// Fills in the frame of a chunk that was begun.
pub(super) fn finish(chunk: &mut [u8], kind: Kind, shard: u32, number: u32) {
    chunk[0] = VERSION;
    chunk[1] = kind as u8;
    chunk[2..6].copy_from_slice(&shard.to_le_bytes());
    chunk[6..10].copy_from_slice(&number.to_le_bytes());
    let sum = checksum(chunk);
    chunk[SUM].copy_from_slice(&sum.to_le_bytes());
}

/// Checks a chunk's frame and gives its kind and body.
pub(super) fn open(chunk: &[u8], shard: u32, number: u32) -> Result<(Kind, &[u8]), StoreError> {
    if chunk.len() < FRAME_BYTES || chunk.len() > CHUNK_BYTES_MAX {
        return Err(StoreError::BadSnapshot("a chunk has a length that no chunk has"));
    }
    let (frame, body) = chunk.split_at(FRAME_BYTES);
    let number_at = |at: usize| u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    if number_at(SUM.start) != checksum(chunk) {
        return Err(StoreError::BadSnapshot("a chunk does not match its checksum"));
    }
    if frame[0] != VERSION {
        return Err(StoreError::BadSnapshot("a chunk has a version that is not known here"));
    }
    if number_at(2) != shard {
        return Err(StoreError::BadSnapshot("a chunk is of another shard"));
    }
    if number_at(6) != number {
        return Err(StoreError::BadSnapshot("a chunk is out of order"));
    }
    let kind = match frame[1] {
        1 => Kind::Header,
        2 => Kind::Rows,
        3 => Kind::End,
        _ => return Err(StoreError::BadSnapshot("a chunk is of a kind that is not known here")),
    };
    Ok((kind, body))
}

fn checksum(chunk: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&chunk[..SUM.start]), &chunk[SUM.end..])
}

/// What the last chunk says of all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) content: u128,
    pub(super) stream: u128,
}

impl Totals {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.content.to_le_bytes());
        out.extend_from_slice(&self.stream.to_le_bytes());
    }

    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let (rows, rest) = body.split_first_chunk::<8>()?;
        let (content, rest) = rest.split_first_chunk::<16>()?;
        let stream: &[u8; 16] = rest.try_into().ok()?;
        Some(Self {
            rows: u64::from_le_bytes(*rows),
            content: u128::from_le_bytes(*content),
            stream: u128::from_le_bytes(*stream),
        })
    }
}
