//! Orders and counts, as files in one directory: both sides of it.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// How wrong the wall clock is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Added to the machine's, ms.
    pub offset_ms: i64,
    /// Thousandths by which it runs faster (or slower), counted from the order.
    pub drift: i64,
    /// It stands still from the order on.
    pub frozen: bool,
}

/// What the disk does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The next sync fails with EIO, once for each number.
    pub sync_error: u64,
    /// The next write fails with EIO, once for each number.
    pub write_error: u64,
    /// No byte is free.
    pub full: bool,
    /// Each sync takes so much longer, ms.
    pub slow_ms: u64,
    /// Writes and syncs do not come back until this is off again.
    pub stalled: bool,
}

/// All orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Raised with each change.
    pub number: u64,
    /// The wall clock.
    pub clock: Clock,
    /// The disk.
    pub disk: Disk,
}

/// What was done, in all lives of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The last orders that were read.
    pub number: u64,
    /// Wrong readings of the wall clock that were handed out.
    pub wrong_times: u64,
    /// The last ordered failure of a sync that was injected.
    pub sync_error: u64,
    /// The last ordered failure of a write that was injected.
    pub write_error: u64,
    /// Questions for free space answered with none, and allocations refused.
    pub full: u64,
    /// Syncs that were slowed down.
    pub slow: u64,
    /// Calls that were held.
    pub stalled: u64,
}

/// The directory that both sides know.
#[derive(Clone, Debug)]
pub struct Desk(PathBuf);

impl Desk {
    /// In this directory.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Replaces the orders.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn order(&self, orders: &Orders) -> Result<()> {
        self.replace("orders", &serde_json::to_vec(orders)?)
    }

    /// The orders; none given where there is no file.
    #[must_use]
    pub fn orders(&self) -> Orders {
        self.read("orders").unwrap_or_default()
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.read("counts").unwrap_or_default()
    }

    pub(super) fn report(&self, counts: &Counts) -> Result<()> {
        self.replace("counts", &serde_json::to_vec(counts)?)
    }

    /// By rename, so that a reader finds the old file or the new one.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (new, path) = (self.0.join(format!("{name}.new")), self.0.join(name));
        fs::write(&new, bytes).with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("cannot replace {}", path.display()))
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.0.join(name)).ok()?).ok()
    }
}
