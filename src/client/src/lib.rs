//! The native client of Hapax, a distributed idempotency store: it lets a service do a thing once,
//! however often and from wherever it is asked to.
//!
//! # Five minutes
//! ```no_run
//! use hapax_client::{Client, ClientConfig, Ending, Executed, address, fingerprint};
//!
//! # async fn ask_the_bank(amount: u64) -> Result<String, std::io::Error> { Ok(String::new()) }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Any node will do; the client learns the others and goes straight to each shard's leader.
//! let client = Client::connect(ClientConfig::from_list("127.0.0.1:7401,127.0.0.1:7402")).await?;
//!
//! // Which operation it is (tenant, operation, key), and what it was asked to do (fingerprint).
//! let charge = address("acme", "payments.charge", "order-991:v3")?;
//! let request = fingerprint::json(br#"{"amount": 1234, "currency": "EUR"}"#)?;
//!
//! let executed = client
//!     .execute(charge, request)
//!     .run(|run| async move {
//!         run.mark().await?; // from here on it may have happened: nobody may silently repeat it
//!         Ok::<_, Box<dyn std::error::Error>>(Ending::Success(ask_the_bank(1234).await?))
//!     })
//!     .await?;
//!
//! match executed {
//!     Executed::Fresh(fresh) => println!("charged now: {}", fresh.value),
//!     Executed::Replayed(replay) => println!("charged before: {}", replay.value),
//!     Executed::Mismatch(_) => println!("that key was used for another charge"),
//!     Executed::InDoubt(doubt) => println!("it may have happened; resolve token {}", doubt.token),
//!     other => println!("not now: {}", other.name()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//! | for | see |
//! |---|---|
//! | running something once | [`Client::execute`], [`Execution`], [`Ending`], [`Executed`] |
//! | the verbs by themselves | [`Client::claim`], [`Client::renew`], [`Client::complete`], [`Client::release`], [`Client::get`], [`Client::list`], [`Client::resolve`], [`Client::forget`], [`Client::batch`] |
//! | a good key | [`keys`] |
//! | what makes a request the same | [`fingerprint`] |
//! | what may go wrong | [`Error`]: definite or indefinite |
//! | bounds and deadlines | [`ClientConfig`] |
//! | clocks, randomness and sockets of one's own | [`mod@env`] |
//!
//! # What it does for you
//! - **Routing**: it keeps the shard table, follows redirects, and finds the new leader when a node
//!   dies.
//! - **Retries**: every verb may be sent again verbatim without a second harm, so whatever may pass
//!   is retried until the call's deadline (10 s unless [`Client::within`] says otherwise), with the
//!   same nonce or token. What will not pass surfaces at once.
//! - **Pipelining**: calls share one connection a node; whatever is queued travels as one frame. In
//!   flight are at most 4096 a connection; one more is `overloaded`, definite.
//! - **Leases**: counted from the first sending on this process's own clock and given up at nine
//!   tenths, so that a holder stops before anybody else may begin.
//!
//! # What it does not
//! It cannot make the effect itself happen once: between the effect and its completion a process
//! may die. [`Execution::mark`] turns that moment into a record in doubt instead of a second run,
//! [`Execution::token`] lets what is written to refuse a holder that was replaced, and
//! [`Execution::checkpoint`] lets the next attempt go on where the last one stopped.

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
    Address, Answer, Ask, Basis, Blob, ErrorCode, FieldDigest, Fields, Fingerprint, Invalid, Key, Label,
    LogTime, Metadata, Money, Nonce, Operation, Outcome, OutcomeClass, Reason, Refusal, Reply, Request,
    StateKind, Tenant, Token, Trace, View, Witness,
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
