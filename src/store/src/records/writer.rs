//! The background writer: moves what was applied into the engine, and what the engine has onto the disk.
//!
//! Contract: one writer a store, so that batches of a shard reach the engine one after another. Each batch is a
//! whole prefix of what was applied; each sync covers the batches of all shards; a position is told to be durable
//! only after the sync and the marks that tell of it. While the disk is full it writes nothing and waits: the log
//! has everything, and refuses more. After any error of the engine the writer is over, everyone
//! who waits is told, and the process must end.
//!
//! It makes neither a thread nor a timer: the caller gives it one of the former and a clock.

use super::error::StoreError;
use super::marks::Mark;
use super::pace::Pace;
use super::shard::{Pending, ShardRecords, Written};
use super::store::{OpenShards, Shared};
use crate::log::GroupId;
use bytes::Bytes;
use hapax_core::seeded::{self, Bug};
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

/// The writer of a store.
#[derive(Debug)]
pub struct RecordWriter {
    shared: Arc<Shared>,
    shards: OpenShards,
    /// Since when each shard has something to write, ms of the caller's clock.
    waiting_since_ms: HashMap<GroupId, u64>,
    unsynced_since_ms: Option<u64>,
    unsynced_bytes: usize,
    /// The disk was full at the last step.
    full: bool,
    /// It has a thread of its own, on which it may rest.
    rests: bool,
    sweep: Sweep,
}

/// Where the sweep is.
#[derive(Debug, Default)]
struct Sweep {
    next_ms: u64,
    shard: Option<GroupId>,
    after: Option<Bytes>,
}

/// How long the writer waits when a shard is pinned by a reader, or there is nothing to do, ms.
const PINNED_MS: u64 = 10;
const IDLE_MS: u64 = 1_000;
/// How long it rests between some rows of a batch, unless it hurries.
const REST: Duration = Duration::from_millis(1);
/// The pause behind a step in which a filter learned, ms.
const LEARN_MS: u64 = 1;

impl RecordWriter {
    pub(super) fn new(shared: Arc<Shared>, shards: OpenShards) -> Self {
        Self {
            shared,
            shards,
            waiting_since_ms: HashMap::new(),
            unsynced_since_ms: None,
            unsynced_bytes: 0,
            full: false,
            rests: false,
            sweep: Sweep::default(),
        }
    }

    /// Runs on this thread until the store is closed. `clock` gives the time that passes, in ms.
    ///
    /// # Errors
    /// What ended it: the process must end too.
    pub fn run_blocking(mut self, clock: impl Fn() -> u64) -> Result<(), StoreError> {
        self.rests = true;
        while let Some(wait) = self.step(clock())? {
            self.shared.signal.wait_blocking(wait);
        }
        Ok(())
    }

    /// Runs as a task until the store is closed; each batch and sync blocks the task, which is meant for the
    /// simulator and for tests. `sleep` gives a future that ends after the time given.
    ///
    /// # Errors
    /// What ended it: the process must end too.
    pub async fn run_inline<S: Future<Output = ()>>(
        mut self,
        clock: impl Fn() -> u64,
        sleep: impl Fn(Duration) -> S,
    ) -> Result<(), StoreError> {
        while let Some(wait) = self.step(clock())? {
            let mut rung = pin!(self.shared.signal.wait());
            let mut slept = pin!(sleep(wait));
            std::future::poll_fn(|context| {
                let rung = rung.as_mut().poll(context).is_ready();
                let slept = slept.as_mut().poll(context).is_ready();
                if rung || slept { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        Ok(())
    }

    /// Writes and syncs what is due at `now_ms`, and says how long there will be nothing to do unless somebody
    /// applies or flushes; `None` when the store is closed and everything is on the disk, or has no room there and
    /// stays in the log.
    ///
    /// # Errors
    /// What ended it. Everyone who waits was told.
    pub fn step(&mut self, now_ms: u64) -> Result<Option<Duration>, StoreError> {
        let stepped = self.step_all(now_ms);
        if let Err(error) = &stepped {
            self.open_shards().iter().for_each(|shard| shard.fail(error));
        }
        stepped
    }

    fn open_shards(&self) -> Vec<Arc<ShardRecords>> {
        self.shards.lock().values().cloned().collect()
    }

    fn step_all(&mut self, now_ms: u64) -> Result<Option<Duration>, StoreError> {
        let closing = self.shared.closing.load(Ordering::Acquire);
        if self.is_full() {
            return Ok((!closing).then_some(Duration::from_millis(IDLE_MS)));
        }
        let shards = self.open_shards();
        let mut wait_ms = IDLE_MS;
        let (mut sync_wanted, mut unsynced, mut unwritten) = (closing, false, false);
        for shard in &shards {
            match self.write_if_due(shard, now_ms, closing)? {
                Due::No => {}
                Due::In(ms) => (wait_ms, unwritten) = (wait_ms.min(ms), true),
            }
            let pending = shard.pending();
            sync_wanted |= pending.flush_wanted;
            unsynced |= pending.unsynced;
        }
        if unsynced {
            let since = *self.unsynced_since_ms.get_or_insert(now_ms);
            let left = (since + self.shared.config.sync_ms).saturating_sub(now_ms);
            if sync_wanted || left == 0 || self.unsynced_bytes >= self.shared.config.sync_bytes {
                self.sync(&shards)?;
            } else {
                wait_ms = wait_ms.min(left);
            }
        }
        if closing && !unwritten {
            return Ok(None);
        }
        self.sweep_if_due(&shards, now_ms)?;
        if !closing && self.learn(&shards) {
            wait_ms = wait_ms.min(LEARN_MS);
        }
        Ok(Some(Duration::from_millis(wait_ms.max(1))))
    }

    /// Whether there is no room to write, told once when that begins and when it ends.
    fn is_full(&mut self) -> bool {
        let full = self.shared.is_full();
        if full && !self.full {
            tracing::warn!("the disk is full: the record store writes nothing until there is room");
        } else if self.full && !full {
            tracing::info!("there is room on the disk: the record store writes again");
        }
        self.full = full;
        full
    }

    /// Writes a shard's batch if it is time, and says when it will be.
    fn write_if_due(&mut self, shard: &ShardRecords, now_ms: u64, closing: bool) -> Result<Due, StoreError> {
        let pending = shard.pending();
        if !pending.has_moved {
            self.waiting_since_ms.remove(&shard.id());
            return Ok(Due::No);
        }
        let since = *self.waiting_since_ms.entry(shard.id()).or_insert(now_ms);
        let left_ms = self.due_in(&pending, now_ms.saturating_sub(since));
        if left_ms > 0 && !closing {
            return Ok(Due::In(left_ms));
        }
        let rest = || {
            if !self.hurries() {
                self.shared.signal.rest(REST);
            }
        };
        let mut pace = if self.rests { Pace::resting(&rest) } else { Pace::steady() };
        match shard.write_batch(&mut pace) {
            Ok(bytes) => self.unsynced_bytes += bytes,
            Err(StoreError::Pinned) => return Ok(Due::In(PINNED_MS)),
            Err(error) => return Err(error),
        }
        self.waiting_since_ms.remove(&shard.id());
        // A batch that was held up has gone alone; closing leaves nothing behind it either.
        if closing && shard.pending().has_moved { Ok(Due::In(0)) } else { Ok(Due::No) }
    }

    /// Whether somebody waits for a batch, its end or a sync, or a shard has gathered half of its next batch: whoever
    /// rested until that is whole would have the shard overfull a moment later.
    fn hurries(&self) -> bool {
        let half = self.shared.config.batch().0 / 2;
        let is_due = |pending: Pending| {
            pending.flush_wanted || pending.replacement_waits || pending.changed_bytes >= half
        };
        self.shared.closing.load(Ordering::Acquire)
            || self.open_shards().iter().any(|shard| is_due(shard.pending()))
    }

    fn due_in(&self, pending: &Pending, waited_ms: u64) -> u64 {
        let config = &self.shared.config;
        let (batch_bytes, batch_ms) = config.batch();
        if pending.flush_wanted || pending.changed_bytes >= batch_bytes {
            return 0;
        }
        let pace_ms = if pending.has_records { batch_ms } else { config.idle_ms };
        pace_ms.saturating_sub(waited_ms)
    }

    /// Syncs the engine, then marks and tells what was written before.
    fn sync(&mut self, shards: &[Arc<ShardRecords>]) -> Result<(), StoreError> {
        let written: Vec<(&Arc<ShardRecords>, Written)> =
            shards.iter().map(|shard| (shard, shard.written())).collect();
        if !seeded::active(Bug::PurgePastSync) {
            self.shared.engine.sync()?;
        }
        self.unsynced_bytes = 0;
        self.unsynced_since_ms = None;
        let marks: Vec<_> = written
            .iter()
            .filter_map(|(shard, written)| {
                let mark = Mark { generation: written.generation, position: written.position? };
                Some((shard.id(), mark))
            })
            .collect();
        self.shared.update_marks(&marks)?;
        for (shard, written) in written {
            shard.set_durable(written);
        }
        Ok(())
    }

    /// Tells the filter of one shard a little of what its engine holds, and says whether any has more to learn.
    fn learn(&self, shards: &[Arc<ShardRecords>]) -> bool {
        let Some(shard) = shards.iter().find(|shard| shard.is_learning()) else { return false };
        shard.learn(self.shared.config.learn_rows);
        true
    }

    /// Lets an engine that does not reclaim by itself do a little of it, one shard after another.
    fn sweep_if_due(&mut self, shards: &[Arc<ShardRecords>], now_ms: u64) -> Result<(), StoreError> {
        if now_ms < self.sweep.next_ms {
            return Ok(());
        }
        self.sweep.next_ms = now_ms + self.shared.config.sweep_ms;
        let current = self.sweep.shard.and_then(|id| shards.iter().find(|shard| shard.id() == id));
        let Some(shard) = current.or(shards.first()) else { return Ok(()) };
        let after = self.sweep.after.take().filter(|_| self.sweep.shard == Some(shard.id()));
        match shard.space().sweep(after, self.shared.config.sweep_rows) {
            Ok(Some(last)) => (self.sweep.shard, self.sweep.after) = (Some(shard.id()), Some(last)),
            Ok(None) | Err(StoreError::Pinned) => {
                let next = shards.iter().find(|other| other.id() > shard.id()).or(shards.first());
                self.sweep.shard = next.map(|next| next.id());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Drop for RecordWriter {
    /// Whoever still waits must not wait for ever.
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        self.open_shards().iter().for_each(|shard| shard.fail(&StoreError::Closed));
    }
}

/// Whether a shard has something to write that is not yet due.
enum Due {
    /// Nothing is left to write.
    No,
    /// In so many ms.
    In(u64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::meta::AppliedMeta;
    use crate::disk::SimDisk;
    use crate::records::{EngineKind, MemoryEngine, RecordConfig, RecordStore};
    use hapax_core::{Address, Key, Operation, Tenant};
    use std::path::Path;

    /// A load of a batch a second once rested its way into refusals: the writer went on at its full pace only when there
    /// was as much waiting as a shard may have.
    #[test]
    fn a_writer_that_falls_behind_hurries_long_before_its_shard_is_overfull() {
        let config = RecordConfig {
            kind: EngineKind::Memory(MemoryEngine::new()),
            batch_bytes: 100_000,
            pending_bytes_max: 300_000,
            ..RecordConfig::default()
        };
        let (store, writer) =
            RecordStore::open(Arc::new(SimDisk::new()), Path::new("/records"), config).expect("opens");
        let shard = store.shard(GroupId { shard: 1, replica: 1 }).expect("opens");
        let (tenant, operation) = (Tenant::new("t").expect("valid"), Operation::new("o").expect("valid"));
        let address = |n| Address::new(&tenant, &operation, &Key::new(format!("k{n}")).expect("valid"));
        let mut changes = (0..).map(|n| shard.apply([(address(n), None)], AppliedMeta::default()));
        let at = changes.by_ref().map(|()| shard.pending().changed_bytes).find(|_| writer.hurries());
        assert!(at.is_some_and(|bytes| (50_000..60_000).contains(&bytes)), "{at:?}");
        assert!(!shard.overfull());
        let defaults = RecordConfig::default();
        assert!(defaults.batch().0 * 5 / 2 <= defaults.pending_bytes_max, "there is room for it to catch up");
    }
}
