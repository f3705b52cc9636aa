//! The claim protocol as data and pure functions.
//!
//! Everything here is deterministic: no clock, no randomness, no I/O, no async runtime. What a
//! command does is decided by the record that it finds, the log time that it carries and its
//! position in the log; nothing is looked up. The layers above bring those three and keep what
//! comes back.
//!
//! Reading order: [`address`] (what a record is about), [`record`] (what is kept), [`command`]
//! (what changes it), [`reply`] (what is said about it), [`policy`] (with which numbers); then
//! [`mod@transition`] (what one command does), [`shard_state`] (what an entry does), [`read`] (what
//! needs no entry), and beside them [`mod@resolve_request`], [`quota`] and [`prevented`] (what a
//! leader does before and after). [`seeded`] is nothing in the product: see there.

pub mod address;
pub mod bytes;
pub mod command;
pub mod digest;
pub mod error;
pub mod fingerprint;
pub mod limits;
pub mod money;
pub mod nonce;
pub mod outcome;
pub mod policy;
pub mod prevented;
pub mod quota;
pub mod read;
pub mod record;
pub mod reply;
pub mod request;
pub mod resolve_request;
pub mod seeded;
pub mod shard_state;
pub mod text;
pub mod time;
pub mod token;
pub mod transition;
mod verbs;
pub mod view;

pub use address::{Address, Key, Operation, Tenant};
pub use bytes::Blob;
pub use command::{Batch, Command, Verb};
pub use digest::content_digest;
pub use error::{ErrorCode, Invalid, LeaderHint, Refusal};
pub use fingerprint::{FieldDigest, Fields, Fingerprint};
pub use money::Money;
pub use nonce::Nonce;
pub use outcome::{Metadata, Outcome, OutcomeClass};
pub use policy::{Mode, OnLapse, Policies, Policy, PolicyError, PolicyTable, Terms};
pub use prevented::{CountedPairs, Event};
pub use quota::{QuotaLedger, QuotaLimits};
pub use read::{ReadAt, read_get, read_verb};
pub use record::{Access, Record, Settled, State};
pub use reply::{Answer, Basis, Reply, Witness};
pub use request::{Ask, Request};
pub use resolve_request::{Resolved, resolve_request};
pub use shard_state::{ApplyError, Records, ShardState, Step, apply_batch, apply_batch_with};
pub use text::{Label, Principal, Reason, Trace};
pub use time::LogTime;
pub use token::Token;
pub use transition::{At, Change, Transition, UnknownFormat, transition};
pub use view::{StateKind, View};
