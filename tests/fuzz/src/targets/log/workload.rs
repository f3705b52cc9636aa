//! Logs to damage, each with all the states that it went through.

use super::layout::{self, Spot};
use super::node::{Node, Observed, observe_all};
use crate::driver::Random;
use bytes::Bytes;
use hapax_store::disk::{Disk, SimDisk};
use hapax_store::log::{GroupId, LogConfig, LogEntry, LogPosition};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The shards whose groups a log may hold.
pub(super) const GROUPS: [u32; 6] = [0, 1, 2, 3, 4, 5];
/// The unit that a write is aligned to.
pub(super) const BLOCK_BYTES: usize = 512;

pub(super) fn dir() -> PathBuf {
    PathBuf::from("/node/log")
}

pub(super) fn group(shard: u32) -> GroupId {
    GroupId { shard, replica: 1000 + u64::from(shard) }
}

/// The smallest segments that there may be, so that short workloads roll, recycle and rewrite.
pub(super) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 88 << 10,
        block_bytes: 512,
        recycled_segments_max: 1,
        live_segments_max: 2,
        rewrite_bytes_max: 4 << 10,
        cache_bytes_per_group: 0,
        queue_bytes_max: 64 << 10,
        entry_bytes_max: 4 << 10,
        write_bytes_max: 8 << 10,
        reserve_bytes: 0,
        ..LogConfig::default()
    }
}

/// A log at rest.
pub(super) struct Workload {
    pub(super) disk: SimDisk,
    /// What the groups held after each write that was acknowledged, the first one empty.
    pub(super) history: Vec<BTreeMap<u32, Observed>>,
    /// The segment files, oldest first.
    pub(super) segments: Vec<PathBuf>,
    /// Every header in them.
    pub(super) spots: Vec<Spot>,
    /// Where the last write of all starts, in the last segment.
    pub(super) last_write: usize,
}

impl Workload {
    pub(super) fn make(number: u8) -> Self {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/node")).unwrap();
        let mut random = Random::new(u64::from(number));
        // A third of the workloads is big enough for several segments.
        let (steps, bytes) = if number.is_multiple_of(3) { (50, 3000) } else { (4 + random.below(24), 300) };
        let mut node = Node::open(&disk).unwrap();
        let mut history = vec![observe_all(&node.log, &GROUPS)];
        let (mut term, mut living) = (1, GROUPS.to_vec());
        for _ in 0..steps {
            if random.below(20) == 0 {
                node.stop();
                node = Node::open(&disk).unwrap();
                term += 1;
            }
            step(&node, &mut random, term, bytes, &mut living);
            history.push(observe_all(&node.log, &GROUPS));
            if random.below(2) == 0 {
                node.settle();
            }
        }
        node.stop();
        let names = disk.list(&dir()).unwrap();
        let segments: Vec<_> =
            names.iter().filter(|name| name.ends_with(".log")).map(|name| dir().join(name)).collect();
        let spots: Vec<Spot> =
            segments.iter().enumerate().flat_map(|(at, path)| layout::spots(&disk, at, path)).collect();
        let last = spots
            .iter()
            .filter(|spot| spot.file + 1 == segments.len() && spot.is_mark())
            .map(|spot| spot.offset);
        let last_write = last.max().expect("a log at rest ends with a mark");
        Self { disk, history, segments, spots, last_write }
    }
}

/// One acknowledged change of one group. The id of a removed group is never used again.
fn step(node: &Node, random: &mut Random, term: u64, bytes: usize, living: &mut Vec<u32>) {
    let place = random.below(living.len());
    let shard = living[place];
    let group = node.log.group(group(shard));
    let state = group.state().unwrap();
    let last = state.last.map_or(0, |last| last.index);
    let first = state.purged.map_or(1, |purged| purged.index + 1);
    match random.below(12) {
        0 => node.run(group.save_vote(Bytes::from(format!("vote {term} {last}")))).unwrap(),
        1 if last >= first => {
            node.run(group.truncate_after(Some(last - 1).filter(|last| *last >= first))).unwrap()
        }
        2 | 3 if last > first => {
            let index = first + random.below(usize::try_from(last - first).unwrap()) as u64;
            let entry = &group.read(index, index + 1, 1).unwrap()[0];
            node.run(group.purge_to(LogPosition { term: entry.term, index })).unwrap();
        }
        4 if last >= first => {
            let entry = &group.read(last, last + 1, 1).unwrap()[0];
            group.save_committed(Some(entry.position())).unwrap();
            node.run(group.save_vote(Bytes::from_static(b"carries it"))).unwrap();
        }
        5 if random.below(4) == 0 && last > 0 && living.len() > 1 => {
            living.swap_remove(place);
            node.run(node.log.remove_group(group.id())).unwrap();
        }
        _ => {
            let count = 1 + random.below(3) as u64;
            let entries =
                (last + 1..=last + count).map(|index| entry(shard, term, index, random.below(bytes)));
            node.append(&group, entries.collect()).unwrap();
        }
    }
}

/// An entry whose payload tells what it is.
fn entry(shard: u32, term: u64, index: u64, bytes: usize) -> LogEntry {
    let mut payload = format!("{shard}/{term}/{index}/").into_bytes();
    let told = payload.len();
    payload.resize(told.max(bytes), b'.');
    LogEntry { term, index, payload: payload.into() }
}
