//! The digests of the protocol, 128 bits each (xxh3), and frozen: a repeated complete or resolve is
//! recognised by them, and replicas of different versions compare them.
//!
//! An **outcome digest** is over class, result and metadata; a **verdict digest** over what a
//! resolve decided; a **content digest** over one record as it is at a log time, made to be summed
//! over a shard in any order; the **rolling digest** of a shard (in [`crate::shard_state`]) over
//! all effects of apply in log order.

use crate::address::Address;
use crate::command::Verdict;
use crate::outcome::{Outcome, OutcomeClass};
use crate::record::Record;
use crate::time::LogTime;
use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};
use bincode::error::EncodeError;
use xxhash_rust::xxh3::Xxh3;

/// A hasher over the byte forms of values.
pub(crate) struct Hasher {
    state: Xxh3,
    /// A value's bytes, taken in at once: most of its parts are of a few bytes each.
    form: Vec<u8>,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { state: Xxh3::new(), form: Vec::new() }
    }

    /// Takes in the byte form of a value.
    pub(crate) fn add(&mut self, value: &impl Encode) {
        let config = bincode::config::standard().with_little_endian().with_variable_int_encoding();
        self.form.clear();
        value
            .encode(&mut EncoderImpl::new(Form(&mut self.form), config))
            .expect("a buffer takes whatever it is given");
        self.state.update(&self.form);
    }

    /// Takes in bytes, preceded by their count, so that neighbours cannot run into each other.
    fn add_counted(&mut self, bytes: &[u8]) {
        self.state.update(&(bytes.len() as u64).to_le_bytes());
        self.state.update(bytes);
    }

    pub(crate) fn finish(self) -> u128 {
        self.state.digest128()
    }
}

struct Form<'a>(&'a mut Vec<u8>);

impl Writer for Form<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The byte that stands for a class in a digest; independent of its tag on the wire.
fn class_byte(class: OutcomeClass) -> u8 {
    match class {
        OutcomeClass::Success => 1,
        OutcomeClass::Rejected => 2,
        OutcomeClass::Error => 3,
    }
}

impl Outcome {
    /// The digest of class, result and metadata, by which a repeated complete is recognised.
    ///
    /// Canonical form: class (1 byte); result; a byte 0 or 1 and the content type; a byte 0 or 1
    /// and the status (u16); the number of headers (u64) and each name and value. Byte strings are
    /// preceded by their length (u64); all numbers are little-endian.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut hasher = Hasher::new();
        hasher.state.update(&[class_byte(self.class)]);
        hasher.add_counted(self.result.as_slice());
        hasher.state.update(&[u8::from(self.metadata.content_type.is_some())]);
        if let Some(content_type) = &self.metadata.content_type {
            hasher.add_counted(content_type.as_bytes());
        }
        hasher.state.update(&[u8::from(self.metadata.status.is_some())]);
        if let Some(status) = self.metadata.status {
            hasher.state.update(&status.to_le_bytes());
        }
        hasher.state.update(&(self.metadata.headers.len() as u64).to_le_bytes());
        for (name, value) in &self.metadata.headers {
            hasher.add_counted(name.as_bytes());
            hasher.add_counted(value.as_bytes());
        }
        hasher.finish().to_le_bytes()
    }
}

impl Verdict {
    /// The digest by which a repeated resolve is recognised: over what was decided, not over the
    /// retention, which a changed policy may clamp differently the second time.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut hasher = Hasher::new();
        match self {
            Self::Complete(complete) => {
                hasher.state.update(&[1]);
                hasher.state.update(&complete.outcome.digest());
            }
            Self::Release => hasher.state.update(&[2]),
        }
        hasher.finish().to_le_bytes()
    }
}

/// The content digest of one record as it is at `now`; 0 where it is absent by then. A shard's is
/// the wrapping sum over its records, in whatever order they are read.
#[must_use]
pub fn content_digest(address: &Address, record: &Record, now: LogTime) -> u128 {
    record.settle(now).map_or(0, |settled| {
        let mut hasher = Hasher::new();
        hasher.add(address);
        hasher.add(&*settled);
        hasher.finish()
    })
}
