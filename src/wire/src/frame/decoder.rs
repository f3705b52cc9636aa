//! From a stream of bytes to frames.

use super::Frame;
use super::header::Header;
use crate::fault::FrameFault;
use crate::limits::HEADER_BYTES;
use bytes::{Buf, BytesMut};

/// What the first reads make room for: enough for a handshake and for an idle connection.
const READ_MIN_BYTES: usize = 8 * 1024;
/// What the reads of a busy connection make room for.
const READ_MAX_BYTES: usize = 64 * 1024;

/// Takes bytes as they come and gives frames.
///
/// The buffer never holds much more than one frame of the limit: the reader polls until there is
/// no whole frame left, then reads again. Room is made for what a header announces only as the
/// bytes come (at least doubling), so that an announced length alone costs nothing.
///
/// After a fault the place of the next frame is unknown: every later poll gives the fault again.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    limit_bytes: usize,
    /// What the next read makes room for; doubles whenever a read took all the room it had.
    read_bytes: usize,
    /// The header at the start of the buffer, once it was read and passed.
    header: Option<Header>,
    fault: Option<FrameFault>,
}

impl Decoder {
    /// A decoder that refuses frames over `limit_bytes`, header included; see [`crate::limits`].
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), limit_bytes, read_bytes: READ_MIN_BYTES, header: None, fault: None }
    }

    /// Changes the limit from the next header on: raised once the handshake is done.
    pub fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
    }

    /// The buffer to read into, with room for at least one useful read. Append only.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let held = self.buffer.len();
        let spare = self.buffer.capacity() - held;
        if spare == 0 && held > 0 {
            self.read_bytes = READ_MAX_BYTES.min(self.read_bytes * 2);
        }
        // Of a large frame no more than has come already is made room for at once.
        let wanted = self.missing().min(held.max(READ_MAX_BYTES)).max(self.read_bytes / 4);
        if spare < wanted {
            self.buffer.reserve(wanted.max(self.read_bytes));
        }
        &mut self.buffer
    }

    /// Takes bytes that were read elsewhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether bytes of an unfinished frame are waiting: an end of the stream now is a cut frame.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next whole frame, or none until more bytes have come.
    ///
    /// # Errors
    /// [`FrameFault`], for good: answer it and close.
    pub fn poll(&mut self) -> Result<Option<Frame>, FrameFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.advance().inspect_err(|fault| {
            self.fault = Some(*fault);
            self.buffer = BytesMut::new();
        })
    }

    fn advance(&mut self) -> Result<Option<Frame>, FrameFault> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(bytes) = self.buffer.first_chunk() else { return Ok(None) };
                *self.header.insert(Header::read(bytes, self.limit_bytes)?)
            }
        };
        if self.buffer.len() < HEADER_BYTES + header.body_bytes {
            return Ok(None);
        }
        self.header = None;
        self.buffer.advance(HEADER_BYTES);
        let body = self.buffer.split_to(header.body_bytes).freeze();
        header.verify(&body)?;
        Ok(Some(Frame { kind: header.kind, body }))
    }

    /// Bytes that the frame at the start of the buffer still lacks, as far as is known.
    fn missing(&self) -> usize {
        let whole = self.header.map_or(HEADER_BYTES, |header| HEADER_BYTES + header.body_bytes);
        whole.saturating_sub(self.buffer.len())
    }
}
