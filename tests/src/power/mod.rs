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
