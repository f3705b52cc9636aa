//! Up to where a shard's records are applied: `[version: u8][crc32c: u32][fields]`.

use super::{CodecError, decode_plain, encode_plain, seal, unseal, unsealed};
use crate::log::LogPosition;
use bincode::{Decode, Encode};
use bytes::Bytes;
use hapax_core::{Blob, LogTime};

const WHAT: &str = "applied state";

/// What belongs to a shard's applied state beside its records. Always written together with them, in one atomic
/// batch, so that the two never tell different stories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedMeta {
    /// The last entry applied; none when nothing was.
    pub position: Option<LogPosition>,
    /// The log time after that entry.
    pub time: LogTime,
    /// The rolling digest over the effects of apply.
    pub digest: u128,
    /// The shard's lineage.
    pub epoch: u8,
    /// The membership that the Raft layer last applied, in its own encoding: a few KiB.
    pub membership: Bytes,
    /// The command format level that was last applied.
    pub format: u8,
}

/// The fields in the order in which they are written. Frozen.
#[derive(Encode, Decode)]
struct Fields {
    position: Option<(u64, u64)>,
    time: LogTime,
    digest: u128,
    epoch: u8,
    membership: Blob,
    format: u8,
}

/// The bytes of `meta`, kept at `place`.
#[must_use]
pub fn encode_meta(meta: &AppliedMeta, place: &[u8]) -> Vec<u8> {
    let mut out = unsealed(64 + meta.membership.len());
    let fields = Fields {
        position: meta.position.map(|position| (position.term, position.index)),
        time: meta.time,
        digest: meta.digest,
        epoch: meta.epoch,
        membership: meta.membership.clone().into(),
        format: meta.format,
    };
    encode_plain(&fields, &mut out);
    seal(&mut out, place);
    out
}

/// Reads it back.
///
/// # Errors
/// [`CodecError`] when a bit is not as it was written, or another version wrote it.
pub fn decode_meta(bytes: &[u8], place: &[u8]) -> Result<AppliedMeta, CodecError> {
    let fields: Fields = decode_plain(unseal(bytes, place, WHAT)?, WHAT)?;
    Ok(AppliedMeta {
        position: fields.position.map(|(term, index)| LogPosition { term, index }),
        time: fields.time,
        digest: fields.digest,
        epoch: fields.epoch,
        membership: fields.membership.into_bytes(),
        format: fields.format,
    })
}
