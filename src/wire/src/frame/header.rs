//! A frame's first twelve bytes.

use crate::fault::FrameFault;
use crate::limits::HEADER_BYTES;
use bytes::{BufMut, BytesMut};

/// The frame form that is written and read here.
pub const FORM: u8 = 1;

/// A header whose own check passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) body_bytes: usize,
    crc: u32,
    /// The checksum of the header's first eight bytes, on which the body's goes on.
    seed: u32,
}

impl Header {
    /// Reads a header and holds it against the limit for the whole frame.
    pub(super) fn read(bytes: &[u8; HEADER_BYTES], limit_bytes: usize) -> Result<Self, FrameFault> {
        let [l0, l1, l2, l3, kind, form, k0, k1, c0, c1, c2, c3] = *bytes;
        if check(&bytes[..6]) != [k0, k1] {
            return Err(FrameFault::NotAFrame);
        }
        if form != FORM {
            return Err(FrameFault::Form { form });
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let frame_bytes = u64::from(length) + HEADER_BYTES as u64;
        match usize::try_from(length) {
            Ok(body_bytes) if frame_bytes <= limit_bytes as u64 => Ok(Self {
                kind,
                body_bytes,
                crc: u32::from_le_bytes([c0, c1, c2, c3]),
                seed: crc32c::crc32c(&bytes[..8]),
            }),
            _ => Err(FrameFault::TooLarge { frame_bytes, limit_bytes }),
        }
    }

    /// Holds the body against the checksum.
    pub(super) fn verify(&self, body: &[u8]) -> Result<(), FrameFault> {
        if crc32c::crc32c_append(self.seed, body) == self.crc { Ok(()) } else { Err(FrameFault::Checksum) }
    }
}

/// The low half of the checksum of a header's first six bytes.
fn check(bytes: &[u8]) -> [u8; 2] {
    let [low, high, _, _] = crc32c::crc32c(bytes).to_le_bytes();
    [low, high]
}

/// Leaves room for a header at the end of `out`; [`finish`] fills it in. Returns where it is.
pub(crate) fn start(out: &mut BytesMut) -> usize {
    let at = out.len();
    out.put_bytes(0, HEADER_BYTES);
    at
}

/// Fills in the header at `at`: everything behind it in `out` is the body.
pub(crate) fn finish(out: &mut BytesMut, at: usize, kind: u8) {
    let (header, body) = out[at..].split_at_mut(HEADER_BYTES);
    let length = u32::try_from(body.len()).expect("a body's writer stops at the frame's limit");
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4] = kind;
    header[5] = FORM;
    let check = check(&header[..6]);
    header[6..8].copy_from_slice(&check);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..8]), body);
    header[8..].copy_from_slice(&crc.to_le_bytes());
}
