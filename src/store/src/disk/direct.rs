//! Writes past the page cache, for files that are written in whole blocks and synced at once.
//!
//! Contract: a write through here leaves the file as one through the page cache would, and needs the same sync to be
//! durable. What cannot go this way (a range that is not of whole blocks, a file system that refuses) is left to the
//! page cache; the kernel keeps the two ways, and reads, in agreement.
//!
//! Through the page cache a write is copied into pages that are made for it, which the sync then looks for, marks and
//! hands to the disk; the pages stay, and push out what somebody may read. Here the disk takes the bytes from a buffer
//! that is used again and again.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;

/// Offsets, lengths and the buffer's address are multiples of this. Disks ask for 512 or 4096; one that asks for more
/// refuses.
const BLOCK_BYTES: usize = 4096;

/// A buffer that a large write left behind is not kept.
const KEPT_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A file, opened for such writes.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    /// The file system took the flag but not a write.
    refuses: AtomicBool,
}

impl DirectFile {
    /// None where the file system cannot.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let flags = i32::try_from(OFlags::DIRECT.bits()).ok()?;
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path).ok()?;
        Some(Self { file, refuses: AtomicBool::new(false) })
    }

    /// Writes as [`super::DiskFile::write_at`] does; none where that has to go through the page cache.
    pub(super) fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> Option<io::Result<usize>> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let is_whole =
            len > 0 && len.is_multiple_of(BLOCK_BYTES) && offset.is_multiple_of(BLOCK_BYTES as u64);
        if !is_whole || self.refuses.load(Ordering::Relaxed) {
            return None;
        }
        let written = BUFFER.with_borrow_mut(|buffer| {
            let aligned = aligned(buffer, slices, len);
            let written = self.write_aligned(aligned, offset);
            if buffer.capacity() > KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
            written
        });
        match written {
            Err(rustix::io::Errno::INVAL) => {
                self.refuses.store(true, Ordering::Relaxed);
                None
            }
            written => Some(written.map_err(io::Error::from)),
        }
    }

    fn write_aligned(&self, bytes: &[u8], offset: u64) -> Result<usize, rustix::io::Errno> {
        loop {
            match rustix::io::pwrite(&self.file, bytes, offset) {
                Err(rustix::io::Errno::INTR) => {}
                written => return written,
            }
        }
    }
}

/// The bytes of the slices, `len` altogether, where a disk can take them from.
fn aligned<'a>(buffer: &'a mut Vec<u8>, slices: &[IoSlice<'_>], len: usize) -> &'a [u8] {
    if buffer.len() < len + BLOCK_BYTES {
        buffer.resize(len + BLOCK_BYTES, 0);
    }
    let start = buffer.as_ptr().align_offset(BLOCK_BYTES);
    let mut rest = &mut buffer[start..start + len];
    for slice in slices {
        let (taken, after) = rest.split_at_mut(slice.len());
        taken.copy_from_slice(slice);
        rest = after;
    }
    &buffer[start..start + len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn slices_are_gathered_where_a_disk_can_take_them_from() {
        let mut buffer = Vec::new();
        let slices = [IoSlice::new(&[1; 1000]), IoSlice::new(&[]), IoSlice::new(&[2; 3096])];
        let bytes = aligned(&mut buffer, &slices, 4096);
        assert!(bytes.as_ptr().addr().is_multiple_of(BLOCK_BYTES));
        assert_eq!(bytes, [vec![1; 1000], vec![2; 3096]].concat());
    }

    #[test]
    fn both_ways_leave_the_same_bytes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let buffered = OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("made");
        buffered.set_len(64 << 10).expect("lengthened");
        // The page is in the cache before it is written past it.
        buffered.write_all_at(&[9; 20_000], 0).expect("written");
        let Some(direct) = DirectFile::open(&path) else { return };
        let slices = [IoSlice::new(&[1; 5000]), IoSlice::new(&[2; 3192])];
        if let Some(written) = direct.write_at(&slices, 4096) {
            assert_eq!(written.expect("written"), 8192);
        } else {
            buffered.write_all_at(&[vec![1; 5000], vec![2; 3192]].concat(), 4096).expect("written");
        }
        let mut bytes = vec![0; 20_000];
        buffered.read_exact_at(&mut bytes, 0).expect("read");
        let expected = [vec![9; 4096], vec![1; 5000], vec![2; 3192], vec![9; 20_000 - 12_288]].concat();
        assert!(bytes == expected, "what was written past the cache is read through it");
    }

    #[test]
    fn what_is_not_of_whole_blocks_is_left_to_the_cache() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        File::create(&path).expect("made");
        let Some(direct) = DirectFile::open(&path) else { return };
        assert!(direct.write_at(&[IoSlice::new(&[1; 4095])], 0).is_none());
        assert!(direct.write_at(&[IoSlice::new(&[1; 4096])], 512).is_none());
        assert!(direct.write_at(&[], 0).is_none());
    }
}
