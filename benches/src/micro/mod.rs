//! The work of the micro benchmarks: small cases that need no cluster, each a function to be called again and again.
//!
//! The same cases are timed by `cargo bench -p hapax-bench` and counted by [`crate::counts`].
//!
//! - [`commands`]: commands as a leader would propose them, over keys of a fixed shape.
//! - [`records`]: what such commands find.
//! - [`apply`]: one command, and one entry, in the state machine; answers without an entry.
//! - [`codec`]: entries and records as bytes.
//! - [`frames`]: what a connection writes and reads.
//!
//! Times are noisy on shared machines: compare within one run, and prefer ratios.

pub mod apply;
pub mod codec;
pub mod commands;
pub mod frames;
pub mod records;

use std::fmt;
use std::hint::black_box;

/// One thing to measure.
pub struct Case {
    /// `layer/what`, and what it finds.
    pub name: String,
    /// Commands, records or calls that one run handles.
    pub elements: u64,
    work: Box<dyn FnMut()>,
}

impl Case {
    /// From what one run does; what it returns is kept from being optimised away.
    pub fn new<T>(name: impl Into<String>, elements: u64, mut work: impl FnMut() -> T + 'static) -> Self {
        let work = move || {
            black_box(work());
        };
        Self { name: name.into(), elements, work: Box::new(work) }
    }

    /// Runs it once.
    pub fn run(&mut self) {
        (self.work)();
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Every case whose instructions are counted: none waits, draws lots or looks at the machine.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = apply::cases();
    cases.extend(codec::cases());
    cases.extend(frames::cases());
    cases
}
