//! What the whole-system tests share: clusters of real node processes, the command line, raw
//! connections, load with a ledger of what was acknowledged.
//!
//! Contract: everything that a test starts ends with the handle that it holds, and with the test's
//! process however that ends; directories are private, ports are taken from a range that the
//! system gives to nobody; nothing is waited for by sleeping, only on a condition with a deadline.

pub mod chaos;
pub mod cluster;
pub mod command;
pub mod failover;
pub mod http;
pub mod inject;
pub mod leaders;
pub mod ledger;
pub mod load;
pub mod ports;
pub mod power;
pub mod process;
pub mod raw;
pub mod rng;
pub mod seeded;
pub mod spec;
pub mod wait;
pub mod workload;

pub use cluster::TestCluster;
pub use command::{Hapax, Ran};
pub use spec::Spec;
pub use wait::until;

/// The program under test, as cargo built it for the test that asks.
#[macro_export]
macro_rules! program {
    () => {
        env!("CARGO_BIN_EXE_hapax-under-test")
    };
}

/// Notes a figure of a test in its output: what was measured, beside whether it passed.
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => { $crate::write_note(&format!($($text)*)) };
}

/// What [`note!`] calls.
#[expect(clippy::print_stdout, reason = "a test's output is where its figures go")]
pub fn write_note(text: &str) {
    println!("{text}");
}
