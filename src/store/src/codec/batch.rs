//! The payload of a log entry: `[version: u8][batch]`.
//!
//! No checksum of its own: the log and the wire each have theirs around it.

use super::{CodecError, VERSION, decode_first, decode_plain, encode_plain, versioned};
use bytes::Bytes;
use hapax_core::{Batch, Blob, Command, LogTime, Verb, limits};

/// The bytes of a batch, as they are proposed, stored in the log and sent to peers.
#[must_use]
pub fn encode_batch(batch: &Batch) -> Bytes {
    let mut out = Vec::with_capacity(64 + batch.commands.iter().map(size_hint).sum::<usize>());
    out.push(VERSION);
    encode_plain(batch, &mut out);
    out.into()
}

/// About how many bytes a command takes; an estimate from above for all but those with field digests.
fn size_hint(command: &Command) -> usize {
    let payload = match &command.verb {
        Verb::Complete(complete) => complete.outcome.result.len() + complete.outcome.metadata.size_bytes(),
        Verb::Renew(renew) => renew.checkpoint.as_ref().map_or(0, Blob::len),
        _ => 128,
    };
    64 + command.principal.as_str().len() + command.address.canonical().len() + payload
}

/// Reads a batch back.
///
/// # Errors
/// [`CodecError`] for another version, for bytes that are no batch, or for more commands than an entry may hold.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, CodecError> {
    let batch: Batch = decode_plain(versioned(bytes, "a batch")?, "a batch")?;
    if batch.commands.len() > limits::ENTRY_COMMANDS {
        return Err(CodecError::Undecodable("a batch"));
    }
    Ok(batch)
}

/// The log time of an encoded batch, without decoding the rest; `None` for bytes that are no batch.
#[must_use]
pub fn batch_time(bytes: &[u8]) -> Option<LogTime> {
    // The time is the batch's first field.
    decode_first(versioned(bytes, "a batch").ok()?)
}
