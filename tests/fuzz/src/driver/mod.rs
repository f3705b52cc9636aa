//! A fuzzer for any compiler.
//!
//! | module | does |
//! |---|---|
//! | `random` | repeatable numbers |
//! | [`mutate`] | changes an input: blindly, with what other inputs have, and with its checksums made to fit |
//! | [`pool`] | keeps the inputs that reached something new |
//! | [`execute`] | runs a target over one input and catches its failure |
//! | [`minimise`] | makes a failing input small |
//! | [`worker`] | one target for a while, in a process of its own |
//! | [`campaign`] | many targets, some at a time, each in a worker |
//!
//! Contract: the same seed tries the same inputs, as long as the corpus and the code are the same. An input that
//! kills its process, hangs or takes too much memory is found by the campaign, since each input stands in a file
//! while it runs.

pub mod campaign;
pub mod execute;
pub mod minimise;
pub mod mutate;
pub mod pool;
mod random;
pub mod worker;

pub use random::Random;
