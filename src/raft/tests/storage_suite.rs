//! openraft's own storage suite over our log and state machine, for one group of a log that other
//! groups write to at the same time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use hapax_core::{Answer, Event, ShardState};
use hapax_raft::codec::decode_membership;
use hapax_raft::env::Env;
use hapax_raft::group::log_store::LogStore;
use hapax_raft::group::shard::{AppliedState, Shard};
use hapax_raft::group::state_machine::StateMachine;
use hapax_raft::ids::NodeId;
use hapax_raft::observe::{Anomaly, Observer};
use hapax_raft::stop::StopFlag;
use hapax_raft::types::Types;
use hapax_store::disk::{Disk, RealDisk};
use hapax_store::log::{GroupId, GroupLog, Log, LogConfig, LogEntry, LogError, LogPosition};
use hapax_store::records::{EngineKind, MemoryEngine, RecordConfig, RecordStore};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Notify, mpsc, watch};

struct Silent;

impl Observer for Silent {
    fn answered(&self, _: u32, _: &'static str, _: &Answer, _: u64) {}
    fn proposed(&self, _: u32, _: usize) {}
    fn event(&self, _: u32, _: &Event, _: bool) {}
    fn anomaly(&self, _: u32, _: Anomaly) {}
}

/// Builds an empty store for each test of the suite.
struct Builder {
    on_disk: bool,
    /// Entries that other groups got through while the suite ran.
    others: Arc<AtomicU64>,
}

/// Ends a store and the groups that write beside it.
struct Guard {
    _dir: tempfile::TempDir,
    records: RecordStore,
    busy: Arc<AtomicBool>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.busy.store(false, Ordering::Relaxed);
        self.records.close();
    }
}

impl StoreBuilder<Types, LogStore, StateMachine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let config = LogConfig {
            segment_bytes: 4 << 20,
            entry_bytes_max: 1 << 20,
            write_bytes_max: 1 << 20,
            reserve_bytes: 0,
            ..LogConfig::default()
        };
        let (log, writer) = Log::open(Arc::clone(&disk), &dir.path().join("log"), config).unwrap();
        let kind = if self.on_disk { EngineKind::Fjall } else { EngineKind::Memory(MemoryEngine::new()) };
        let config = RecordConfig { kind, ..RecordConfig::default() };
        let (records, record_writer) = RecordStore::open(disk, &dir.path().join("records"), config).unwrap();
        std::thread::spawn(move || writer.run_blocking());
        let clock = Env::real();
        std::thread::spawn(move || record_writer.run_blocking(move || clock.clock.boot_ms()));
        let busy = Arc::new(AtomicBool::new(true));
        for shard in 1..4 {
            tokio::spawn(write_beside(log.clone(), shard, Arc::clone(&busy), Arc::clone(&self.others)));
        }
        let shard = Arc::new(shard(&records));
        let group = log.create_group(GroupId { shard: 0, replica: shard.replica.as_u64() });
        let (machine, _) = StateMachine::new(Arc::clone(&shard));
        let guard = Guard { _dir: dir, records, busy };
        Ok((guard, LogStore::new(group, shard), machine))
    }
}

/// What another group does meanwhile: appends, votes, truncations, purges. It ends with its log.
async fn write_beside(log: Log, shard: u32, busy: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    let group = log.create_group(GroupId { shard, replica: 9 });
    let mut index = 0;
    while busy.load(Ordering::Relaxed) {
        if let Err(error) = write_once(&group, index).await {
            assert!(!busy.load(Ordering::Relaxed), "{error}");
        }
        index += 2;
        written.fetch_add(2, Ordering::Relaxed);
    }
}

async fn write_once(group: &GroupLog, index: u64) -> Result<(), LogError> {
    let entry = |index| LogEntry { term: 1, index, payload: bytes::Bytes::from(vec![0xee; 100]) };
    let (sender, synced) = tokio::sync::oneshot::channel();
    let done = Box::new(move |result: Result<(), _>| drop(sender.send(result)));
    group.append((index..index + 3).map(entry).collect(), done).await?;
    synced.await.map_err(|_| LogError::Stopped)??;
    group.save_vote(bytes::Bytes::from_static(b"theirs")).await?;
    group.truncate_after(Some(index + 1)).await?;
    if index % 20 == 18 {
        group.purge_to(LogPosition { term: 1, index: index - 10 }).await?;
    }
    Ok(())
}

fn shard(records: &RecordStore) -> Shard {
    let replica = NodeId::from_u64(1 << 20).replica(0);
    let records = records.shard(GroupId { shard: 0, replica: replica.as_u64() }).unwrap();
    let meta = records.applied();
    let index = meta.position.map_or(0, |position| position.index);
    let state = ShardState { shard: 0, epoch: meta.epoch, index, time: meta.time, digest: meta.digest };
    let applied = AppliedState {
        state,
        position: meta.position,
        membership: decode_membership(&meta.membership).unwrap(),
        is_retired: false,
        digests: Default::default(),
        waiters: Default::default(),
        quota: None,
    };
    let (woken, _) = mpsc::unbounded_channel();
    Shard {
        shard: 0,
        replica,
        env: Env::real(),
        records,
        applied: Mutex::new(applied),
        clock: Arc::default(),
        readings: Arc::default(),
        lead: watch::Sender::new(None),
        waits_changed: Notify::new(),
        woken,
        damaged: StopFlag::new(),
        differs: StopFlag::new(),
        counted: Mutex::new(hapax_core::CountedPairs::new(16)),
        node_waiters: Arc::default(),
        looks: hapax_raft::serve::cold::places(),
        observer: Arc::new(Silent),
    }
}

async fn run(on_disk: bool) {
    let others = Arc::new(AtomicU64::new(0));
    Suite::test_all(Builder { on_disk, others: Arc::clone(&others) }).await.unwrap();
    assert!(others.load(Ordering::Relaxed) > 100, "the other groups wrote meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_group_of_a_busy_log_passes_openrafts_suite_over_the_memory_engine() {
    run(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_group_of_a_busy_log_passes_openrafts_suite_over_fjall() {
    run(true).await;
}
