//! What a bad disk does to a log, and what only a forger could do.

use super::layout::Spot;
use super::workload::{BLOCK_BYTES, Workload, dir};
use crate::seen::Seen;
use crate::targets::script::Script;
use hapax_store::disk::{Disk, OpenMode, SimDisk};
use std::ops::Range;

/// The most damages of one input.
const DAMAGES_MAX: usize = 8;

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Damaged {
    /// A byte of the last write was hit, or its file.
    pub(super) last_write_hit: bool,
    /// Checksums were made to fit.
    pub(super) forged: bool,
}

/// Damages a log as the script says.
pub(super) fn damage(
    disk: &SimDisk,
    workload: &Workload,
    script: &mut Script<'_>,
    seen: &mut Seen,
) -> Damaged {
    let mut bad = BadDisk { disk, workload, done: Damaged::default() };
    for _ in 0..DAMAGES_MAX {
        if script.is_over() {
            break;
        }
        let kind = script.byte() % 12;
        seen.note(("damage", kind, bad.done.forged));
        bad.once(kind, script);
    }
    bad.done
}

struct BadDisk<'a> {
    disk: &'a SimDisk,
    workload: &'a Workload,
    done: Damaged,
}

impl BadDisk<'_> {
    fn once(&mut self, kind: u8, script: &mut Script<'_>) {
        match kind {
            0 | 1 => self.flip_near_spot(script),
            2 => {
                let (file, at) = self.anywhere(script);
                self.change(file, at..at + 1, |bytes| bytes[0] ^= script.byte() | 1);
            }
            3 => {
                let (file, at) = self.anywhere(script);
                let blocks = 1 + usize::from(script.byte() % 8);
                let start = at / BLOCK_BYTES * BLOCK_BYTES;
                self.change(file, start..start + blocks * BLOCK_BYTES, |bytes| bytes.fill(0));
            }
            4 => self.misdirect(script),
            5 => {
                let (file, at) = self.anywhere(script);
                self.cut(file, at);
            }
            6 => self.remove(script),
            7 => self.swap(script),
            _ => self.forge(kind, script),
        }
    }

    fn len(&self, file: usize) -> usize {
        self.disk.contents(&self.workload.segments[file]).map_or(0, |bytes| bytes.len())
    }

    fn file(&self, script: &mut Script<'_>) -> usize {
        usize::from(script.byte()) % self.workload.segments.len()
    }

    fn anywhere(&self, script: &mut Script<'_>) -> (usize, usize) {
        let file = self.file(script);
        (file, script.below(self.len(file)))
    }

    fn spot(&self, script: &mut Script<'_>) -> Spot {
        self.workload.spots[script.below(self.workload.spots.len())]
    }

    fn hit(&mut self, file: usize, range: &Range<usize>) {
        let last = self.workload.last_write..self.workload.last_write + BLOCK_BYTES;
        let is_last = file + 1 == self.workload.segments.len();
        self.done.last_write_hit |= is_last && range.start < last.end && last.start < range.end;
    }

    /// Changes a range, as far as it is there.
    fn change(&mut self, file: usize, range: Range<usize>, change: impl FnOnce(&mut [u8])) {
        self.hit(file, &range);
        self.disk.tamper(&self.workload.segments[file], |bytes| {
            let end = range.end.min(bytes.len());
            if range.start < end {
                change(&mut bytes[range.start..end]);
            }
        });
    }

    /// Flips bits of a header or its body: blind places mostly hit padding.
    fn flip_near_spot(&mut self, script: &mut Script<'_>) {
        let spot = self.spot(script);
        let at = spot.offset + script.below(spot.header_bytes() + spot.body_bytes);
        let mask = script.byte().max(1);
        // A body that is longer than the file was forged; there is nothing to flip.
        self.change(spot.file, at..at + 1, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= mask));
    }

    /// A write that went to another place: one block stands where another should.
    fn misdirect(&mut self, script: &mut Script<'_>) {
        let (from_file, from) = self.anywhere(script);
        let (to_file, to) = self.anywhere(script);
        let (from, to) = (from / BLOCK_BYTES * BLOCK_BYTES, to / BLOCK_BYTES * BLOCK_BYTES);
        let Some(source) = self.disk.contents(&self.workload.segments[from_file]) else { return };
        let Some(block) = source.get(from..from + BLOCK_BYTES) else { return };
        self.change(to_file, to..to + block.len(), |bytes| bytes.copy_from_slice(&block[..bytes.len()]));
    }

    fn cut(&mut self, file: usize, at: usize) {
        self.hit(file, &(at..usize::MAX));
        self.disk.tamper(&self.workload.segments[file], |bytes| bytes.truncate(at));
    }

    fn remove(&mut self, script: &mut Script<'_>) {
        let file = self.file(script);
        self.hit(file, &(0..usize::MAX));
        let _may_be_gone = self.disk.remove(&self.workload.segments[file]);
        self.disk.sync_dir(&dir()).unwrap();
    }

    /// Two files have each other's name.
    fn swap(&mut self, script: &mut Script<'_>) {
        let (a, b) = (self.file(script), self.file(script));
        let [path_a, path_b] = [a, b].map(|file| &self.workload.segments[file]);
        let (Some(bytes_a), Some(bytes_b)) = (self.disk.contents(path_a), self.disk.contents(path_b)) else {
            return;
        };
        self.hit(a, &(0..usize::MAX));
        self.hit(b, &(0..usize::MAX));
        self.disk.tamper(path_a, |bytes| *bytes = bytes_b);
        self.disk.tamper(path_b, |bytes| *bytes = bytes_a);
    }

    /// Changes a field and makes the checksums fit; or puts a whole file of the input's making there.
    fn forge(&mut self, kind: u8, script: &mut Script<'_>) {
        self.done.forged = true;
        if kind == 11 {
            return self.foreign_file(script);
        }
        let spot = self.spot(script);
        let at = 4 + script.below(spot.header_bytes() + spot.body_bytes.min(256) - 4);
        let value = if kind == 8 {
            vec![script.byte()]
        } else {
            script.number().to_le_bytes()[..usize::from(kind % 2) * 4 + 4].to_vec()
        };
        self.disk.tamper(&self.workload.segments[spot.file], |bytes| {
            let at = spot.offset + at;
            if let Some(field) = bytes.get_mut(at..at + value.len()) {
                field.copy_from_slice(&value);
            }
            if spot.offset + spot.header_bytes() <= bytes.len() {
                spot.seal(bytes);
            }
        });
    }

    fn foreign_file(&mut self, script: &mut Script<'_>) {
        let names = [
            "00000000000000000000.log",
            "ffffffffffffffff.log",
            "0000000000000001.free",
            "ffffffffffffffff.free",
            "0.log",
            ".log",
        ];
        let path = dir().join(names[usize::from(script.byte()) % names.len()]);
        let bytes: Vec<u8> = (0..script.byte()).map(|_| script.byte()).collect();
        let _may_be_there = self.disk.open(&path, OpenMode::CreateNew);
        self.disk.tamper(&path, |contents| *contents = bytes);
        self.disk.sync_dir(&dir()).unwrap();
    }
}
