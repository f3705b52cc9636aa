//! Tells a store that takes the process with it whenever it is opened.
//!
//! An engine that believes a damaged length asks for more memory than there is, and that aborts the process: no
//! error can be caught. So the attempts to open are counted in a file, which goes away when one succeeds; after
//! [`ATTEMPTS_MAX`] in a row that came to no end the store is damaged. (Kills while opening count too. They would
//! have to hit the few milliseconds that opening takes so many times in a row.)

use super::error::StoreError;
use crate::codec;
use crate::disk::{Disk, read_file, replace_file};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Attempts in a row that may come to no end.
const ATTEMPTS_MAX: u64 = 5;

/// What the file's checksum is seeded with.
const PLACE: &[u8] = b"attempts";

/// The counter of one store.
pub(super) struct Attempts<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(disk: &'a dyn Disk, dir: &Path) -> Self {
        Self { disk, path: dir.join("opening") }
    }

    /// Counts an attempt before it is made.
    pub(super) fn begin(&self) -> Result<(), StoreError> {
        let earlier = match read_file(self.disk, &self.path, 64) {
            // A counter that cannot be read back is no reason to distrust the store.
            Ok(bytes) => codec::decode_number(&bytes, PLACE, "the attempts").unwrap_or(0),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(StoreError::io("read the attempts", error)),
        };
        if earlier >= ATTEMPTS_MAX {
            return Err(StoreError::damaged(
                "the engine",
                "opening it came to no end too many times in a row",
            ));
        }
        replace_file(self.disk, &self.path, &codec::encode_number(earlier + 1, PLACE))
            .map_err(|error| StoreError::io("write the attempts", error))
    }

    /// Forgets them: this one succeeded, or failed in an orderly way. Need not be durable.
    pub(super) fn end(&self) -> Result<(), StoreError> {
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::io("remove the attempts", error))
            }
            _ => Ok(()),
        }
    }
}
