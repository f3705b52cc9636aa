//! A record as the value of its address: `[version: u8][crc32c: u32][review at: u64][record]`, little-endian.
//!
//! The checksum covers the address too, so that a flipped bit in either, or a value under the wrong address, is
//! always found. *Review at* is the first log time at which the record may be less than what is stored; until
//! then reclaiming can pass it by without decoding it.

use super::{CodecError, SEAL_BYTES, UNSEALED, decode_plain, encode_plain, seal, unseal};
use hapax_core::{Address, LogTime, Record, State};

const WHAT: &str = "a record";

/// The value under which `record` is kept at `address`.
#[must_use]
pub fn encode_record(address: &Address, record: &Record) -> Vec<u8> {
    encode_record_at(address.canonical(), record)
}

/// As [`encode_record`], for an address that is at hand in its canonical form.
#[must_use]
pub(crate) fn encode_record_at(canonical: &[u8], record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    encode_record_into(canonical, record, &mut out);
    out
}

/// As [`encode_record_at`], in place of what `out` held.
pub(crate) fn encode_record_into(canonical: &[u8], record: &Record, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&UNSEALED);
    out.extend_from_slice(&review_at(record).0.to_le_bytes());
    encode_plain(record, out);
    seal(out, canonical);
}

/// Reads the record kept at the address with this canonical encoding.
///
/// # Errors
/// [`CodecError`] when a bit is not as it was written, or another version wrote it.
pub fn decode_record(canonical: &[u8], value: &[u8]) -> Result<Record, CodecError> {
    let body = unseal(value, canonical, WHAT)?;
    let (_, record) = body.split_first_chunk::<8>().ok_or(CodecError::Short(WHAT))?;
    decode_plain(record, WHAT)
}

/// The time before which the stored record needs no look. Not covered by a check of its own: whoever acts on it
/// decodes the whole value first.
pub(crate) fn peek_review_at(value: &[u8]) -> Option<LogTime> {
    let (time, _) = value.get(SEAL_BYTES..)?.split_first_chunk::<8>()?;
    Some(LogTime(u64::from_le_bytes(*time)))
}

/// The plain form, without version and checksum: what a snapshot carries inside its own frame.
pub(crate) fn encode_record_plain(record: &Record, out: &mut Vec<u8>) {
    encode_plain(record, out);
}

/// Reads the plain form back.
pub(crate) fn decode_record_plain(bytes: &[u8]) -> Result<Record, CodecError> {
    decode_plain(bytes, WHAT)
}

/// No state becomes less before its own deadline. A lapsed claim stays whole far beyond it, which costs a look
/// and no more; a record in doubt never ends by itself.
fn review_at(record: &Record) -> LogTime {
    match &record.state {
        State::Claimed(claimed) => claimed.deadline,
        State::Open(open) => open.since,
        State::InDoubt(_) => LogTime(u64::MAX),
        State::Completed(completed) => completed.expires_at,
        State::Spent(spent) => spent.forgotten_at,
    }
}
