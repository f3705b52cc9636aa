//! Groups append to the shared log, each an entry at a time, and wait until it is synced.

use super::scratch;
use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use hapax_store::disk::RealDisk;
use hapax_store::log::{GroupId, GroupLog, Log, LogConfig, LogEntry, LogError, LogPosition, LogWriter};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Small segments, so that a short run comes to the recycled ones, which are what a node lives on.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Written between two purges, about.
const SPAN_BYTES: usize = 4 << 20;
/// What a write takes at least.
const BLOCK_BYTES: usize = 4096;
/// Entries of different bytes: the next one has those of the first again.
const PAYLOADS: u8 = 16;

/// A log, and the groups that append to it.
pub struct Appends {
    groups: Vec<GroupLog>,
    log: Log,
    writer: JoinHandle<()>,
    runtime: Runtime,
    payloads: Vec<Bytes>,
    index: u64,
    told: Told,
    dir: TempDir,
}

/// Where the log tells that an entry is durable.
type Told = (Sender<Result<(), LogError>>, Receiver<Result<(), LogError>>);

impl Appends {
    /// So many groups, whose entries have so many bytes each.
    ///
    /// # Errors
    /// What the disk or the log says.
    pub fn open(groups: u32, entry_bytes: usize) -> Result<Self> {
        let dir = scratch::dir()?;
        let (log, writer) = open_log(dir.path())?;
        Ok(Self {
            groups: (0..groups).map(|shard| log.group(GroupId { shard, replica: 1 })).collect(),
            log,
            writer: std::thread::spawn(move || writer.run_blocking()),
            runtime: Builder::new_current_thread().build()?,
            payloads: (0..PAYLOADS).map(|byte| vec![byte; entry_bytes].into()).collect(),
            index: 0,
            told: channel(),
            dir,
        })
    }

    /// So many times, lets each group append an entry and waits until all of them are durable; says how long that
    /// took.
    ///
    /// # Errors
    /// What the log says.
    pub fn run(&mut self, rounds: u64) -> Result<Duration> {
        let round_bytes = (self.groups.len() * self.payloads[0].len()).max(BLOCK_BYTES);
        let span = (SPAN_BYTES / round_bytes).max(1) as u64;
        let mut took = Duration::ZERO;
        let mut left = rounds;
        while left > 0 {
            let syncs = self.log.stats().syncs;
            let begun = Instant::now();
            for _ in 0..left.min(span) {
                self.round()?;
            }
            took += begun.elapsed();
            let synced = self.log.stats().syncs - syncs;
            ensure!(synced >= left.min(span), "{} rounds with {synced} syncs", left.min(span));
            left -= left.min(span);
            self.purge()?;
        }
        Ok(took)
    }

    fn round(&mut self) -> Result<()> {
        self.index += 1;
        let entry = LogEntry { term: 1, index: self.index, payload: self.payload() };
        self.runtime.block_on(async {
            for group in &self.groups {
                let told = self.told.0.clone();
                let done = move |result| {
                    // Whoever waits is this very work.
                    let _gone = told.send(result);
                };
                group.append(vec![entry.clone()], Box::new(done)).await?;
            }
            Ok::<_, LogError>(())
        })?;
        for _ in &self.groups {
            self.told.1.recv()??;
        }
        Ok(())
    }

    /// That of the last entry.
    fn payload(&self) -> Bytes {
        let at = usize::try_from(self.index).unwrap_or_default() % self.payloads.len();
        self.payloads[at].clone()
    }

    /// Drops all entries but the last ones, so that segments can be used again.
    fn purge(&self) -> Result<()> {
        let position = LogPosition { term: 1, index: self.index - 1 };
        let purge = |group: GroupLog| self.runtime.spawn(async move { group.purge_to(position).await });
        let purges: Vec<_> = self.groups.iter().cloned().map(purge).collect();
        for purge in purges {
            self.runtime.block_on(purge)??;
        }
        Ok(())
    }

    /// Opens the log again and looks whether it has each group's last entry.
    ///
    /// # Errors
    /// It has not.
    pub fn finish(self) -> Result<()> {
        let (payload, ids) = (self.payload(), self.log.groups());
        ensure!(ids.len() == self.groups.len(), "{} groups instead of {}", ids.len(), self.groups.len());
        let Self { groups, log, writer, runtime, index, dir, .. } = self;
        runtime.block_on(log.flush_and_stop())?;
        writer.join().map_err(|_| anyhow!("the log's writer panicked"))?;
        drop((groups, log));
        let (log, _writer) = open_log(dir.path())?;
        for id in ids {
            let found = log.group(id).read(index, u64::MAX, usize::MAX)?;
            let last = [LogEntry { term: 1, index, payload: payload.clone() }];
            ensure!(found == last, "{id:?} ends with {found:?} instead of {last:?}");
        }
        Ok(())
    }
}

fn open_log(dir: &Path) -> Result<(Log, LogWriter)> {
    let config = LogConfig {
        segment_bytes: SEGMENT_BYTES,
        entry_bytes_max: 1 << 20,
        write_bytes_max: 1 << 20,
        ..LogConfig::default()
    };
    Log::open(Arc::new(RealDisk), &dir.join("log"), config).context("the log does not open")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_ends_with_its_last_entry() {
        for (groups, entry_bytes) in [(1, 400), (8, 4096)] {
            let mut appends = Appends::open(groups, entry_bytes).unwrap();
            appends.run(150).unwrap();
            appends.finish().unwrap();
        }
    }

    #[test]
    fn an_entry_that_is_not_there_is_missed() {
        let mut appends = Appends::open(2, 400).unwrap();
        appends.run(3).unwrap();
        appends.index += 1;
        assert!(appends.finish().is_err());
    }
}
