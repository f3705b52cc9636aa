//! One simulated file: its bytes as a reader sees them, and what of them is not yet durable.

use std::collections::BTreeMap;
use std::io::IoSlice;

use super::random::Random;

/// The unit in which a crash keeps or loses what was written.
pub const SECTOR_BYTES: usize = 512;

/// A change that no sync has covered, with what it takes to undo it.
#[derive(Debug)]
enum Pending {
    Write { offset: usize, old: Vec<u8>, new: Vec<u8>, old_len: usize },
    SetLen { old_tail: Vec<u8>, old_len: usize, new_len: usize },
}

#[derive(Debug, Default)]
pub(super) struct SimFile {
    pub(super) bytes: Vec<u8>,
    pending: Vec<Pending>,
    /// Sectors that a failed sync left readable but not on the disk, and clean, so that no later sync writes
    /// them: what the disk holds in their place, by sector number.
    phantoms: BTreeMap<usize, Vec<u8>>,
}

impl SimFile {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>], offset: usize, bytes_max: usize) -> usize {
        let mut new: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        new.truncate(bytes_max);
        let old_len = self.bytes.len();
        let end = offset.saturating_add(new.len());
        if end > old_len {
            self.bytes.resize(end, 0);
        }
        let old = self.take_old(offset, end);
        self.bytes[offset..end].copy_from_slice(&new);
        let written = new.len();
        self.pending.push(Pending::Write { offset, old, new, old_len });
        written
    }

    pub(super) fn set_len(&mut self, new_len: usize) {
        let old_len = self.bytes.len();
        let old_tail = if new_len < old_len { self.bytes[new_len..].to_vec() } else { Vec::new() };
        self.bytes.resize(new_len, 0);
        self.pending.push(Pending::SetLen { old_tail, old_len, new_len });
    }

    pub(super) fn sync(&mut self) {
        self.pending.clear();
    }

    /// A sync that fails as on Linux: what it should have written counts as clean from now on.
    pub(super) fn fail_sync(&mut self) {
        let seen = self.bytes.clone();
        for change in std::mem::take(&mut self.pending).iter().rev() {
            self.undo(change);
        }
        let mut durable = std::mem::replace(&mut self.bytes, seen);
        durable.resize(self.bytes.len(), 0);
        let sectors = durable.chunks(SECTOR_BYTES).zip(self.bytes.chunks(SECTOR_BYTES));
        for (sector, (durable, seen)) in sectors.enumerate() {
            if durable != seen {
                self.phantoms.entry(sector).or_insert_with(|| durable.to_vec());
            }
        }
    }

    /// What the disk holds, or would after a sync, where a write is about to go. Its sectors are dirty again.
    fn take_old(&mut self, offset: usize, end: usize) -> Vec<u8> {
        let mut old = self.bytes[offset..end].to_vec();
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let start = sector * SECTOR_BYTES;
            for (at, byte) in (start..).zip(self.phantoms.remove(&sector).unwrap_or_default()) {
                if (offset..end).contains(&at) {
                    old[at - offset] = byte;
                }
            }
        }
        old
    }

    pub(super) fn is_synced(&self) -> bool {
        self.pending.is_empty()
    }

    /// Power is lost: goes back to the durable bytes, then keeps of each pending change what `random` says:
    /// nothing, all, a prefix, or any set of sectors.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        for change in pending.iter().rev() {
            self.undo(change);
        }
        for change in pending {
            match change {
                Pending::SetLen { new_len, .. } if random.below(2) == 0 => self.bytes.resize(new_len, 0),
                Pending::SetLen { .. } => {}
                Pending::Write { offset, new, .. } => self.keep_some(offset, &new, random),
            }
        }
        for (sector, durable) in std::mem::take(&mut self.phantoms) {
            let start = sector * SECTOR_BYTES;
            let end = self.bytes.len().min(start + durable.len());
            if start < end {
                self.bytes[start..end].copy_from_slice(&durable[..end - start]);
            }
        }
    }

    fn undo(&mut self, change: &Pending) {
        match change {
            Pending::Write { offset, old, old_len, .. } => {
                self.bytes[*offset..offset + old.len()].copy_from_slice(old);
                self.bytes.truncate(*old_len);
            }
            Pending::SetLen { old_tail, old_len, new_len } => {
                self.bytes.truncate(*new_len);
                self.bytes.extend_from_slice(old_tail);
                self.bytes.resize(*old_len, 0);
            }
        }
    }

    fn keep_some(&mut self, offset: usize, new: &[u8], random: &mut Random) {
        let style = random.below(4);
        let kept_prefix = usize::try_from(random.below(new.len() as u64 + 1)).unwrap_or(0);
        let mut at = 0;
        while at < new.len() {
            let sector_end = (offset + at) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
            let end = new.len().min(sector_end - offset);
            let keep = match style {
                0 => false,
                1 => true,
                2 => end <= kept_prefix,
                _ => random.below(2) == 0,
            };
            if keep {
                if self.bytes.len() < offset + end {
                    self.bytes.resize(offset + end, 0);
                }
                self.bytes[offset + at..offset + end].copy_from_slice(&new[at..end]);
            }
            at = end;
        }
    }
}
