//! What a run recorded: the JSON-lines format, and the same in memory.
//!
//! A file is a sequence of lines, each one object with one member that names its kind:
//!
//! | line | content |
//! |---|---|
//! | `{"header": …}` | [`Header`]: the first line; the run, its policies, what its clocks may do, what was planned |
//! | `{"op": …}` | [`Operation`]: one call of one verb and its answer, in any order |
//! | `{"fault": …}` | [`Fault`]: one fault that was injected, and what proved that it took effect |
//! | `{"log": …}` | [`LogDump`]: one replica's log of one shard, read from its disk after the run |
//! | `{"end": …}` | [`End`]: the last line; a file without it was cut short and is refused |
//!
//! Rules for those who record:
//!
//! - **One sending is one operation.** A call that is sent again, verbatim or not, is a new
//!   operation with its own id, however it was answered. Nothing between the recorder and the node
//!   may send again.
//! - `invoke_us` is taken before the first byte is sent and `return_us` after the last byte of the
//!   answer is read, both from **one monotonic clock** for all clients of the run. An operation that
//!   was never answered has no `return_us` and the reply `"none"`.
//! - An operation whose effect is unknown is one without an answer or with an error that is not
//!   definite. Everything else is certain.
//! - Payloads are not recorded but by digest and length ([`Payload`]). **Results and checkpoints
//!   carry their owner**: their bytes name the address, the fingerprint and the token that they were
//!   made for, and what a reply's bytes say is recorded in [`Payload::owner`]. A payload whose bytes
//!   cannot be read that way has no owner, which is a violation by itself unless it is empty.
//! - A digest is [`Hash16::of`] over the bytes. Metadata has one digest over any canonical form of it.
//! - An address is one string, `tenant|operation|key in hex`; see [`address`].
//! - Times named `_ms` are log times in ms since 1970 or durations in ms; times named `_us` are of the
//!   run's monotonic clock.
//! - Fields that are absent are left out. Field names and the names of kinds are stable.
//!
//! In memory an operation takes a few hundred bytes; names that recur (addresses above all) are
//! shared by the [`Reader`].

mod call;
mod fault;
mod file;
mod hash;
mod header;
mod log_dump;
mod name;
mod operation;
mod reply;

pub use call::{Call, Claim, Complete, Field, Forget, ForgetMode, Get, List, Release, Renew, Resolve};
pub use fault::{Fault, PlannedFault};
pub use file::{End, Line, ReadError, Reader, Writer, read};
pub use hash::{Fingerprint, Hash16};
pub use header::{ClockBounds, Expectations, Header, Mode, OnLapse, Policy, PolicyRow, Window};
pub use log_dump::{LogDump, LogEntry};
pub use name::{Name, address};
pub use operation::{Basis, Operation, Phase, Witness};
pub use reply::{Class, Detail, Ended, ErrorCode, Granted, Outcome, Owner, Payload, Replayed};
pub use reply::{Reply, Row, StateKind, View};

/// Everything that was recorded of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The run.
    pub header: Header,
    /// Its operations, in any order.
    pub operations: Vec<Operation>,
    /// Its faults.
    pub faults: Vec<Fault>,
    /// Its logs, if they were dumped.
    pub logs: Vec<LogDump>,
}

impl History {
    /// An empty history of a run.
    #[must_use]
    pub fn new(header: Header) -> Self {
        Self { header, operations: Vec::new(), faults: Vec::new(), logs: Vec::new() }
    }
}
