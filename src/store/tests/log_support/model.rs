//! The log as a list of states: a naive model that the real one must agree with after every crash.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use hapax_store::disk::SimDisk;
use hapax_store::log::{GroupId, GroupLog, LogConfig, LogEntry, LogError, LogPosition};

use super::{IdleMark, Node, append, at, entry, gid, read_all};

/// The groups that the scripts use.
pub(crate) const GROUPS: u32 = 4;

/// What one group should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) purged: Option<LogPosition>,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) vote: Option<Bytes>,
}

impl Expected {
    pub(crate) fn last(&self) -> Option<LogPosition> {
        self.entries.last().map(LogEntry::position).or(self.purged)
    }
}

/// What all groups should hold.
pub(crate) type World = BTreeMap<GroupId, Expected>;

/// A call, ready to be made.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Append(GroupId, Vec<LogEntry>),
    Vote(GroupId, Bytes),
    Truncate(GroupId, Option<u64>),
    Purge(GroupId, LogPosition),
    Committed(GroupId),
    Remove(GroupId),
}

/// Raw numbers that become a valid call for whatever world they meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub(crate) group: u32,
    pub(crate) kind: u8,
    pub(crate) amount: u64,
    pub(crate) len: usize,
}

impl Raw {
    /// The call that these numbers mean in `world`; `serial` makes terms and votes differ.
    pub(crate) fn resolve(self, world: &World, serial: u64) -> Call {
        let id = gid(self.group % GROUPS);
        let group = world.get(&id).cloned().unwrap_or_default();
        let last = group.last();
        match self.kind % 16 {
            0..=8 => {
                let term = last.map_or(1, |last| last.term).max(serial / 8);
                let first = last.map_or(1, |last| last.index + 1);
                let made = (first..=first + self.amount % 3).map(|index| entry(id, term, index, self.len));
                Call::Append(id, made.collect())
            }
            9 | 10 => Call::Vote(id, Bytes::from(format!("vote {serial} of {}", id.shard))),
            11 => {
                let floor = group.purged.map(|purged| purged.index);
                let after = last.map(|last| last.index.saturating_sub(self.amount % 4)).max(floor);
                Call::Truncate(id, after)
            }
            12 | 13 => match group.entries.get(usize::try_from(self.amount).unwrap_or(0) % 8) {
                Some(entry) => Call::Purge(id, entry.position()),
                None => {
                    let beyond = last.map_or(5, |last| last.index + 3);
                    Call::Purge(id, at(last.map_or(1, |last| last.term), beyond))
                }
            },
            14 => Call::Committed(id),
            _ => Call::Remove(id),
        }
    }
}

impl Call {
    /// What the call does to the world.
    pub(crate) fn apply(&self, world: &mut World) {
        match self {
            Self::Append(id, entries) => {
                world.entry(*id).or_default().entries.extend(entries.iter().cloned());
            }
            Self::Vote(id, vote) => world.entry(*id).or_default().vote = Some(vote.clone()),
            Self::Truncate(id, after) => {
                let group = world.entry(*id).or_default();
                group.entries.retain(|entry| after.is_some_and(|after| entry.index <= after));
            }
            Self::Purge(id, position) => {
                let group = world.entry(*id).or_default();
                group.purged = group.purged.max(Some(*position));
                group.entries.retain(|entry| entry.index > position.index);
            }
            Self::Committed(_) => {}
            Self::Remove(id) => {
                world.remove(id);
            }
        }
    }

    async fn make(self, log: hapax_store::log::Log) -> Result<(), LogError> {
        match self {
            Self::Append(id, entries) => append(&log.group(id), entries).await,
            Self::Vote(id, vote) => log.group(id).save_vote(vote).await,
            Self::Truncate(id, after) => log.group(id).truncate_after(after).await,
            Self::Purge(id, position) => log.group(id).purge_to(position).await,
            Self::Committed(id) => {
                let group = log.group(id);
                group.save_committed(group.state()?.last)
            }
            Self::Remove(id) => match log.remove_group(id).await {
                Err(LogError::Removed(_)) => Ok(()),
                result => result,
            },
        }
    }
}

/// The worlds that a run went through, and how many of them were acknowledged.
pub(crate) struct History {
    /// `worlds[k]` is the world after `k` calls.
    pub(crate) worlds: Vec<World>,
    /// So many calls were acknowledged, in order.
    pub(crate) acked: usize,
}

impl History {
    pub(crate) fn starting_with(world: World) -> Self {
        Self { worlds: vec![world], acked: 0 }
    }

    /// Makes the calls of one batch together, in order, and waits for all. Says whether all succeeded.
    pub(crate) fn run_batch(&mut self, node: &Node, batch: &[Raw]) -> bool {
        let mut calls = Vec::new();
        // What changes nothing may be answered at once, even when the log has failed.
        let mut weak = Vec::new();
        for raw in batch {
            let mut world = self.worlds.last().cloned().unwrap_or_default();
            let call = raw.resolve(&world, self.worlds.len() as u64);
            call.apply(&mut world);
            weak.push(self.worlds.last() == Some(&world));
            self.worlds.push(world);
            calls.push(call.make(node.log.clone()));
        }
        let results = node.run(join_in_order(calls));
        let acked = results.iter().take_while(|result| result.is_ok()).count();
        self.acked += acked;
        let after =
            results.iter().zip(weak).skip(acked).filter(|(result, weak)| result.is_ok() && !weak).count();
        assert_eq!(after, 0, "nothing is acknowledged after something failed");
        acked == results.len()
    }

    /// Opens the log and checks that it holds a world between the last acknowledged and the last asked for.
    /// Opens it twice, since the second time must give the same. Returns the world.
    pub(crate) fn check(&self, disk: &SimDisk, config: &LogConfig, context: &str) -> World {
        let found = {
            let node = Node::open(disk, config.clone(), IdleMark::Never).expect("it opens");
            assert_eq!(node.log.stats().damages, 0, "{context}: a crash is not damage");
            observe(&node)
        };
        let allowed = &self.worlds[self.acked..];
        assert!(
            allowed.iter().any(|world| visible(world) == found),
            "{context}: not a world after {} calls or more.\nfound {}\nof {:#?}",
            self.acked,
            summary(&found),
            allowed.iter().map(summary).collect::<Vec<_>>(),
        );
        let node = Node::open(disk, config.clone(), IdleMark::Never).expect("it opens again");
        assert_eq!(observe(&node), found, "{context}: opened twice");
        found
    }
}

/// Polls all futures in the order given until each is ready: so the calls are queued in that order.
async fn join_in_order<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<Pin<Box<_>>> = futures.into_iter().map(Box::pin).collect();
    let mut results: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, result) in pending.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *result = Some(ready);
            }
        }
        if results.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}

/// The groups that hold anything: an empty group leaves no record.
fn visible(world: &World) -> World {
    let holds = |group: &Expected| *group != Expected::default();
    world.iter().filter(|(_, group)| holds(group)).map(|(id, group)| (*id, group.clone())).collect()
}

/// A world in one line: purge point, first and last entry with their lengths, vote.
fn summary(world: &World) -> String {
    let group = |(id, group): (&GroupId, &Expected)| {
        let ends = [group.entries.first(), group.entries.last()].map(|entry| {
            entry.map_or_else(String::new, |e| format!("{}/{} ({})", e.term, e.index, e.payload.len()))
        });
        let purged =
            group.purged.map_or_else(String::new, |purged| format!("{}/{}", purged.term, purged.index));
        format!("[{}: purged {purged}, {} to {}, {:?}]", id.shard, ends[0], ends[1], group.vote)
    };
    world.iter().map(group).collect()
}

pub(crate) fn observe_group(group: &GroupLog) -> Expected {
    let state = group.state().expect("a crash quarantines nobody");
    let found =
        Expected { purged: state.purged, entries: read_all(group).expect("readable"), vote: state.vote };
    assert_eq!(found.last(), state.last);
    found
}

/// What the log says it holds.
pub(crate) fn observe(node: &Node) -> World {
    let groups = node.log.groups().into_iter().map(|id| (id, observe_group(&node.group(id)))).collect();
    visible(&groups)
}
