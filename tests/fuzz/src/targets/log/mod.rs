//! A log is made, damaged as the input says, and opened.
//!
//! Input: the number of a workload, how the opening is interrupted, then the damages. A disk damages bytes without
//! knowing their checksums; after such damage each group must hold exactly what it held, or be quarantined. Only
//! where the last write of all is hit may the log end earlier, at a state that all groups had together. Damage
//! with its checksums made to fit comes from no disk: the log must stay on its feet, and what it then serves must
//! be the same at the next opening.

mod damage;
mod layout;
mod node;
mod workload;

use super::script::Script;
use crate::seen::Seen;
use bytes::Bytes;
use damage::{Damaged, damage};
use hapax_store::disk::{Disk, SimDisk};
use hapax_store::log::{LogEntry, LogError};
use node::{Node, Observed, observe_all};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use workload::{GROUPS, Workload};

/// How many workloads there are.
const WORKLOADS: u8 = 48;

thread_local! {
    static MADE: RefCell<BTreeMap<u8, Rc<Workload>>> = RefCell::default();
}

/// The workload of this number, made once for each thread.
fn workload(number: u8) -> Rc<Workload> {
    MADE.with_borrow_mut(|made| {
        Rc::clone(made.entry(number).or_insert_with(|| Rc::new(Workload::make(number))))
    })
}

/// Each workload as it is, and each kind of damage once.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let plain = (0..WORKLOADS).map(|number| vec![number, 0]);
    let damaged = (0..12).map(|kind| vec![kind, 0, kind, 1, 0, 3, 9, 7, 1, 2, 3]);
    plain.chain(damaged).collect()
}

/// Runs the target.
pub(super) fn log_open(input: &[u8], seen: &mut Seen) -> usize {
    let mut script = Script::new(input);
    let workload = workload(script.byte() % WORKLOADS);
    let interrupt = script.byte();
    let disk = workload.disk.fork();
    let damaged = damage(&disk, &workload, &mut script, seen);
    if interrupt >= 128 {
        interrupted_opening(&disk, interrupt);
    }
    let node = match Node::open(&disk) {
        Ok(node) => node,
        Err(error @ (LogError::Version { .. } | LogError::Config(_))) if damaged.forged => {
            seen.text(&error);
            return 0;
        }
        Err(error) => panic!("damage is no reason not to open: {error}"),
    };
    let found = observe_all(&node.log, &GROUPS);
    note(&found, seen);
    seen.magnitude("damages", node.log.stats().damages);
    if !damaged.forged {
        check(&workload, &damaged, &found);
    }
    let healthy = found.values().filter(|observed| matches!(observed, Observed::Healthy(_))).count();
    reopen(&disk, node, found, damaged.forged);
    healthy
}

fn note(found: &BTreeMap<u32, Observed>, seen: &mut Seen) {
    for (shard, observed) in found {
        match observed {
            Observed::Quarantined(reason) => seen.text(reason),
            Observed::Healthy(contents) => {
                let (committed, last) = (contents.state.committed, contents.state.last);
                let beyond =
                    committed.is_some_and(|committed| last.is_none_or(|last| committed.index > last.index));
                assert!(!beyond, "what is committed is not in the log: {:?}", contents.state);
                seen.magnitude("entries", contents.entries.len() as u64);
                seen.note((shard, contents.state.purged.is_some(), contents.state.vote.is_some()));
            }
            Observed::Absent => seen.note(("absent", shard)),
        }
    }
}

/// The power goes in the middle of an opening.
fn interrupted_opening(disk: &SimDisk, interrupt: u8) {
    disk.power_off_at(disk.ops() + u64::from(interrupt - 128) % 12);
    if let Ok(node) = Node::open(disk) {
        node.settle();
    }
    disk.crash(u64::from(interrupt));
}

/// What was found is what was written.
fn check(workload: &Workload, damaged: &Damaged, found: &BTreeMap<u32, Observed>) {
    let truthful = |held: &BTreeMap<u32, Observed>| {
        found.iter().all(|(shard, observed)| {
            matches!(observed, Observed::Quarantined(_)) || observed.is_like(&held[shard])
        })
    };
    let last = workload.history.last().unwrap();
    if damaged.last_write_hit {
        let earlier = workload.history.iter().any(truthful);
        assert!(earlier, "the log serves what it never held: {found:?}");
    } else {
        assert!(truthful(last), "the log lost what was synced: {found:?}, but it held {last:?}");
    }
}

/// Goes on with what was found, stops, and opens once more.
fn reopen(disk: &SimDisk, node: Node, mut found: BTreeMap<u32, Observed>, forged: bool) {
    for (shard, observed) in &mut found {
        let Observed::Healthy(contents) = observed else { continue };
        let group = node.log.group(workload::group(*shard));
        let index = contents.state.last.map_or(1, |last| last.index.saturating_add(1));
        let entry = LogEntry { term: 9, index, payload: Bytes::from_static(b"behind the damage") };
        match node.append(&group, vec![entry]) {
            Ok(()) => {}
            Err(error) => assert!(forged, "a healthy group takes no entry: {error}"),
        }
        *observed = node::observe(&node.log, *shard);
    }
    node.stop();
    let node = Node::open(disk).expect("what could be opened once can be opened again");
    for (shard, before) in &found {
        let after = node::observe(&node.log, *shard);
        let same = match (before, &after) {
            (Observed::Quarantined(_), Observed::Quarantined(_)) => true,
            // What a forger planted may be found later, when it is read or copied.
            (_, Observed::Quarantined(_)) => forged,
            _ => after.is_like(before),
        };
        assert!(same, "shard {shard} was {before:?}, and is {after:?} after another opening");
    }
    assert!(disk.list(&workload::dir()).is_ok());
}
