//! Copies what still matters in the oldest segment into the newest, so that the oldest can be reused.
//!
//! Contract: a copy is made only of what a group's callers still see and what is already on disk, and stands
//! in its write before anything queued. The pace is that of the foreground: at most as many bytes as are queued
//! (but always something), so that copying at most doubles a write. Where most of the log is live, copying
//! would gain nothing, and the log grows instead.

use std::ops::Bound;
use std::sync::Arc;

use super::batch::Records;
use super::format::{Judged, RECORD_HEADER_BYTES};
use super::group::{Group, Written};
use super::shared::{ReadBack, Shared};
use super::types::{GroupId, LogPosition};

/// At least so much is copied with each write, while there is something to copy.
const BYTES_MIN: usize = 64 << 10;

/// How far the copying of the oldest segment has come. Nothing new ever appears in that segment, so one pass
/// over all groups is enough.
#[derive(Debug, Default)]
pub(super) struct Rewriter {
    segment: u64,
    /// The group whose copying comes next, and the index to go on from.
    next: Option<(GroupId, u64)>,
}

impl Rewriter {
    /// Adds copies to `records`, if there are more segments than there should be.
    pub(super) fn gather(
        &mut self,
        shared: &Arc<Shared>,
        judged: Option<&Written<Judged>>,
        queued_bytes: usize,
        records: &mut Records,
    ) {
        let Some((oldest, live_bytes)) = shared.segments.oldest() else { return };
        let count = shared.segments.count();
        let capacity = (count as u64).saturating_mul(shared.config.segment_bytes);
        let crowded = count > shared.config.live_segments_max && shared.segments.live_bytes() < capacity / 2;
        if !crowded || live_bytes == 0 {
            return;
        }
        if self.segment != oldest {
            *self = Self { segment: oldest, next: None };
            if let Some(judged) = judged.filter(|judged| judged.at.segment == oldest) {
                records.push_judged(judged.value);
            }
        }
        let bytes_max = queued_bytes.max(BYTES_MIN).min(shared.config.rewrite_bytes_max);
        let from = self.next.map_or(Bound::Unbounded, |(group, _)| Bound::Included(group));
        let groups: Vec<Arc<Group>> = shared
            .groups
            .read()
            .range((from, Bound::Unbounded))
            .map(|(_, group)| Arc::clone(group))
            .collect();
        for group in groups {
            let from = self.next.filter(|(id, _)| *id == group.id).map_or(0, |(_, index)| index);
            if let Some(index) = copy_group(shared, &group, oldest, from, bytes_max, records) {
                self.next = Some((group.id, index));
                return;
            }
        }
        // All was copied; what is copied by this write is counted as moved when it is synced.
        self.next = Some((GroupId { shard: u32::MAX, replica: u64::MAX }, u64::MAX));
    }
}

/// Copies what `group` has in segment `oldest`, entries from index `from` on. Returns the index to go on from
/// if `bytes_max` was reached first.
fn copy_group(
    shared: &Arc<Shared>,
    group: &Arc<Group>,
    oldest: u64,
    from: u64,
    bytes_max: usize,
    records: &mut Records,
) -> Option<u64> {
    if from == 0 {
        copy_facts(group, oldest, records);
    }
    let entries: Vec<_> = {
        let mem = group.mem.lock();
        let slots = (mem.first..).zip(&mem.slots).filter(|(index, _)| *index >= from);
        slots
            .filter(|(_, slot)| slot.located.is_some_and(|at| at.segment == oldest))
            .map(|(index, slot)| (index, slot.clone()))
            .take(bytes_max / RECORD_HEADER_BYTES + 1)
            .collect()
    };
    for (index, slot) in entries {
        if records.record_bytes() >= bytes_max {
            return Some(index);
        }
        let Some(at) = slot.located else { continue };
        let payload = match slot.payload {
            Some(payload) => payload,
            None => match shared.read_entry(group.id, index, at) {
                Ok(payload) => payload,
                Err(ReadBack::Moved) => continue,
                Err(ReadBack::Damaged | ReadBack::Failed(_)) => {
                    let reason = format!("entry {index} in segment {oldest} could not be read to be copied");
                    shared.found_damage(group, &reason.into());
                    return None;
                }
            },
        };
        records.push_entry_again(group, slot.seq, LogPosition { term: slot.term, index }, payload);
    }
    None
}

fn copy_facts(group: &Arc<Group>, oldest: u64, records: &mut Records) {
    let mem = group.mem.lock();
    if let Some(quarantine) = mem.written_quarantine.as_ref().filter(|written| written.at.segment == oldest) {
        records.push_quarantine(group, &quarantine.value);
    }
    if let Some(purged) = mem.written_purge.as_ref().filter(|written| written.at.segment == oldest) {
        records.push_purge_again(group, purged.value);
    }
    if let Some(vote) = mem.written_vote.as_ref().filter(|written| written.at.segment == oldest) {
        records.push_vote_again(group, vote.value.clone());
    }
    if let Some(committed) = mem.written_committed.as_ref().filter(|written| written.at.segment == oldest) {
        records.push_committed(group, committed.value);
    }
}
