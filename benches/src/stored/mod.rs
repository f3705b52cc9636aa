//! The work of the benchmarks that need a disk: the shared log, and the record store of one shard over its engine.
//!
//! Contract:
//! - Only what is measured is timed. What keeps a run from growing without end, and what looks at the outcome
//!   afterwards, lies between the timed spans.
//! - Answers are checked, and a wrong one is an error: a fast way to a wrong answer must not pass for a good figure.
//! - Files lie in a directory of the run's own, on a disk and not in memory; it goes with the work.
//! - All through the public functions that the layers above call.
//!
//! | module | holds |
//! |---|---|
//! | [`appends`] | entries that are appended to the log and synced |
//! | [`gets`] | records that are looked up, by where they are found |
//! | [`applies`] | entries whose changes become visible |
//! | [`moves`] | batches that the background writer moves into the engine |
//! | [`store`] | the record store under the last three |
//! | [`keys`], [`scratch`] | records of many keys, and where files go |

pub mod appends;
pub mod applies;
pub mod gets;
pub mod keys;
pub mod moves;
pub mod scratch;
pub mod store;
