//! One Raft group a shard, over the store and the wire.
//!
//! | module | holds |
//! |---|---|
//! | [`node`] | a node: its replicas, and the way of every call to the right one |
//! | [`formation`], [`layout`] | how a fixed cluster comes to be, and where its shards are |
//! | [`group`] | one replica: opening, leading, applying, snapshots, upkeep |
//! | [`serve`] | from a call to its reply on the leader: batching, reads, waiting |
//! | [`time`] | log time: stamps, the wall clocks behind them, what outlives a process |
//! | [`sealed`] | small files, replaced as a whole |
//! | [`peer`] | between nodes: links, the acceptor, openraft's network |
//! | [`mod@env`] | the only doors to clocks, randomness and sockets |
//!
//! openraft stays inside: its types are named in [`types`], its bytes never reach disk or wire.

pub mod call;
pub mod codec;
pub mod config;
pub mod context;
pub mod env;
pub mod formation;
mod forward;
pub mod group;
pub mod ids;
pub mod layout;
pub mod node;
pub mod observe;
pub mod peer;
pub mod sealed;
pub mod serve;
mod slot;
pub mod status;
pub mod stop;
pub mod time;
pub mod types;
