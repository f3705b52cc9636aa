//! A first signal that something is unlike what it was.
//!
//! Contract: the share of operations that were a mismatch, a takeover or fenced is compared with
//! its own recent history, each by itself, once a bucket. The score says how many standard
//! deviations above that history the last bucket was, sampling noise included, so that a single
//! mismatch on a quiet system is no alarm. Pure: time is counted in buckets, and the counts are
//! handed in.

mod detector;
mod watch;

pub use detector::{Detector, Settings};
pub use watch::{Counts, Finding, Signal, Watch};
