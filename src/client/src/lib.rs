//! tmp
mod batch;
mod cache;
mod call;
mod claim;
mod client;
mod config;
mod digest;
pub mod env;
mod error;
mod execute;
pub mod fingerprint;
pub mod keys;
mod link;
mod listing;
mod pause;
mod pool;
mod reply;
mod routes;
mod verbs;

pub use claim::ClaimRequest;
pub use client::{Client, Counters, NodeReport};
pub use config::{CACHE_KEEP_MAX, CacheConfig, ClientConfig};
pub use error::Error;
pub use execute::{Ending, Execute, ExecuteError, Executed, Execution, Fresh, HoldError, Raw, Replay};
pub use listing::{ListRequest, Listing, ShardPage};
pub use reply::{
    ClaimReply, CompleteReply, ForgetReply, GetReply, ReleaseReply, RenewReply, Replied, ResolveReply,
};

pub use hapax_core::{
    Address, Answer, Ask, Blob, ErrorCode, FieldDigest, Fields, Fingerprint, Invalid, Key, Label, LogTime,
    Metadata, Money, Nonce, Operation, Outcome, OutcomeClass, Reason, Refusal, Reply, Request, StateKind,
    Tenant, Token, Trace, View, Witness,
};
pub use hapax_core::{command, limits, reply as replies, request, view};
pub use hapax_wire::client::ShardTable;
pub use hapax_wire::{ClusterId, status};

/// The address of these three, each checked.
///
/// # Errors
/// [`Invalid`] names the field that breaks its rules.
pub fn address(tenant: &str, operation: &str, key: impl Into<Vec<u8>>) -> Result<Address, Invalid> {
    Ok(Address::new(&Tenant::new(tenant)?, &Operation::new(operation)?, &Key::new(key)?))
}
