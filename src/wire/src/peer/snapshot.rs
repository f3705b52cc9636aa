//! A snapshot on its way to a replica that the log no longer reaches.
//!
//! All frames of one snapshot carry the same request number: [`SnapshotOpen`], [`SnapshotChunk`]s
//! numbered from 0, [`SnapshotEnd`]. One [`SnapshotReply`] ends it, at its end or earlier.

use super::body::{Body, body};
use super::{Ballot, Position};
use crate::codec::{BodyReader, BodyWriter, fields};
use crate::kind;
use crate::limits::{CHUNK_BYTES, MEMBERSHIP_BYTES, REFUSAL_BYTES, SNAPSHOT_ID_BYTES};
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use hapax_core::Blob;

/// Asks for a snapshot of a shard, from a replica whose records are lost and whose log does not
/// reach back far enough to make them again. The peer then sends one on the same connection, from
/// [`SnapshotOpen`] on, or a [`SnapshotReply`] with its refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotAsk {
    /// The group.
    pub shard: u32,
    /// The asking replica.
    pub to: u64,
    /// The least that it must cover.
    pub least: Option<Position>,
}
fields!(SnapshotAsk { shard, to, least });
body!(SnapshotAsk, SNAPSHOT_ASK);

/// A snapshot begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotOpen {
    /// The group.
    pub shard: u32,
    /// The leader's replica.
    pub from: u64,
    /// The follower's replica.
    pub to: u64,
    /// The leader's ballot.
    pub ballot: Ballot,
    /// The last place that the snapshot covers.
    pub last: Option<Position>,
    /// The group's membership there, as the consensus layer encodes it; at most 16 KiB.
    pub membership: Blob,
    /// Names the snapshot; at most 128 bytes.
    pub snapshot: String,
    /// The form of its content.
    pub format: u8,
}
fields!(SnapshotOpen {
    shard,
    from,
    to,
    ballot,
    last,
    membership: MEMBERSHIP_BYTES,
    snapshot: SNAPSHOT_ID_BYTES,
    format,
});
body!(SnapshotOpen, SNAPSHOT_OPEN);

/// A part of a snapshot. Its bytes: `seq: u32, crc: u32`, little-endian, then the part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Its number, from 0.
    pub seq: u32,
    /// Its checksum, made where it was read, so that it is covered from disk to disk.
    pub crc: u32,
    /// The part, at most 1 MiB; once received, a shared slice of the connection's read buffer.
    pub bytes: Blob,
}

impl Body for SnapshotChunk {
    const KIND: u8 = kind::SNAPSHOT_CHUNK;

    fn put_body(&self, body: &mut BodyWriter<'_>) -> Result<(), EncodeError> {
        if self.bytes.len() > CHUNK_BYTES {
            return Err(EncodeError::Other("bytes"));
        }
        body.u32(self.seq)?;
        body.u32(self.crc)?;
        body.write(self.bytes.as_slice())
    }

    fn take_body(body: &mut BodyReader) -> Result<Self, DecodeError> {
        let seq = body.u32()?;
        let crc = body.u32()?;
        let bytes = body.take_rest();
        if bytes.len() > CHUNK_BYTES {
            return Err(DecodeError::Other("bytes"));
        }
        Ok(Self { seq, crc, bytes: bytes.into() })
    }
}

/// A snapshot is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// How many chunks there were.
    pub chunks: u32,
    /// The digest of its content.
    pub digest: [u8; 16],
}
fields!(SnapshotEnd { chunks, digest });
body!(SnapshotEnd, SNAPSHOT_END);

/// Ends a snapshot: installed, or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReply {
    /// The ballot that the replica holds.
    pub ballot: Ballot,
    /// Why it was not installed; absent when it was. At most 512 bytes.
    pub refusal: Option<String>,
}
fields!(SnapshotReply { ballot, refusal: REFUSAL_BYTES });
body!(SnapshotReply, SNAPSHOT_REPLY);

impl SnapshotReply {
    /// Whether the snapshot was installed.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.refusal.is_none()
    }
}
