//! Callers against a store, as services use it: claim, do nothing, complete; retry; claim at the same time.
//!
//! Contract: each *call* is one of three.
//! - **fresh**: a claim of a new key, which must be granted, then its complete, which must be kept.
//! - **replay**: a claim of a completed key, which must give the bytes that were kept.
//! - **duplicate**: two claims of a new key at once, of which one must be granted and the other told that it runs;
//!   then its complete.
//!
//! Each request is an *operation* and is timed. A closed loop begins a worker's next call when the last one is
//! answered. An open loop begins calls at a fixed rate, and counts the time of a call's first operation from when
//! it was to begin, so that a stall costs every call that it put off. An answer that breaks the rules is *wrong* and
//! fails the run; an error is counted by its code. Results are functions of their key, so that nothing is remembered
//! to check them.

pub mod draw;
pub mod fill;
pub mod hapax;
pub mod progress;
pub mod report;
pub mod run;
pub mod store;
pub mod tally;
pub mod work;
pub mod worker;

pub use report::Report;
pub use run::{Options, run};
