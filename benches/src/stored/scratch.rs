//! Where a run keeps its files.

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// What the kernel calls file systems that are in memory: `tmpfs` and `ramfs`.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// A new directory below the system's temporary one (`TMPDIR`); it goes when it is dropped.
///
/// # Errors
/// It cannot be made, or would be in memory, where a sync tells nothing (but for tests, which measure nothing).
pub fn dir() -> Result<TempDir> {
    let base = std::env::temp_dir();
    let kind = rustix::fs::statfs(&base).context("cannot look at the temporary directory")?.f_type;
    ensure!(
        cfg!(test) || !IN_MEMORY.contains(&kind),
        "{} is in memory: set TMPDIR to a directory on a disk",
        base.display()
    );
    let made = tempfile::Builder::new().prefix("hapax-bench-").tempdir_in(base);
    made.context("cannot make a temporary directory")
}
