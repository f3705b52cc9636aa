//! A log with its writer, driven by one thread, and what can be read from it.

use super::workload::{config, dir, group};
use hapax_store::disk::SimDisk;
use hapax_store::log::{GroupLog, GroupState, Log, LogEntry, LogError};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub(super) struct Node {
    pub(super) log: Log,
    runtime: Runtime,
    writer: JoinHandle<()>,
}

impl Node {
    pub(super) fn open(disk: &SimDisk) -> Result<Self, LogError> {
        let (log, writer) = Log::open(Arc::new(disk.clone()), &dir(), config())?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // The mark that names the last write is written as soon as the log idles.
        let writer = runtime.spawn(writer.run_inline(|_| std::future::ready(())));
        Ok(Self { log, runtime, writer })
    }

    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn append(&self, group: &GroupLog, entries: Vec<LogEntry>) -> Result<(), LogError> {
        self.run(async {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            group.append(entries, Box::new(move |result| drop(sender.send(result)))).await?;
            receiver.await.unwrap_or(Err(LogError::Stopped))
        })
    }

    /// Lets the writer do what is queued.
    pub(super) fn settle(&self) {
        self.run(async {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        });
    }

    pub(super) fn stop(self) {
        let Self { log, runtime, writer } = self;
        // A log that failed says so to whoever waited for it.
        let _stopped = runtime.block_on(log.flush_and_stop());
        drop(log);
        runtime.block_on(writer).expect("the writer does not panic");
    }
}

/// What a group holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) state: GroupState,
    pub(super) entries: Vec<LogEntry>,
}

/// A group as its callers see it.
#[derive(Clone, Debug)]
pub(super) enum Observed {
    Absent,
    Healthy(Contents),
    Quarantined(String),
}

impl Observed {
    /// Whether both hold the same. A commit position is a hint, so any one will do.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let holds = |observed: &Self| match observed {
            Self::Healthy(contents) => {
                let GroupState { purged, last, vote, .. } = contents.state.clone();
                Some((purged, last, vote, contents.entries.clone()))
            }
            Self::Absent => Some((None, None, None, Vec::new())),
            Self::Quarantined(_) => None,
        };
        holds(self) == holds(other)
    }
}

/// A group that nothing names is asked for, too: where damage may have held its records, it is quarantined.
pub(super) fn observe(log: &Log, shard: u32) -> Observed {
    match read(&log.group(group(shard))) {
        Ok(Contents { state, .. }) if state == GroupState::default() => Observed::Absent,
        Ok(contents) => Observed::Healthy(contents),
        Err(LogError::Quarantined { reason, .. }) => Observed::Quarantined(reason.to_string()),
        Err(LogError::Changed) => Observed::Quarantined("found by reading".to_owned()),
        Err(error) => panic!("a group cannot be read: {error}"),
    }
}

fn read(group: &GroupLog) -> Result<Contents, LogError> {
    let state = group.state()?;
    let entries = match group.first_index()? {
        Some(first) => group.read(first, u64::MAX, usize::MAX)?,
        None => Vec::new(),
    };
    let follows = entries.windows(2).all(|pair| pair[0].index + 1 == pair[1].index);
    assert!(follows, "entries do not follow one another: {entries:?}");
    Ok(Contents { state, entries })
}

pub(super) fn observe_all(log: &Log, shards: &[u32]) -> BTreeMap<u32, Observed> {
    shards.iter().map(|shard| (*shard, observe(log, *shard))).collect()
}
