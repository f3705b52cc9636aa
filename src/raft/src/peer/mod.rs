//! Between nodes: links out, an acceptor in, and openraft's network over both.
//!
//! Each node dials every other: requests go out on the dialled connection and their replies come
//! back on it, matched by number and in any order. Snapshots take a second connection, so that
//! their bulk never delays a heartbeat. A link that is down fails its requests at once; every
//! request has a deadline; every queue has a bound in bytes or in number.

pub mod acceptor;
pub mod append_worker;
pub mod connection;
pub mod convert;
pub mod link;
pub mod links;
pub mod network;
mod pipeline;
pub mod service;
pub mod snapshot_in;
pub mod snapshot_out;
