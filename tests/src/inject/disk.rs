//! The real disk with the ordered faults in front. The engine of the records opens its own files and does
//! not come through here: what is hit is the log, the marks, the layout and the identity. The file of the clocks
//! is spared the errors, after which a node that lost nothing but that goes on: it would take them from the others.

use super::faults::Faults;
use hapax_store::disk::{Disk, DiskFile, DiskLock, OpenMode};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct FaultyDisk {
    real: Arc<dyn Disk>,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct FaultyFile {
    real: Arc<dyn DiskFile>,
    is_spared: bool,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    pub(super) fn new(real: Arc<dyn Disk>, faults: Arc<Faults>) -> Self {
        Self { real, faults }
    }
}

impl Faults {
    /// Whether the disk is ordered to be full; counted.
    fn is_full(&self) -> bool {
        self.with(|state| {
            let full = state.orders.disk.full;
            state.counts.full += u64::from(full);
            full
        })
    }

    fn fail_sync(&self) -> io::Result<()> {
        let failed = self.with_reported(|state| {
            let ordered = state.orders.disk.sync_error;
            let fails = ordered > state.counts.sync_error;
            state.counts.sync_error = state.counts.sync_error.max(ordered);
            fails
        });
        if failed { Err(eio()) } else { Ok(()) }
    }

    fn fail_write(&self) -> io::Result<()> {
        let failed = self.with_reported(|state| {
            let ordered = state.orders.disk.write_error;
            let fails = ordered > state.counts.write_error;
            state.counts.write_error = state.counts.write_error.max(ordered);
            fails
        });
        if failed { Err(eio()) } else { Ok(()) }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

impl FaultyDisk {
    fn faulty(&self, path: &Path, real: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let is_spared = path.file_stem().is_some_and(|name| name == "clocks");
        Arc::new(FaultyFile { real, is_spared, faults: Arc::clone(&self.faults) })
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.faulty(path, self.real.open(path, mode)?))
    }

    fn open_blocks(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.faulty(path, self.real.open_blocks(path, mode)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.real.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.real.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.real.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if self.faults.is_full() { Ok(0) } else { self.real.free_bytes(dir) }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.real.lock(path)
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.real.read_at(buf, offset)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.faults.hold(false);
        if !self.is_spared {
            self.faults.fail_write()?;
        }
        self.real.write_at(slices, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.real.set_len(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        if self.faults.is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.real.preallocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.hold(true);
        if !self.is_spared {
            self.faults.fail_sync()?;
        }
        self.real.sync_data()
    }
}
