//! Turns records back into groups.
//!
//! Contract: records are applied in the order of the log. An entry may stand again later in the log than its
//! neighbours, where it was rewritten so that an old segment could go, so entries are gathered by index and
//! judged only at the end: a gap means that records are missing, and quarantines the group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::format::{FLAG_NONE, FLAG_REWRITTEN, Judged, Kind, Place, record_bytes};
use super::group::{self, Group, Mem, Written};
use super::scan::{Record, Write};
use super::segment::{Located, Segments};
use super::types::{GroupId, LogPosition};

#[derive(Default)]
pub(super) struct Replay {
    groups: BTreeMap<GroupId, Gathered>,
    /// What earlier openings made of damage.
    pub(super) judged: Option<Written<Judged>>,
    /// Groups that were removed, while the record of it is still there.
    pub(super) removed: BTreeSet<GroupId>,
}

#[derive(Default)]
struct Gathered {
    entries: BTreeMap<u64, (u64, Located)>,
    purged: Option<Written<LogPosition>>,
    vote: Option<Written<Bytes>>,
    committed: Option<Written<Option<LogPosition>>>,
    quarantine: Option<Written<Arc<str>>>,
    conflict: Option<u64>,
}

impl Replay {
    /// Applies the readable records of a segment's writes.
    pub(super) fn apply(&mut self, segment: u64, bytes: &[u8], writes: &[Write]) {
        for record in writes.iter().flat_map(|write| &write.records) {
            let len = record_bytes(record.header.body_len as usize);
            // Segments are at most 1 GiB, so both fit.
            let (Ok(offset), Ok(len)) = (u32::try_from(record.offset), u32::try_from(len)) else { continue };
            self.apply_record(record, bytes, Located { segment, offset, len });
        }
    }

    fn apply_record(&mut self, record: &Record, bytes: &[u8], at: Located) {
        let header = &record.header;
        let position = LogPosition { term: header.term, index: header.index };
        match header.kind {
            Kind::Mark => return,
            Kind::Judged => {
                let up_to = Place { segment: header.term, offset: header.index };
                self.judged = Some(Written { value: Judged { up_to }, at });
                return;
            }
            Kind::Remove => {
                self.groups.remove(&header.group);
                self.removed.insert(header.group);
                return;
            }
            _ => {}
        }
        let group = self.groups.entry(header.group).or_default();
        match header.kind {
            Kind::Entry => group.entry(position, at, header.flags & FLAG_REWRITTEN != 0),
            Kind::Vote => {
                group.vote = Some(Written { value: Bytes::copy_from_slice(record.body(bytes)), at });
            }
            Kind::Committed => {
                let value = (header.flags & FLAG_NONE == 0).then_some(position);
                group.committed = Some(Written { value, at });
            }
            Kind::Truncate => drop(group.entries.split_off(&header.index)),
            Kind::Purge => group.purge(position, at),
            Kind::Quarantine => {
                let value = String::from_utf8_lossy(record.body(bytes)).into();
                group.quarantine = Some(Written { value, at });
            }
            Kind::Mark | Kind::Remove | Kind::Judged => {}
        }
    }

    /// The ids of all groups that have records.
    pub(super) fn known(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    /// Builds the groups, counting what they hold as live. Says why a group must be quarantined, where its
    /// entries do not fit together.
    pub(super) fn take_groups(&mut self, segments: &Segments) -> Vec<(Arc<Group>, Option<Arc<str>>)> {
        let build = |(id, gathered): (GroupId, Gathered)| {
            let group = Group::new(id);
            let trouble = gathered.fill(&mut group.mem.lock(), segments);
            (group, trouble)
        };
        std::mem::take(&mut self.groups).into_iter().map(build).collect()
    }
}

impl Gathered {
    fn entry(&mut self, position: LogPosition, at: Located, rewritten: bool) {
        let LogPosition { term, index } = position;
        if index == u64::MAX {
            // Never given out.
            self.conflict.get_or_insert(index);
            return;
        }
        if self.purged.as_ref().is_some_and(|purged| index <= purged.value.index) {
            // Only a copy may come behind the purge that it was already subject to.
            if !rewritten {
                self.conflict.get_or_insert(index);
            }
            return;
        }
        if let Some((old_term, _)) = self.entries.insert(index, (term, at))
            && old_term != term
        {
            self.conflict.get_or_insert(index);
        }
    }

    fn purge(&mut self, position: LogPosition, at: Located) {
        self.entries = match position.index.checked_add(1) {
            Some(first) => self.entries.split_off(&first),
            None => BTreeMap::new(),
        };
        self.purged = Some(Written { value: position, at });
    }

    fn gap(&self) -> Option<u64> {
        let first = self.entries.first_key_value().map(|(index, _)| *index);
        let first = self.purged.as_ref().map(|purged| purged.value.index.saturating_add(1)).or(first)?;
        let mut expected = first..;
        self.entries.keys().find_map(|index| expected.next().filter(|expected| expected != index))
    }

    fn fill(self, mem: &mut Mem, segments: &Segments) -> Option<Arc<str>> {
        if let Some(quarantine) = self.quarantine {
            mem.quarantined = Some(Arc::clone(&quarantine.value));
            group::replace(&mut mem.written_quarantine, quarantine.value, quarantine.at, segments);
            return None;
        }
        if let Some(index) = self.conflict.or_else(|| self.gap()) {
            return Some(format!("log index {index} is missing or contradicts the log").into());
        }
        if let Some(purged) = self.purged {
            mem.purged = Some(purged.value);
            group::replace(&mut mem.written_purge, purged.value, purged.at, segments);
        }
        for (index, (term, at)) in self.entries {
            mem.push_recovered(index, term, at, segments);
        }
        if let Some(vote) = self.vote {
            mem.vote = Some(vote.value.clone());
            group::replace(&mut mem.written_vote, vote.value, vote.at, segments);
        }
        if let Some(committed) = self.committed {
            // A hint may name entries whose own write was cut: then it is no use.
            let last = mem.last().map(|last| last.index);
            mem.committed =
                committed.value.filter(|position| last.is_some_and(|last| position.index <= last));
            group::replace(&mut mem.written_committed, committed.value, committed.at, segments);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u64) -> Located {
        Located { segment, offset: 512, len: 56 }
    }

    fn gathered(purged: Option<u64>, indexes: &[u64]) -> Gathered {
        let mut gathered = Gathered::default();
        indexes.iter().for_each(|index| gathered.entry(LogPosition { term: 1, index: *index }, at(1), false));
        if let Some(index) = purged {
            gathered.purge(LogPosition { term: 1, index }, at(1));
        }
        gathered
    }

    #[test]
    fn missing_entries_are_noticed_wherever_they_are() {
        assert_eq!(gathered(None, &[]).gap(), None);
        assert_eq!(gathered(None, &[3, 4, 5]).gap(), None);
        assert_eq!(gathered(None, &[4, 5, 3]).gap(), None);
        assert_eq!(gathered(None, &[3, 5]).gap(), Some(4));
        assert_eq!(gathered(Some(2), &[1, 2, 3, 4]).gap(), None);
        assert_eq!(gathered(Some(2), &[4, 5]).gap(), Some(3));
        assert_eq!(gathered(Some(u64::MAX), &[4, 5]).gap(), None);
        let group = &mut Mem::default();
        assert!(gathered(None, &[3, 5]).fill(group, &Segments::default()).is_some());
    }

    #[test]
    fn entries_that_contradict_each_other_are_noticed() {
        let mut changed = gathered(None, &[3, 4]);
        changed.entry(LogPosition { term: 2, index: 4 }, at(1), false);
        assert_eq!(changed.conflict, Some(4));
        let mut again = gathered(None, &[3, 4]);
        again.entry(LogPosition { term: 1, index: 4 }, at(2), true);
        assert_eq!((again.conflict, again.gap()), (None, None));
        let mut behind = gathered(Some(3), &[3, 4]);
        behind.entry(LogPosition { term: 1, index: 2 }, at(2), true);
        assert_eq!(behind.conflict, None);
        behind.entry(LogPosition { term: 1, index: 2 }, at(2), false);
        assert_eq!(behind.conflict, Some(2));
        let mut impossible = gathered(None, &[]);
        impossible.entry(LogPosition { term: 1, index: u64::MAX }, at(1), false);
        assert_eq!(impossible.conflict, Some(u64::MAX));
    }
}
