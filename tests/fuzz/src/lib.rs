//! Fuzz targets for everything that is decoded: what comes over a socket, what stands on a disk, what an
//! operator writes.
//!
//! | module | holds |
//! |---|---|
//! | [`targets`] | what each target does with its input, and what must hold then |
//! | [`seen`] | what an input reached, told to a driver that looks for inputs which reach more |
//! | [`driver`] | a fuzzer for any compiler: mutation, feedback, minimising, replay |
//!
//! Contract: a target is a plain function of its input. It panics when a property is broken, and any panic of
//! the product is a finding too, since a server ends by it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a target fails by panicking")]

pub mod driver;
pub mod seen;
pub mod targets;

pub use seen::Seen;
