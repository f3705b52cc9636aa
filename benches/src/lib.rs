//! How fast Hapax is: work, generators and figures.
//!
//! - [`micro`]: the work of the micro benchmarks (`cargo bench -p hapax-bench`).
//! - [`stored`]: the same where a disk is needed.
//! - [`wired`]: the same where a socket is needed: the client against a node that answers at once.
//! - [`counts`]: how many instructions the work of `micro` takes, against a table.
//! - [`load`]: callers against a running store, which check what they are answered.
//! - [`peers`]: the same load on the stores that people use for this today, side by side.
//! - [`curves`]: how it scales, in tables and drawings.
//! - [`servers`]: server processes, and what they use of the machine.
//!
//! Times are noisy on shared machines: compare within one run, and prefer ratios.

pub mod counts;
pub mod curves;
pub mod load;
pub mod micro;
pub mod peers;
pub mod servers;
pub mod stored;
pub mod wired;
