//! Judges a recorded history of a Hapax cluster by the protocol alone.
//!
//! The crate depends on no other crate of Hapax, so that it cannot share a mistake with what it
//! judges. A [`history::History`] is recorded by whoever runs a workload; [`check`] runs three tiers over
//! it, each of which must be content:
//!
//! - **scanners**, linear, one for each kind of lie (`scan`);
//! - **witness replay**, in the order that the servers say, through a reference model (`witness`);
//! - **blind linearizability** of each address, which trusts no order that the servers say (`blind`).
//!
//! A history that cannot be decided, or that proves nothing since its faults were not proved or its
//! phases too thin, is rejected as well.
//!
//! Taken for granted: at the beginning of a history every address is absent.

mod blind;
pub mod generate;
pub mod history;
mod index;
mod model;
mod report;
mod scan;
mod verdict;
mod violation;
mod witness;

pub use verdict::{Options, Verdict, check};
pub use violation::{Tier, Violation};
