//! What is on disk: the log shared by every Raft group of a node, the record store, and the node's identity.
//!
//! | module | holds |
//! |---|---|
//! | [`disk`] | the seam through which every file is touched: the real disk, and one that injects faults |
//! | [`log`] | the shared segment log: appends, votes, purges of all groups behind one write and one sync |
//! | [`records`] | the record store: applied state, its engines, snapshots |
//! | [`codec`] | the bytes of log entries, records and applied state |
//! | [`address_map`] | maps by address for the hot paths |
//! | [`identity`] | whose directory this is: cluster, node, format; and the lock on it |
//!
//! Nothing here makes a thread, a timer or randomness (but for the seeds of hash maps): callers run the log's writer and
//! hand ids in.

pub mod address_map;
pub mod codec;
pub mod disk;
pub mod identity;
pub mod log;
pub mod records;
