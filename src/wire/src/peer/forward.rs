//! Operations that a node passes on to the leader for clients that do not know it.

use super::body::{Body, body};
use crate::client::{Call, Malformed, put_call, take_call};
use crate::codec::{BodyReader, BodyWriter, fields};
use crate::kind;
use crate::limits::CALLS;
use bincode::error::{DecodeError, EncodeError};
use hapax_core::{Answer, Principal};

/// Operations for the leader; at most 1024.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// How often they were passed on before: 0. A node passes on only what came from a client;
    /// what was passed on once is answered `not_leader` rather than passed on again.
    pub hops: u32,
    /// The operations that could be read.
    pub calls: Vec<Forwarded>,
    /// Those that could not; never sent.
    pub malformed: Vec<Malformed>,
}

/// One operation with who asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The operation; its id is unique within the request.
    pub call: Call,
    /// Who asks, as the forwarding node has authenticated it.
    pub principal: Principal,
}

impl Body for Forward {
    const KIND: u8 = kind::FORWARD;

    fn put_body(&self, body: &mut BodyWriter<'_>) -> Result<(), EncodeError> {
        if self.calls.len() > CALLS {
            return Err(EncodeError::Other("calls"));
        }
        body.u32(self.hops)?;
        self.calls.iter().try_for_each(|Forwarded { call, principal }| {
            body.section(|section| section.value(principal))?;
            put_call(body, call.id, call.deadline_ms, &call.request)
        })
    }

    fn take_body(body: &mut BodyReader) -> Result<Self, DecodeError> {
        let mut taken = Self { hops: body.u32()?, ..Self::default() };
        while !body.is_empty() {
            if taken.calls.len() + taken.malformed.len() == CALLS {
                return Err(DecodeError::Other("calls"));
            }
            let principal = body.section()?.whole()?;
            match take_call(body.section()?)? {
                Ok(call) => taken.calls.push(Forwarded { call, principal }),
                Err(malformed) => taken.malformed.push(malformed),
            }
        }
        Ok(taken)
    }
}

/// Nobody waits for these operations of the [`Forward`] with the same request number any more: a
/// claim among them that is held back by `wait` must not be granted. They are still answered, and
/// an unknown request or id is ignored. It has no reply of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardCancel {
    /// Their ids; at most 1024.
    pub ids: Vec<u64>,
}
fields!(ForwardCancel { ids: CALLS });
body!(ForwardCancel, FORWARD_CANCEL);

/// Answers to a [`Forward`]: one or more frames until every one of its calls is answered, so that a
/// waiting claim does not hold up the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardReplies {
    /// The answers, in any order; at most 1024.
    pub answers: Vec<ForwardedAnswer>,
}

/// The answer to one forwarded operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedAnswer {
    /// The call's id.
    pub id: u64,
    /// The reply and its witness.
    pub answer: Answer,
}

impl Body for ForwardReplies {
    const KIND: u8 = kind::FORWARD_REPLIES;

    fn put_body(&self, body: &mut BodyWriter<'_>) -> Result<(), EncodeError> {
        if self.answers.len() > CALLS {
            return Err(EncodeError::Other("answers"));
        }
        self.answers.iter().try_for_each(|ForwardedAnswer { id, answer }| {
            body.section(|section| {
                section.u64(*id)?;
                section.value(answer)
            })
        })
    }

    fn take_body(body: &mut BodyReader) -> Result<Self, DecodeError> {
        let mut answers = Vec::new();
        while !body.is_empty() {
            if answers.len() == CALLS {
                return Err(DecodeError::Other("answers"));
            }
            let mut section = body.section()?;
            answers.push(ForwardedAnswer { id: section.u64()?, answer: section.whole()? });
        }
        Ok(Self { answers })
    }
}
