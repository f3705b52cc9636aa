//! Histories that a cluster which keeps the protocol could have given.
//!
//! A small cluster, written apart from the reference model, is called by clients that lose replies,
//! send again late or twice, take over, stall, send frames of several calls, list and read from
//! followers. What they hear is recorded as a run over real nodes would be. The same seed gives the
//! same history, of any length, in a memory that grows with the number of addresses only.
//!
//! Generated histories show that the checker accepts what is right, how it scales, and, changed in one
//! place, that it rejects what is wrong.

mod calls;
mod cluster;
mod record;
mod rng;
mod tables;

pub use rng::Rng;

use crate::history::{History, Operation};
use cluster::Run;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// At least so many operations; the final scan comes on top.
    pub operations: u64,
    /// How many clients call at a time.
    pub clients: u32,
    /// How many addresses are in use at a time.
    pub addresses: u32,
    /// How many data shards there are.
    pub shards: u32,
    /// Whether every caller may read every record's detail.
    pub everyone_reads: bool,
}

impl Plan {
    /// A run of a size, with usual clients and addresses.
    #[must_use]
    pub fn new(seed: u64, operations: u64) -> Self {
        Self { seed, operations, clients: 48, addresses: 600, shards: 4, everyone_reads: seed & 1 == 0 }
    }

    /// The header of its history.
    #[must_use]
    pub fn header(&self) -> crate::history::Header {
        calls::header(self)
    }

    /// Hands each operation to `sink` once its end is known.
    pub fn run(&self, sink: &mut impl FnMut(Operation)) {
        Run::new(self, sink).run();
    }

    /// The whole history.
    #[must_use]
    pub fn history(&self) -> History {
        let mut history = History::new(self.header());
        self.run(&mut |operation| history.operations.push(operation));
        history
    }
}
