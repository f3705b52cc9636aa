//! The load whose history is judged.
//!
//! It runs over real sockets and inside of a simulation alike: time is tokio's, sockets are a
//! [`Network`] that it is given, randomness comes from one seed, and nothing here reads a clock,
//! starts a thread or walks through an unordered map.
//!
//! | module | holds |
//! |---|---|
//! | [`session`] | a connection that says a call once |
//! | [`targets`] | the nodes, connections to them, who leads what |
//! | [`policy`] | the policies that the load wants of a cluster |
//! | [`payload`] | bytes that carry their owner |
//! | [`recorder`] | the history as it happens |
//! | [`mix`] | workers and their acts |
//! | [`overload`] | bursts over every bound |
//! | [`surge`] | calls that come at a rate, answered or not |
//! | [`scan`] | the reading of everything at the end |
//! | [`abuse`] | clients that break the wire's rules |
//!
//! Contract: one sending is one recorded operation; nothing below a worker sends again.

mod acts;
mod asks;
mod caller;
mod keys;

pub mod abuse;
pub mod mix;
pub mod overload;
pub mod payload;
pub mod policy;
pub mod recorder;
pub mod rng;
pub mod scan;
pub mod session;
pub mod surge;
pub mod targets;

pub use mix::{Settings, Workload};
pub use recorder::{ClockUs, Recorder, Tally};
pub use scan::final_scan;
pub use targets::Targets;

use hapax_client::env::{Connecting, Network, Stream, net};
use std::sync::Arc;

/// What a load lives in.
#[derive(Clone)]
pub struct WorkloadWorld {
    /// The way to the nodes.
    pub network: Arc<dyn Network>,
    /// From which everything random is drawn.
    pub seed: u64,
}

impl std::fmt::Debug for WorkloadWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkloadWorld").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl WorkloadWorld {
    /// Real sockets.
    #[must_use]
    pub fn real(seed: u64) -> Self {
        Self { network: Arc::new(Tcp), seed }
    }
}

/// The clock of a real run: microseconds since this was called, or of a simulation whose runtime's
/// time is the simulated one.
#[must_use]
pub fn run_clock() -> ClockUs {
    let start = tokio::time::Instant::now();
    Arc::new(move || u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

struct Tcp;

impl Network for Tcp {
    fn connect<'a>(&'a self, addr: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let stream = net::TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
