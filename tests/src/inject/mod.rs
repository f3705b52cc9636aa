//! Faults inside a node's process: a disk that fails, fills up and stalls, and a wall clock that is wrong.
//!
//! Contract: the node's own code is not touched, only the [`World`] that it is given. Orders come through a
//! file in a directory that only the test knows ([`Desk`]); what was injected is counted and written back, also
//! across restarts of the process, so that whoever gave an order can prove that it took effect. Without a
//! directory in the environment the machine itself is used.

mod clock;
mod desk;
mod disk;
mod faults;

pub use desk::{Clock, Counts, Desk, Disk, Orders};
pub use faults::Faults;

use clock::WrongClock;
use disk::FaultyDisk;
use hapax_server::server::World;
use std::path::PathBuf;
use std::sync::Arc;

/// The variable that names the directory of the orders. It does not begin like the product's own.
pub const VARIABLE: &str = "UNDER_TEST_FAULTS";

/// The world of a node under test: the machine, with the faults that are ordered.
#[must_use]
pub fn world() -> World {
    let real = World::real();
    let Some(dir) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return real };
    let faults = Faults::start(&dir);
    let mut env = real.env.clone();
    env.clock = Arc::new(WrongClock::new(Arc::clone(&real.env.clock), Arc::clone(&faults)));
    World { disk: Arc::new(FaultyDisk::new(Arc::clone(&real.disk), faults)), env, ..real }
}
