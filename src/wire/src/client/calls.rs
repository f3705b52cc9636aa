//! Operations on their way to a node.

use crate::codec::{BodyReader, BodyWriter};
use crate::fault::{EncodeFault, field_at_fault, invalid};
use crate::frame;
use crate::kind;
use crate::limits::{CALLS, CLIENT_FRAME_BYTES};
use crate::message::Message;
use bincode::error::{DecodeError, EncodeError};
use bytes::BytesMut;
use hapax_core::{Refusal, Request};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Unique among the calls and questions in flight on its connection; not 0.
    pub id: u64,
    /// How long its caller still waits for the answer, ms, counted from when it arrives.
    pub deadline_ms: u32,
    /// What is asked.
    pub request: Request,
}

/// A call whose request could not be read: it is answered with the refusal, and the connection
/// lives on. Only ever received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The call's id.
    pub id: u64,
    /// `invalid{field}`, definite.
    pub refusal: Refusal,
}

/// Up to 1024 operations in one frame, in the order in which they take effect.
///
/// Each call has a section of its own (`length: u32, id: u64, deadline_ms: u32, request`), so that
/// one which cannot be read spoils neither its neighbours nor the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// The calls that could be read.
    pub calls: Vec<Call>,
    /// Those that could not; never sent.
    pub malformed: Vec<Malformed>,
}

impl Message for Calls {
    const KIND: u8 = kind::CALLS;
    const LIMIT_BYTES: usize = CLIENT_FRAME_BYTES;

    fn put_body(&self, body: &mut BodyWriter<'_>) -> Result<(), EncodeError> {
        if self.calls.len() > CALLS {
            return Err(EncodeError::Other("calls"));
        }
        self.calls.iter().try_for_each(|call| put_call(body, call.id, call.deadline_ms, &call.request))
    }

    fn take_body(body: &mut BodyReader) -> Result<Self, DecodeError> {
        let mut taken = Self::default();
        while !body.is_empty() {
            if taken.calls.len() + taken.malformed.len() == CALLS {
                return Err(DecodeError::Other("calls"));
            }
            match take_call(body.section()?)? {
                Ok(call) => taken.calls.push(call),
                Err(malformed) => taken.malformed.push(malformed),
            }
        }
        Ok(taken)
    }
}

/// Writes one call's section.
pub(crate) fn put_call(
    body: &mut BodyWriter<'_>,
    id: u64,
    deadline_ms: u32,
    request: &Request,
) -> Result<(), EncodeError> {
    body.section(|section| {
        section.u64(id)?;
        section.u32(deadline_ms)?;
        section.value(request)
    })
}

/// Reads one call from its section; the outer error is a section without a whole head.
pub(crate) fn take_call(mut section: BodyReader) -> Result<Result<Call, Malformed>, DecodeError> {
    let id = section.u64()?;
    let deadline_ms = section.u32()?;
    Ok(match section.whole() {
        Ok(request) => Ok(Call { id, deadline_ms, request }),
        Err(error) => {
            let field = field_at_fault(&error, "request");
            Err(Malformed { id, refusal: invalid(field, format!("invalid {field}")) })
        }
    })
}

/// What became of a call offered to a [`CallsFrame`].
#[derive(Debug)]
pub enum Push {
    /// It is in the frame.
    Taken,
    /// The frame has no room for it: finish the frame, start another, offer it again.
    Full,
    /// It fits no frame. The frame is as it was.
    Refused(EncodeFault),
}

/// A frame of calls that is filled in place from borrowed requests, as a connection's writer
/// drains its queue. Nothing is in the buffer once it is dropped unfinished.
#[derive(Debug)]
pub struct CallsFrame<'a> {
    out: &'a mut BytesMut,
    at: usize,
    calls: usize,
}

impl<'a> CallsFrame<'a> {
    /// Starts a frame at the end of `out`.
    pub fn start(out: &'a mut BytesMut) -> Self {
        let at = frame::start(out);
        Self { out, at, calls: 0 }
    }

    /// Calls in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls
    }

    /// Whether no call is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls == 0
    }

    /// Bytes of the frame so far.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.out.len() - self.at
    }

    /// Offers a call.
    pub fn push(&mut self, id: u64, deadline_ms: u32, request: &Request) -> Push {
        if self.calls == CALLS {
            return Push::Full;
        }
        let before = self.out.len();
        let end = self.at + CLIENT_FRAME_BYTES;
        let Err(error) = put_call(&mut BodyWriter::new(self.out, end), id, deadline_ms, request) else {
            self.calls += 1;
            return Push::Taken;
        };
        self.out.truncate(before);
        match EncodeFault::new(kind::CALLS, CLIENT_FRAME_BYTES, &error) {
            EncodeFault::TooLarge { .. } if self.calls > 0 => Push::Full,
            fault => Push::Refused(fault),
        }
    }

    /// Ends the frame; an empty one leaves nothing in the buffer. Returns the number of calls.
    pub fn finish(mut self) -> usize {
        let calls = std::mem::take(&mut self.calls);
        if calls > 0 {
            frame::finish(self.out, self.at, kind::CALLS);
            self.at = self.out.len();
        }
        calls
    }
}

impl Drop for CallsFrame<'_> {
    fn drop(&mut self) {
        // Once finished, `at` is the end of the buffer and nothing is cut.
        self.out.truncate(self.at);
    }
}
