//! The work of the benchmark that needs a socket: the client, against a node that answers at once.
//!
//! Contract:
//! - What is timed is the way of a call through the client: routing, queue, frame, socket, and the answer back to its
//!   caller. The node decodes what comes, writes answers into one buffer and knows no shard, so that it costs as
//!   little as a node can; it has a thread of its own.
//! - Every answer tells which call it is for, and every caller looks: an answer that is another call's is an error.
//!
//! - [`node`]: what answers.
//! - [`callers`]: what calls.

pub mod callers;
pub mod node;
