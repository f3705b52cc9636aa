//! The targets.
//!
//! Contract: each takes any bytes, returns how many values it took from them, and notes in [`Seen`] what it
//! saw. It never touches anything outside of the process.

mod apply;
mod config;
mod log;
mod node_file;
mod samples;
mod script;
mod snapshot;
mod stored;
mod wire;

use crate::seen::Seen;

/// A target and what a fuzzer needs to know of it.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is also that of its corpus.
    pub name: &'static str,
    /// Runs it over an input and says how many values were taken.
    pub run: fn(&[u8], &mut Seen) -> usize,
    /// Makes lengths and checksums of an input fit again, so that what lies behind them is reached.
    pub repair: fn(&mut Vec<u8>),
    /// The longest input that is worth trying.
    pub input_bytes_max: usize,
    /// Inputs to begin with beside the corpus, made by the code as it is.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that inputs are made of.
    pub words: &'static [&'static str],
}

/// Where the corpus has all that is needed.
fn unseeded() -> Vec<Vec<u8>> {
    Vec::new()
}

/// Where an input has neither lengths nor checksums.
fn unrepaired(_input: &mut Vec<u8>) {}

/// All targets.
pub const ALL: [Target; 9] = [
    Target {
        name: "client_frame",
        run: wire::client_frame,
        repair: |input| wire::repair(input),
        input_bytes_max: 8 << 10,
        seeds: unseeded,
        words: &[],
    },
    Target {
        name: "peer_frame",
        run: wire::peer_frame,
        repair: |input| wire::repair(input),
        input_bytes_max: 8 << 10,
        seeds: unseeded,
        words: &[],
    },
    Target {
        name: "handshake",
        run: wire::handshake,
        repair: |input| wire::repair(input),
        input_bytes_max: 5 << 10,
        seeds: unseeded,
        words: &[],
    },
    Target {
        name: "log_open",
        run: log::log_open,
        repair: unrepaired,
        input_bytes_max: 256,
        seeds: log::seeds,
        words: &[],
    },
    Target {
        name: "snapshot_open",
        run: snapshot::snapshot_open,
        repair: unrepaired,
        input_bytes_max: 256,
        seeds: snapshot::seeds,
        words: &[],
    },
    Target {
        name: "stored_value",
        run: stored::stored_value,
        repair: unrepaired,
        input_bytes_max: 4 << 10,
        seeds: stored::seeds,
        words: &[],
    },
    Target {
        name: "batch_apply",
        run: apply::batch_apply,
        repair: |input| apply::repair(input),
        input_bytes_max: 8 << 10,
        seeds: apply::seeds,
        words: &[],
    },
    Target {
        name: "node_file",
        run: node_file::node_file,
        repair: node_file::repair,
        input_bytes_max: 4 << 10,
        seeds: node_file::seeds,
        words: &[],
    },
    Target {
        name: "config",
        run: config::config,
        repair: unrepaired,
        input_bytes_max: 8 << 10,
        seeds: config::seeds,
        words: config::WORDS,
    },
];

/// The target of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> Target {
    let found = ALL.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("there is no target {name}"))
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("name", &self.name).finish_non_exhaustive()
    }
}
