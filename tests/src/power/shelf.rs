//! The disks as files that the kernel can make block devices of: a file system of this process
//! (FUSE) whose one folder holds one file a disk.
//!
//! Nothing of a file is cached between its disk and the block device (direct I/O), so the disk sees
//! each write and each flush of the file system above in their order. A flush that comes after the
//! end of the power fails, and so does a write; reads go on.

use super::disk::{LazyDisk, Loss, Taken};
use crate::rng::Rng;
use anyhow::{Context as _, Result};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, WriteFlags,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The folder.
const ROOT: u64 = 1;
/// The first inode after the folder's.
const FIRST: u64 = 2;

type Disks = Arc<Mutex<BTreeMap<u64, LazyDisk>>>;

/// The mounted folder; unmounted when this goes.
#[derive(Debug)]
pub struct Shelf {
    at: PathBuf,
    disks: Disks,
    next: u64,
    _session: BackgroundSession,
}

impl Shelf {
    /// Mounts an empty one.
    ///
    /// # Errors
    /// When this process may not.
    pub fn mount(at: &Path) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        let disks = Disks::default();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("hapax-power".to_owned())];
        let session = fuser::spawn_mount(Folder(Arc::clone(&disks)), at, &config)
            .with_context(|| format!("cannot mount {}", at.display()))?;
        Ok(Self { at: at.to_owned(), disks, next: FIRST, _session: session })
    }

    /// Puts a disk on it; returns its number.
    pub fn put(&mut self, disk: LazyDisk) -> u64 {
        let number = self.next;
        self.next += 1;
        self.disks.lock().insert(number, disk);
        number
    }

    /// The file of a disk.
    #[must_use]
    pub fn file(&self, disk: u64) -> PathBuf {
        self.at.join(disk.to_string())
    }

    /// Takes a disk away.
    pub fn remove(&self, disk: u64) -> Option<LazyDisk> {
        self.disks.lock().remove(&disk)
    }

    /// Cuts the power of these disks at one moment, at which one of them at least has pages that it has not flushed; gives
    /// each as the next start finds it. None, and nothing is cut, while all are flushed.
    pub fn cut(&self, which: &[u64], loss: Loss, dice: &mut Rng) -> Option<Vec<(LazyDisk, Taken)>> {
        let mut disks = self.disks.lock();
        let is_busy = which.iter().any(|disk| disks.get(disk).is_some_and(LazyDisk::has_unflushed));
        is_busy.then(|| which.iter().filter_map(|disk| Some(disks.get_mut(disk)?.cut(loss, dice))).collect())
    }
}

struct Folder(Disks);

impl Folder {
    fn attributes(&self, inode: u64) -> Option<FileAttr> {
        let size = match inode {
            ROOT => 0,
            disk => self.0.lock().get(&disk)?.len(),
        };
        let is_folder = inode == ROOT;
        let size = u64::try_from(size).ok()?;
        Some(FileAttr {
            ino: INodeNo(inode),
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_folder { FileType::Directory } else { FileType::RegularFile },
            perm: if is_folder { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// Works on a disk; a disk without power, or a place that no file has, is an error.
    fn with<T>(&self, inode: INodeNo, work: impl FnOnce(&mut LazyDisk) -> Option<T>) -> Result<T, Errno> {
        let mut disks = self.0.lock();
        let disk = disks.get_mut(&inode.0).ok_or(Errno::ENOENT)?;
        work(disk).ok_or(Errno::EIO)
    }
}

impl Filesystem for Folder {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = name.to_str().and_then(|name| name.parse().ok()).filter(|disk| *disk >= FIRST);
        match found.and_then(|disk| self.attributes(disk)) {
            Some(attributes) => reply.entry(&Duration::ZERO, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode.0) {
            Some(attributes) => reply.attr(&Duration::ZERO, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let place = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
        match self.with(inode, |disk| place.map(|(offset, size)| disk.read(offset, size))) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.with(inode, |disk| {
            let written = disk.write(usize::try_from(offset).ok()?, bytes).ok()?;
            u32::try_from(written).ok()
        });
        match written {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.with(inode, |disk| disk.flush().ok()) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Called at each close; no more than that.
        reply.ok();
    }
}
