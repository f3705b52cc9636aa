//! The record store: what apply works over, and what survives of it.
//!
//! ```text
//! apply ──▶ overlay (memory) ──▶ background writer ──▶ engine ──▶ disk
//!   ▲          │ reads first        one batch = a prefix    one sync for all shards,
//!   └──────────┘                    of what was applied     then the marks
//! ```
//!
//! Contract:
//! - [`ShardRecords`] never makes apply wait for the engine. What is applied is visible at once.
//! - The engine is a lazily written copy: whatever it lost in a crash is replayed from the log, which is purged
//!   only up to what the engine has synced and the marks tell.
//! - Expiry is logical: [`hapax_core::Record::settle`] decides by log time. The engines give bytes back only for
//!   what had ended by the log time of the last synced batch, so that a replay finds what its peers found.
//! - A damaged store is never served: [`StoreError::Damaged`] means wipe and rebuild.
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | the seam to fjall, sled and memory |
//! | `store`, `shard`, `writer` | the node's store, one shard of it, and what moves it to disk |
//! | `overlay`, `cache`, `scan` | what is pending, what was used lately, and pages over both and the engine |
//! | `presence` | what the engine surely does not hold |
//! | `marks`, `ledger`, `doubt` | what is known to be durable, that no batch is missing, what is in doubt |
//! | `attempts` | a store that takes the process with it when it is opened |
//! | `reclaim` | what may be dropped or shrunk |
//! | [`snapshot`] | a shard as a stream of checked chunks, and its atomic installation |

mod attempts;
mod cache;
mod config;
mod doubt;
pub mod engine;
mod error;
mod keys;
mod ledger;
mod marks;
mod overlay;
mod pace;
mod presence;
mod reclaim;
mod scan;
mod shard;
mod signal;
pub mod snapshot;
mod store;
mod writer;

pub use config::{OnFatal, RecordConfig};
pub use engine::{EngineConfig, EngineKind, MemoryEngine, is_guarded};
pub use error::StoreError;
pub use ledger::Counts;
pub use scan::ScanPage;
pub use shard::{Changes, Look, ShardRecords, ShardStats};
pub use snapshot::{SnapshotChunks, SnapshotSink, SnapshotSource};
pub use store::RecordStore;
pub use writer::RecordWriter;

pub use crate::codec::meta::AppliedMeta;
