//! A log on a simulated disk, driven by one thread, for the tests of this folder.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod model;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hapax_store::disk::{Disk, SimDisk};
use hapax_store::log::{GroupId, GroupLog, Log, LogConfig, LogEntry, LogError, LogPosition};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Where the logs of these tests live.
pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/node/log")
}

/// Small segments and writes, so that a short test rolls, recycles and rewrites.
pub(crate) fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 128 << 10,
        block_bytes: 512,
        recycled_segments_max: 2,
        live_segments_max: 3,
        rewrite_bytes_max: 4 << 10,
        cache_bytes_per_group: 1 << 10,
        queue_bytes_max: 64 << 10,
        entry_bytes_max: 8 << 10,
        write_bytes_max: 24 << 10,
        reserve_bytes: 0,
        ..LogConfig::default()
    }
}

/// An open log with its writer as a task of its own runtime.
pub(crate) struct Node {
    pub(crate) log: Log,
    runtime: Runtime,
    writer: Option<JoinHandle<()>>,
}

/// Whether the idle mark is written as soon as the log idles, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdleMark {
    AtOnce,
    Never,
}

impl Node {
    pub(crate) fn open(disk: &SimDisk, config: LogConfig, idle: IdleMark) -> Result<Self, LogError> {
        Self::open_on(Arc::new(disk.clone()), &dir(), config, idle)
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: LogConfig,
        idle: IdleMark,
    ) -> Result<Self, LogError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (log, writer) = Log::open(disk, dir, config)?;
        let writer = runtime.spawn(writer.run_inline(move |_| async move {
            if idle == IdleMark::Never {
                std::future::pending::<()>().await;
            }
        }));
        Ok(Self { log, runtime, writer: Some(writer) })
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn group(&self, id: GroupId) -> GroupLog {
        self.log.group(id)
    }

    /// Appends and waits until it is durable.
    pub(crate) fn append(&self, group: &GroupLog, entries: Vec<LogEntry>) -> Result<(), LogError> {
        self.run(append(group, entries))
    }

    /// Lets the writer do what is queued, without waiting for anything in particular.
    pub(crate) fn settle(&self) {
        self.run(async {
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Stops cleanly.
    pub(crate) fn stop(mut self) -> Result<(), LogError> {
        let stopped = self.run(self.log.flush_and_stop());
        if let Some(writer) = self.writer.take() {
            self.run(writer).expect("the writer does not panic");
        }
        stopped
    }
}

/// Appends and waits until it is durable.
pub(crate) async fn append(group: &GroupLog, entries: Vec<LogEntry>) -> Result<(), LogError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    group.append(entries, done).await?;
    receiver.await.unwrap_or(Err(LogError::Stopped))
}

pub(crate) fn gid(shard: u32) -> GroupId {
    GroupId { shard, replica: 1000 + u64::from(shard) }
}

pub(crate) fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, index }
}

/// An entry whose payload tells its group, term and index, of about `len` bytes.
pub(crate) fn entry(group: GroupId, term: u64, index: u64, len: usize) -> LogEntry {
    let mut payload = format!("{}/{}/{term}/{index}/", group.shard, group.replica).into_bytes();
    let fill = payload.clone();
    while payload.len() < len {
        payload.extend_from_slice(&fill);
    }
    payload.truncate(len.max(fill.len()));
    LogEntry { term, index, payload: Bytes::from(payload) }
}

pub(crate) fn entries(group: GroupId, term: u64, range: std::ops::Range<u64>, len: usize) -> Vec<LogEntry> {
    range.map(|index| entry(group, term, index, len)).collect()
}

/// All entries of a group. Those of a group that was never purged start at 0 or 1 in these tests.
pub(crate) fn read_all(group: &GroupLog) -> Result<Vec<LogEntry>, LogError> {
    match group.state()?.purged {
        Some(purged) => group.read(purged.index + 1, u64::MAX, usize::MAX),
        None => match group.read(0, u64::MAX, usize::MAX)? {
            entries if entries.is_empty() => group.read(1, u64::MAX, usize::MAX),
            entries => Ok(entries),
        },
    }
}

/// The segment files, oldest first.
pub(crate) fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let names = disk.list(&dir()).expect("the directory exists");
    names.iter().filter(|name| name.ends_with(".log")).map(|name| dir().join(name)).collect()
}
