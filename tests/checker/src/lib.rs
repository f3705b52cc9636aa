//! Judges a recorded history of a Hapax cluster by the protocol alone.
//!
//! The crate depends on no other crate of Hapax, so that it cannot share a mistake with what it
//! judges. It begins with what is recorded: [`history`].

mod blind;
pub mod history;
mod index;
mod model;
mod report;
mod violation;
mod witness;
