//! A disk with a volatile cache, in memory: what was written is read back at once, and is kept over a
//! power cut for certain only if a flush came after it.
//!
//! Contract: [`LazyDisk::cut`] gives the disk as the next start finds it and kills this one, both at
//! one moment under the caller's lock: no flush succeeds afterwards. Of the pages written since the
//! last flush each is kept, dropped, or torn between two sectors, as the dice fall.

use crate::rng::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The unit in which writes are kept, dropped or torn.
pub const PAGE: usize = 4096;
/// What a disk writes as a whole.
const SECTOR: usize = 512;

type Page = Option<Arc<[u8; PAGE]>>;

/// Every write or flush of a disk without power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPower;

/// What becomes of the pages written since the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All are dropped.
    All,
    /// None is: the cache was written out in time.
    None,
    /// Each is dropped with this chance in 256; one of eight of those is torn instead.
    Some(u8),
}

/// The disk.
#[derive(Clone, Debug)]
pub struct LazyDisk {
    pages: Vec<Page>,
    /// What the pages written since the last flush were at that flush.
    before: BTreeMap<usize, Page>,
    /// Every so many flushes one is obeyed; the others are only said to be.
    obeys_every: u64,
    flushes: u64,
    writes: u64,
    has_power: bool,
}

/// What one cut took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Pages written since the last flush.
    pub unflushed: u64,
    /// Those that the next start finds as they were at that flush.
    pub dropped: u64,
    /// Those of which it finds a part.
    pub torn: u64,
}

impl LazyDisk {
    /// A disk with this content; it obeys every flush.
    #[must_use]
    pub fn new(content: &[u8]) -> Self {
        let page = |chunk: &[u8]| {
            let mut page = [0; PAGE];
            page[..chunk.len()].copy_from_slice(chunk);
            (page != [0; PAGE]).then(|| Arc::new(page))
        };
        let pages = content.chunks(PAGE).map(page).collect();
        Self { pages, before: BTreeMap::new(), obeys_every: 1, flushes: 0, writes: 0, has_power: true }
    }

    /// A disk that lies: of so many flushes it obeys one.
    #[must_use]
    pub fn obeying_every(self, flushes: u64) -> Self {
        Self { obeys_every: flushes.max(1), ..self }
    }

    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// Whether it has no room at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Writes since it was made.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Flushes since it was made.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Whether pages were written since the last flush.
    #[must_use]
    pub fn has_unflushed(&self) -> bool {
        !self.before.is_empty()
    }

    /// Up to `length` bytes from `offset`, the newest ones.
    #[must_use]
    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let end = offset.saturating_add(length).min(self.len());
        let mut bytes = Vec::with_capacity(end.saturating_sub(offset));
        let mut at = offset;
        while at < end {
            let (page, from) = (at / PAGE, at % PAGE);
            let to = PAGE.min(from + end - at);
            match &self.pages[page] {
                Some(page) => bytes.extend_from_slice(&page[from..to]),
                None => bytes.resize(bytes.len() + to - from, 0),
            }
            at += to - from;
        }
        bytes
    }

    /// Writes; the bytes may be lost until the next flush.
    ///
    /// # Errors
    /// When there is no power any more. What does not fit is left out.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<usize, NoPower> {
        if !self.has_power {
            return Err(NoPower);
        }
        let end = offset.saturating_add(bytes.len()).min(self.len());
        let mut at = offset;
        while at < end {
            let (index, from) = (at / PAGE, at % PAGE);
            let to = PAGE.min(from + end - at);
            let page = &mut self.pages[index];
            self.before.entry(index).or_insert_with(|| page.clone());
            let page = Arc::make_mut(page.get_or_insert_with(|| Arc::new([0; PAGE])));
            page[from..to].copy_from_slice(&bytes[at - offset..at - offset + to - from]);
            at += to - from;
        }
        self.writes += 1;
        Ok(end.saturating_sub(offset))
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// When there is no power any more.
    pub fn flush(&mut self) -> Result<(), NoPower> {
        if !self.has_power {
            return Err(NoPower);
        }
        self.flushes += 1;
        if self.flushes.is_multiple_of(self.obeys_every) {
            self.before.clear();
        }
        Ok(())
    }

    /// Ends the power, and gives the disk as the next start finds it.
    pub fn cut(&mut self, loss: Loss, dice: &mut Rng) -> (Self, Taken) {
        self.has_power = false;
        let mut next =
            Self { before: BTreeMap::new(), has_power: true, writes: 0, flushes: 0, ..self.clone() };
        let mut taken = Taken::default();
        for (index, before) in &self.before {
            taken.unflushed += 1;
            let is_dropped = match loss {
                Loss::All => true,
                Loss::None => false,
                Loss::Some(chance) => dice.below(256) < u64::from(chance),
            };
            if !is_dropped {
                continue;
            }
            let is_torn = matches!(loss, Loss::Some(_)) && dice.below(8) == 0;
            if is_torn {
                tear(&mut next.pages[*index], before, dice);
                taken.torn += 1;
            } else {
                next.pages[*index].clone_from(before);
                taken.dropped += 1;
            }
        }
        (next, taken)
    }
}

/// Puts the old bytes back from a sector on.
fn tear(page: &mut Page, before: &Page, dice: &mut Rng) {
    let whole = dice.index(PAGE / SECTOR - 1) + 1;
    let old = before.as_deref().copied().unwrap_or([0; PAGE]);
    let page = Arc::make_mut(page.get_or_insert_with(|| Arc::new([0; PAGE])));
    page[whole * SECTOR..].copy_from_slice(&old[whole * SECTOR..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> LazyDisk {
        LazyDisk::new(&[7; 4 * PAGE])
    }

    #[test]
    fn what_was_written_is_read_back_over_page_borders() {
        let mut disk = disk();
        assert_eq!(disk.write(PAGE - 3, b"across"), Ok(6));
        assert_eq!(disk.read(PAGE - 4, 8), b"\x07across\x07");
        assert_eq!(disk.read(4 * PAGE - 2, 10).len(), 2, "nothing is read past the end");
        assert_eq!(disk.write(4 * PAGE - 2, b"four"), Ok(2), "nor written");
    }

    #[test]
    fn a_cut_drops_what_no_flush_followed_and_nothing_else() {
        let (mut disk, mut dice) = (disk(), Rng::new(1));
        disk.write(0, b"kept").unwrap();
        disk.flush().unwrap();
        assert!(!disk.has_unflushed());
        disk.write(PAGE, b"lost").unwrap();
        disk.write(0, b"LOST").unwrap();
        assert!(disk.has_unflushed());
        let (next, taken) = disk.cut(Loss::All, &mut dice);
        assert_eq!(taken, Taken { unflushed: 2, dropped: 2, torn: 0 });
        assert_eq!(next.read(0, 4), b"kept");
        assert_eq!(next.read(PAGE, 4), [7; 4]);
        assert_eq!((disk.write(0, b"x"), disk.flush()), (Err(NoPower), Err(NoPower)));
    }

    #[test]
    fn a_cut_may_also_keep_all_or_tear_a_page_between_sectors() {
        let mut dice = Rng::new(2);
        let written = || {
            let mut disk = disk();
            disk.write(0, &[9; PAGE]).unwrap();
            disk
        };
        assert_eq!(written().cut(Loss::None, &mut dice).0.read(0, PAGE), [9; PAGE]);
        let mut torn = 0;
        for _ in 0..200 {
            let (next, taken) = written().cut(Loss::Some(255), &mut dice);
            let kept = next.read(0, PAGE).iter().filter(|byte| **byte == 9).count();
            assert_eq!(kept % SECTOR, 0);
            assert_eq!(taken.torn == 1, kept != 0 && kept != PAGE);
            torn += taken.torn;
        }
        assert!(torn > 5, "only {torn} of 200 were torn");
    }

    #[test]
    fn a_disk_that_lies_loses_what_it_said_was_flushed() {
        let mut disk = disk().obeying_every(2);
        disk.write(0, b"lost").unwrap();
        disk.flush().unwrap();
        assert_eq!(disk.clone().cut(Loss::All, &mut Rng::new(3)).0.read(0, 4), [7; 4]);
        disk.flush().unwrap();
        assert_eq!(disk.cut(Loss::All, &mut Rng::new(3)).0.read(0, 4), b"lost");
    }
}
