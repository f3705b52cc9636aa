//! A TCP proxy of our own between nodes, and between clients and nodes, that misbehaves as told.
//!
//! What a proxy can mean by each fault, plainly. TCP hides lost, repeated and reordered packets from both
//! ends, so a proxy can show only what TCP lets through:
//! - **cut**: bytes of one direction stand still, those under way included; they go on when the cut ends, as
//!   sent-again segments would. A dialler still sees its connection accepted, by the proxy.
//! - **delay** and **slow**: bytes of a direction come later, in order, or at so many a second.
//! - **loss**: TCP knows only a connection that is reset; what was under way is gone.
//! - **half-open**: the end of one side's stream is not told to the other.
//! - **reordering**: what was sent on a connection arrives after the connection that replaced it came up.
//! - **duplication** (between nodes): every message of the consensus arrives once more, on a second connection,
//!   whose answers go nowhere. Forwarded calls are left out: a caller of its own would see its call done twice.
//! - **damage** (of snapshots): one bit of a stream is changed, which TCP's checksum would let through rarely.

mod connection;
mod direction;
mod duplicate;
mod link;

pub use direction::{Direction, Rule};
pub use link::{Link, LinkCounts};
