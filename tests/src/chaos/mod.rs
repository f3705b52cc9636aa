//! Chaos on real processes: a seeded schedule of overlapping faults under a checked load.
//!
//! Contract: every planned fault is proved to have taken effect, by something that the fault itself does not
//! say (an exit status, the state of a process, counters of the proxy and of the node, a term); a fault that
//! was not proved fails the run. After the faults every node runs, every shard serves within 10 s, replicas
//! agree, and what was acknowledged is read back from every node.

pub mod cold_starts;
pub mod faults;
pub mod fleet;
pub mod kind;
pub mod network;
pub mod plan;
pub mod progress;
pub mod proxy;
pub mod report;
pub mod run;
pub mod watch;
pub mod wires;

pub use fleet::Fleet;
pub use kind::{Kind, Mix};
pub use run::{Options, run};
