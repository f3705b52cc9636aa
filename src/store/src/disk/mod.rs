//! The seam through which every file of a node is touched.
//!
//! Contract: what [`DiskFile::sync_data`] has returned for survives the loss of power; so do names after
//! [`Disk::sync_dir`]. Anything else may be lost, kept or torn at 512-byte blocks. A failed sync tells nothing
//! about what is on the disk and is never retried. The traits are small so that a simulator can own the disk:
//! [`SimDisk`] injects faults and crashes in memory, [`RealDisk`] is the file system.

mod direct;
mod real;
mod sim;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub use real::RealDisk;
pub use sim::{DiskOp, SECTOR_BYTES, SimDisk};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A new file, for reading and writing; fails with `AlreadyExists` if the name is taken.
    CreateNew,
}

/// Names, directories and space. Every path is absolute or relative to the process, never followed further.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens or creates a file. A created name is durable only after [`Disk::sync_dir`] of its directory.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists` by the mode, or what the file system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// The same for a file that is mostly written, in whole blocks: past the page cache, where the file system can.
    ///
    /// # Errors
    /// As for [`Disk::open`].
    fn open_blocks(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, mode)
    }

    /// Renames within one directory, replacing `to` if it exists. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `NotFound`, or what the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Handles that are open on it keep reading it. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `NotFound`, or what the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of the files and directories in a directory, sorted.
    ///
    /// # Errors
    /// `NotFound`, or what the file system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory and its missing parents; an existing one is fine. Durable after [`Disk::sync_dir`]
    /// of its parent.
    ///
    /// # Errors
    /// What the file system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the file system says; as after a failed sync of a file, nothing is known about the names then.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that an unprivileged process may still write on the file system of `dir`.
    ///
    /// # Errors
    /// What the file system says.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Takes the exclusive lock file at `path`, creating it. The lock ends when the guard is dropped or the
    /// process dies, however it dies.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// An open file. All calls may run at the same time from many threads.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// The length in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `buf.len()` bytes from `offset` and says how many; 0 at or past the end.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the slices one after another from `offset` and says how many bytes were taken: maybe fewer than
    /// all, as with any write.
    ///
    /// # Errors
    /// What the file system says; some bytes may have been written.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// What the file system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Lengthens the file to `len` zeros with the space for them reserved, where the file system can.
    ///
    /// # Errors
    /// `StorageFull` if the space is not there.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Makes the bytes, and the length needed to read them back, durable.
    ///
    /// # Errors
    /// What the file system says. Never call it again to "retry": the pages may be marked clean although they
    /// never reached the disk.
    fn sync_data(&self) -> io::Result<()>;
}

/// Holds an exclusive lock until it is dropped.
pub trait DiskLock: Send + Sync + fmt::Debug {}

/// Slices handed to one `write_at`: the bound of Linux on one vectored write.
const SLICES_PER_WRITE_MAX: usize = 1024;

/// Writes all slices from `offset`, going on after short writes.
///
/// # Errors
/// What the disk says, or `WriteZero` if it takes nothing.
pub fn write_all_at(file: &dyn DiskFile, slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    let mut rest = slices;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let window = &rest[..rest.len().min(SLICES_PER_WRITE_MAX)];
        let written = file.write_at(window, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset = offset.saturating_add(written as u64);
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Reads from `offset` until `buf` is full or the file ends, and says how many bytes were read.
///
/// # Errors
/// What the disk says.
pub fn read_up_to(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Reads a whole small file, at most `bytes_max` of it.
///
/// # Errors
/// What the disk says, or `FileTooLarge` if there is more.
pub fn read_file(disk: &dyn Disk, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if len > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; len];
    let read = read_up_to(file.as_ref(), &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Replaces a small file so that a crash leaves the old or the new one, whole: a temporary name, its sync, the
/// rename, the sync of the directory. `path` must have a parent and a file name.
///
/// # Errors
/// What the disk says; `InvalidInput` for a path without a parent or a name.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut temporary = name.to_os_string();
    temporary.push(".new");
    let temporary = dir.join(temporary);
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&temporary, OpenMode::CreateNew)?;
    write_all_at(file.as_ref(), &mut [IoSlice::new(bytes)], 0)?;
    file.sync_data()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(dir)
}
