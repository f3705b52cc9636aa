//! Power cuts of whole clusters over disks with a volatile cache: real nodes, real engines, real
//! ext4, and everything that nobody flushed really gone.
//!
//! Contract: each node's data is an ext4 file system on a block device whose disk is this process
//! ([`disk`], [`shelf`]). A cut ends the power of all disks at one moment: a flush that had returned
//! before it is kept, none returns after it. So whatever any caller was ever told was made durable
//! must be there afterwards, without a window in which one could not know.

pub mod disk;
pub mod run;
pub mod shelf;
pub mod volume;

pub use run::{Options, Report, run};

use hapax_server::server::World;

/// The machine itself, with a record store that does in a second what it else does in a minute: batches are due every
/// quarter of a second, and those of about forty records are large ones, which fjall takes as tables past its
/// journal. With its usual pace the power would be cut before the first.
#[must_use]
pub fn world() -> World {
    let mut world = World::real();
    let records = &mut world.tuning.records;
    (records.batch_ms, records.sync_ms) = (250, 250);
    records.engine.table_bytes_min = 32 << 10;
    world
}
