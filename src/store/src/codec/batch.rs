//! The payload of a log entry: `[version: u8][batch]`.
//!
//! No checksum of its own: the log and the wire each have theirs around it.

use super::{CodecError, VERSION, decode_first, decode_plain, encode_plain, versioned};
use bytes::Bytes;
use hapax_core::command::Verdict;
use hapax_core::{Batch, Blob, Command, LogTime, Outcome, Verb, limits};

/// No entry may take more, bytes: far below what decoding allows, since an entry that cannot be decoded would stop every
/// replica that it reaches, for good.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// The bytes of a batch, as they are proposed, stored in the log and sent to peers.
#[must_use]
pub fn encode_batch(batch: &Batch) -> Bytes {
    let mut out = Vec::with_capacity(64 + batch.commands.iter().map(size_hint).sum::<usize>());
    out.push(VERSION);
    encode_plain(batch, &mut out);
    out.into()
}

/// About how many bytes a command takes, for the room that is made.
fn size_hint(command: &Command) -> usize {
    let fixed = if matches!(command.verb, Verb::Claim(_)) { 128 } else { 48 };
    fixed + variable_bytes(command)
}

/// What the fields of a command take that have one length, and the lengths of those that have not, bytes.
const FIXED_BYTES_MAX: usize = 256;

/// No less than what a command takes in an entry, bytes, and little more.
#[must_use]
pub fn command_bytes_max(command: &Command) -> usize {
    FIXED_BYTES_MAX + variable_bytes(command)
}

/// What the fields of a command take that have no fixed length, bytes.
fn variable_bytes(command: &Command) -> usize {
    let of_verb = match &command.verb {
        Verb::Claim(claim) => {
            let label = claim.label.as_ref().map_or(0, |label| label.as_str().len());
            let trace = claim.trace.as_ref().map_or(0, |trace| trace.as_str().len());
            let fields =
                claim.fields.as_slice().iter().map(|field| field.name.len() + field.digest.len() + 2);
            label + trace + fields.sum::<usize>()
        }
        Verb::Renew(renew) => renew.checkpoint.as_ref().map_or(0, Blob::len),
        Verb::Complete(complete) => outcome_bytes(&complete.outcome),
        Verb::Release(release) => release.reason.as_ref().map_or(0, |reason| reason.as_str().len()),
        Verb::Resolve(resolve) => {
            let outcome = match &resolve.verdict {
                Verdict::Complete(verdict) => outcome_bytes(&verdict.outcome),
                Verdict::Release => 0,
            };
            outcome + resolve.reason.as_str().len()
        }
        Verb::Forget(forget) => forget.reason.as_str().len(),
    };
    command.principal.as_str().len() + command.address.canonical().len() + of_verb
}

/// Each header counts for its two lengths by what [`Metadata::size_bytes`](hapax_core::Metadata::size_bytes) adds, and
/// for four bytes more, since a length of up to 8 KiB takes three.
fn outcome_bytes(outcome: &Outcome) -> usize {
    let metadata = &outcome.metadata;
    outcome.result.len() + metadata.size_bytes() + 4 * metadata.headers.len()
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
