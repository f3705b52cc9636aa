//! The bytes that this crate writes: one configuration, one version byte, one checksum.
//!
//! | module | encodes |
//! |---|---|
//! | [`batch`] | the payload of a log entry |
//! | [`record`] | a record as the value of its address |
//! | [`meta`] | up to where a shard's records are applied |
//!
//! Contract: what one version of this code wrote, every later one reads; golden tests hold the bytes. Input is
//! bounded before anything is allocated for it, must be used up to its last byte, and never panics: it may come
//! from a damaged disk or from a peer.

pub mod batch;
pub mod meta;
pub mod record;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

/// The version byte in front of everything encoded here.
pub const VERSION: u8 = 1;

/// The most memory that one decoded value may claim. A log entry holds 256 KiB of commands, or one larger
/// command of not much more; what the decoded form adds to that stays far below this bound.
const DECODED_BYTES_MAX: usize = 4 << 20;

/// Little-endian, variable-length integers, bounded.
const CONFIG: Configuration<LittleEndian, Varint, Limit<DECODED_BYTES_MAX>> =
    bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();

/// Bytes that are not what they should be. Says what was read, never a byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Shorter than its fixed part.
    #[error("{0} is cut short")]
    Short(&'static str),
    /// Written by a version of the code that this one does not know.
    #[error("{what} has version {found}, this code knows {VERSION}")]
    Version {
        /// What was read.
        what: &'static str,
        /// Its version byte.
        found: u8,
    },
    /// The checksum does not match.
    #[error("{0} does not match its checksum")]
    Checksum(&'static str),
    /// The checksum, if there is one, is right, but the bytes break the rules of the value.
    #[error("{0} cannot be decoded")]
    Undecodable(&'static str),
}

/// Appends the plain encoding of `value`.
fn encode_plain<T: Encode>(value: &T, out: &mut Vec<u8>) {
    let mut writer = Appender(out);
    bincode::encode_into_writer(value, &mut writer, CONFIG.with_no_limit())
        .expect("nothing that is encoded here has a fallible encoder");
}

/// Decodes the whole of `bytes`.
fn decode_plain<T: Decode<()>>(bytes: &[u8], what: &'static str) -> Result<T, CodecError> {
    let (value, used) =
        bincode::decode_from_slice::<T, _>(bytes, CONFIG).map_err(|_| CodecError::Undecodable(what))?;
    if used != bytes.len() {
        return Err(CodecError::Undecodable(what));
    }
    Ok(value)
}

/// Decodes the value that `bytes` begin with.
fn decode_first<T: Decode<()>>(bytes: &[u8]) -> Option<T> {
    bincode::decode_from_slice::<T, _>(bytes, CONFIG).ok().map(|(value, _)| value)
}

/// Takes the version byte off.
fn versioned<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a [u8], CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Short(what)),
        Some((&VERSION, rest)) => Ok(rest),
        Some((&found, _)) => Err(CodecError::Version { what, found }),
    }
}

/// Lets bincode write straight into a vector, growing it.
struct Appender<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Where the checksum stands in a sealed value: after the version byte.
const SEAL_BYTES: usize = 5;

/// What a value starts with before it is sealed: the version byte, and room for the checksum.
const UNSEALED: [u8; SEAL_BYTES] = [VERSION, 0, 0, 0, 0];

/// A value that is not sealed yet.
fn unsealed(capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEAL_BYTES + capacity);
    out.extend_from_slice(&UNSEALED);
    out
}

/// Fills in the checksum of the version byte, everything behind the checksum, and `place`: the key under which
/// the value is kept, so that a value that turns up under another key fails.
fn seal(out: &mut [u8], place: &[u8]) {
    let sum = checksum(out, place);
    out[1..SEAL_BYTES].copy_from_slice(&sum.to_le_bytes());
}

/// Checks version and checksum, and gives what is behind them.
fn unseal<'a>(bytes: &'a [u8], place: &[u8], what: &'static str) -> Result<&'a [u8], CodecError> {
    let rest = versioned(bytes, what)?;
    let Some((sum, body)) = rest.split_first_chunk::<4>() else {
        return Err(CodecError::Short(what));
    };
    if u32::from_le_bytes(*sum) != checksum(bytes, place) {
        return Err(CodecError::Checksum(what));
    }
    Ok(body)
}

fn checksum(bytes: &[u8], place: &[u8]) -> u32 {
    let sum = crc32c::crc32c(place);
    let sum = crc32c::crc32c_append(sum, &bytes[..1]);
    crc32c::crc32c_append(sum, &bytes[SEAL_BYTES..])
}

/// Numbers in a sealed row: `[version: u8][crc32c: u32][u64]…`, little-endian.
pub(crate) fn encode_numbers(numbers: &[u64], place: &[u8]) -> Vec<u8> {
    let mut out = unsealed(numbers.len() * 8);
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    seal(&mut out, place);
    out
}

/// Reads them back, however many there are.
pub(crate) fn decode_all_numbers(
    bytes: &[u8],
    place: &[u8],
    what: &'static str,
) -> Result<Vec<u64>, CodecError> {
    let (numbers, rest) = unseal(bytes, place, what)?.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(CodecError::Undecodable(what));
    }
    Ok(numbers.iter().map(|number| u64::from_le_bytes(*number)).collect())
}

/// Reads them back; there must be exactly `N`.
pub(crate) fn decode_numbers<const N: usize>(
    bytes: &[u8],
    place: &[u8],
    what: &'static str,
) -> Result<[u64; N], CodecError> {
    let numbers = decode_all_numbers(bytes, place, what)?;
    numbers.try_into().map_err(|_| CodecError::Undecodable(what))
}

/// One number in a sealed row.
pub(crate) fn encode_number(number: u64, place: &[u8]) -> Vec<u8> {
    encode_numbers(&[number], place)
}

/// Reads it back.
pub(crate) fn decode_number(bytes: &[u8], place: &[u8], what: &'static str) -> Result<u64, CodecError> {
    let [number] = decode_numbers(bytes, place, what)?;
    Ok(number)
}
