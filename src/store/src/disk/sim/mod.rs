//! A disk in memory that fails on command.
//!
//! Contract: it keeps apart what was synced from what was not, bytes and names alike. [`SimDisk::crash`] is a
//! loss of power: unsynced writes are lost, kept or torn by sector, unsynced names are lost from some point on,
//! all decided by the seed; handles opened before are dead, as the process that held them is. Faults are armed
//! by count, so that a test can go through every call of a workload. Clones share one disk.

mod file;
mod names;
mod random;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub use file::SECTOR_BYTES;
use file::SimFile;
use names::{Names, parent};
use random::Random;

use super::{Disk, DiskFile, DiskLock, OpenMode};

/// A kind of call that changes the disk, for counting and for faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// `write_at`.
    Write,
    /// `sync_data`.
    Sync,
    /// `set_len` and `preallocate`.
    SetLen,
    /// `open` that creates.
    Create,
    /// `rename`.
    Rename,
    /// `remove`.
    Remove,
    /// `sync_dir`.
    SyncDir,
}

type StallHook = Arc<dyn Fn(DiskOp) + Send + Sync>;

#[derive(Default)]
struct State {
    names: Names,
    files: BTreeMap<u64, SimFile>,
    next_file: u64,
    locked: BTreeMap<PathBuf, u64>,
    /// Raised by each crash: handles of an earlier life are dead.
    life: u64,
    ops: u64,
    power_off_at: Option<u64>,
    powered_off: bool,
    /// Calls of this kind that still pass, then the error that the next one gets.
    fault: Option<(DiskOp, u64, io::ErrorKind)>,
    write_bytes_max: Option<usize>,
    capacity_bytes: Option<u64>,
    /// Calls that an armed fault or the capacity failed.
    refused: u64,
    stall: Option<StallHook>,
}

/// The simulated disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

fn lost_power() -> io::Error {
    io::Error::other("simulated loss of power")
}

impl SimDisk {
    /// An empty disk without faults or bounds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many changing calls were made so far, failed ones included.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.state.lock().ops
    }

    /// Whether the power has gone and not come back.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state.lock().powered_off
    }

    /// The lengths of all files that have a name, together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state.lock().used_bytes(None)
    }

    /// How many calls an armed fault or the capacity has failed so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.state.lock().refused
    }

    /// Cuts the power at the changing call number `op` (counted from 0 over the disk's whole life): that call
    /// and all later ones fail. A write that it hits may still reach the disk, in part, at the crash.
    pub fn power_off_at(&self, op: u64) {
        self.state.lock().power_off_at = Some(op);
    }

    /// Loses power and comes back: what was not synced is kept, lost or torn as `seed` decides, armed faults
    /// are disarmed, locks are free, old handles dead.
    pub fn crash(&self, seed: u64) {
        let mut random = Random::new(seed);
        let mut state = self.state.lock();
        state.names.crash(&mut random);
        state.files.values_mut().for_each(|file| file.crash(&mut random));
        state.life += 1;
        state.power_off_at = None;
        state.powered_off = false;
        state.fault = None;
        state.locked.clear();
    }

    /// Takes back every fault that is armed and has not struck, and the bound on the capacity.
    pub fn disarm(&self) {
        let mut state = self.state.lock();
        state.fault = None;
        state.power_off_at = None;
        state.capacity_bytes = None;
    }

    /// After `passes` more calls of kind `op`, fails the next one (only that one) with `error`. A sync that fails
    /// so leaves its bytes readable, clean and not on the disk, as Linux does: only writing them again helps.
    pub fn fail_after(&self, op: DiskOp, passes: u64, error: io::ErrorKind) {
        self.state.lock().fault = Some((op, passes, error));
    }

    /// Lets each write take at most so many bytes; `None` lifts the bound.
    pub fn limit_writes(&self, bytes_max: Option<usize>) {
        self.state.lock().write_bytes_max = bytes_max;
    }

    /// Bounds the sum of all file lengths; beyond it, lengthening fails with `StorageFull`.
    pub fn limit_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Calls `hook` before each changing call, with no lock held, so that a test can hold a call up.
    pub fn stall_with(&self, hook: impl Fn(DiskOp) + Send + Sync + 'static) {
        self.state.lock().stall = Some(Arc::new(hook));
    }

    /// The bytes of a file as a reader sees them.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let file = state.names.get(path)?;
        state.files.get(&file).map(|file| file.bytes.clone())
    }

    /// Changes the stored bytes of a file behind everybody's back, as a bad disk does. Says whether it exists.
    pub fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state.lock();
        let Some(file) = state.names.get(path) else { return false };
        match state.files.get_mut(&file) {
            Some(file) => {
                file.sync();
                change(&mut file.bytes);
                true
            }
            None => false,
        }
    }

    /// Whether no byte of the file waits for a sync.
    #[must_use]
    pub fn is_synced(&self, path: &Path) -> bool {
        let state = self.state.lock();
        state.names.get(path).and_then(|file| state.files.get(&file)).is_some_and(SimFile::is_synced)
    }

    /// An independent copy of the disk as a reader sees it, all of it durable, with no faults armed.
    #[must_use]
    pub fn fork(&self) -> Self {
        let copy = Self::new();
        let state = self.state.lock();
        let mut copied = copy.state.lock();
        state.names.clone_durable_into(&mut copied.names);
        let files = state.files.iter().map(|(id, file)| (*id, SimFile::durable(file.bytes.clone())));
        copied.files = files.collect();
        copied.next_file = state.next_file;
        drop(copied);
        copy
    }

    /// Counts a changing call and takes the faults that are due.
    /// A write that power fails on is let through: its bytes may or may not outlive the crash.
    fn begin(&self, op: DiskOp, life: Option<u64>) -> io::Result<()> {
        let stall = self.state.lock().stall.clone();
        if let Some(stall) = stall {
            stall(op);
        }
        let mut state = self.state.lock();
        state.check_power(life)?;
        let number = state.ops;
        state.ops += 1;
        if state.power_off_at.is_some_and(|at| number >= at) {
            state.powered_off = true;
        }
        match &mut state.fault {
            Some((kind, passes, _)) if *kind == op && *passes > 0 => *passes -= 1,
            Some((kind, _, error)) if *kind == op => {
                let error = *error;
                state.fault = None;
                state.refused += 1;
                return Err(error.into());
            }
            _ => {}
        }
        if state.powered_off && op != DiskOp::Write {
            return Err(lost_power());
        }
        Ok(())
    }
}

impl State {
    fn check_power(&self, life: Option<u64>) -> io::Result<()> {
        if self.powered_off || life.is_some_and(|life| life != self.life) {
            return Err(lost_power());
        }
        Ok(())
    }

    fn check_room(&mut self, file: u64, new_len: usize) -> io::Result<()> {
        let Some(capacity) = self.capacity_bytes else { return Ok(()) };
        if self.used_bytes(Some(file)).saturating_add(new_len as u64) > capacity {
            self.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// The lengths of all files that have a name, but for one.
    fn used_bytes(&self, except: Option<u64>) -> u64 {
        let ids = self.names.ids().filter(|id| Some(*id) != except);
        ids.filter_map(|id| self.files.get(&id)).map(|file| file.bytes.len() as u64).sum()
    }

    fn file_mut(&mut self, id: u64) -> io::Result<&mut SimFile> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let create = mode == OpenMode::CreateNew;
        if create {
            self.begin(DiskOp::Create, None)?;
        }
        let mut state = self.state.lock();
        state.check_power(None)?;
        let id = match state.names.get(path) {
            Some(_) if create => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(id) => id,
            None if create && state.names.has_dir(parent(path)) => {
                let id = state.next_file;
                state.next_file += 1;
                state.files.insert(id, SimFile::default());
                state.names.create(path, id);
                id
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let life = state.life;
        Ok(Arc::new(SimHandle { disk: self.clone(), id, life, writable: mode != OpenMode::Read }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(DiskOp::Rename, None)?;
        let renamed = self.state.lock().names.rename(from, to);
        if renamed { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.begin(DiskOp::Remove, None)?;
        let removed = self.state.lock().names.remove(path);
        if removed { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.check_power(None)?;
        if state.names.has_dir(dir) { Ok(state.names.list(dir)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.begin(DiskOp::Create, None)?;
        self.state.lock().names.create_dir(dir);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.begin(DiskOp::SyncDir, None)?;
        self.state.lock().names.sync(dir);
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.check_power(None)?;
        let used = state.used_bytes(None);
        Ok(state.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(used)))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state.lock();
        state.check_power(None)?;
        if state.locked.contains_key(path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let life = state.life;
        state.locked.insert(path.to_owned(), life);
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned(), life }))
    }
}

#[derive(Debug)]
struct SimHandle {
    disk: SimDisk,
    id: u64,
    life: u64,
    writable: bool,
}

fn to_usize(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl SimHandle {
    fn resize(&self, len: u64, shrink: bool) -> io::Result<()> {
        self.disk.begin(DiskOp::SetLen, Some(self.life))?;
        let len = to_usize(len)?;
        let mut state = self.disk.state.lock();
        state.check_room(self.id, len)?;
        let file = state.file_mut(self.id)?;
        if shrink || file.bytes.len() < len {
            file.set_len(len);
        }
        Ok(())
    }
}

impl DiskFile for SimHandle {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state.lock();
        state.check_power(Some(self.life))?;
        Ok(state.file_mut(self.id)?.bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state.lock();
        state.check_power(Some(self.life))?;
        let bytes = &state.file_mut(self.id)?.bytes;
        let start = to_usize(offset)?.min(bytes.len());
        let read = buf.len().min(bytes.len() - start);
        buf[..read].copy_from_slice(&bytes[start..start + read]);
        Ok(read)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.begin(DiskOp::Write, Some(self.life))?;
        let offset = to_usize(offset)?;
        let mut state = self.disk.state.lock();
        let asked: usize = slices.iter().map(|slice| slice.len()).sum();
        let bytes_max = state.write_bytes_max.unwrap_or(usize::MAX);
        let len = state.file_mut(self.id)?.bytes.len();
        state.check_room(self.id, len.max(offset.saturating_add(asked.min(bytes_max))))?;
        let written = state.file_mut(self.id)?.write(slices, offset, bytes_max);
        if state.powered_off { Err(lost_power()) } else { Ok(written) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(len, true)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.resize(len, false)
    }

    fn sync_data(&self) -> io::Result<()> {
        let begun = self.disk.begin(DiskOp::Sync, Some(self.life));
        let mut state = self.disk.state.lock();
        if begun.is_err() && !state.powered_off && state.life == self.life {
            state.file_mut(self.id)?.fail_sync();
        }
        begun?;
        state.file_mut(self.id)?.sync();
        Ok(())
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life == self.life {
            state.locked.remove(&self.path);
        }
    }
}
