//! What the tests of the record store share: a replica that applies commands as the Raft layer does.

#![allow(dead_code, reason = "each test file uses its part")]

use hapax_core::command::{Claim, Complete, FORMAT, Release, Renew};
use hapax_core::{
    Address, Batch, Blob, Command, Fields, Fingerprint, Key, LogTime, Metadata, Nonce, Operation, Outcome,
    OutcomeClass, Policy, Principal, Record, Reply, ShardState, Tenant, Terms, Token, Verb, apply_batch,
};
use hapax_store::disk::{Disk, RealDisk, SimDisk};
use hapax_store::log::{GroupId, LogPosition};
use hapax_store::records::{
    AppliedMeta, EngineConfig, EngineKind, MemoryEngine, RecordConfig, RecordStore, RecordWriter,
    ShardRecords, StoreError,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The replica that most tests use.
pub(crate) const ID: GroupId = GroupId { shard: 3, replica: 7 };

/// Where a store lives, across crashes and restarts of it.
pub(crate) struct Home {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) config: RecordConfig,
    _temporary: Option<tempfile::TempDir>,
}

/// Small bounds, so that little data goes through every path.
pub(crate) fn config(kind: EngineKind) -> RecordConfig {
    let engine = EngineConfig {
        block_cache_bytes: 4 << 20,
        memtable_bytes: 64 << 10,
        table_bytes_min: 8 << 10,
        journal_bytes: 64 << 20,
        worker_threads: 1,
    };
    RecordConfig { kind, engine, batch_ms: 500, cache_bytes_max: 64 << 10, ..RecordConfig::default() }
}

impl Home {
    /// On the real disk, in a directory of its own.
    pub(crate) fn real(kind: EngineKind) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path().join("records");
        Self { disk: Arc::new(RealDisk), dir, config: config(kind), _temporary: Some(temporary) }
    }

    /// In memory.
    pub(crate) fn memory(engine: MemoryEngine, disk: SimDisk) -> Self {
        let config = config(EngineKind::Memory(engine));
        Self { disk: Arc::new(disk), dir: PathBuf::from("/records"), config, _temporary: None }
    }

    /// One for each engine.
    pub(crate) fn all() -> Vec<(&'static str, Self)> {
        vec![
            ("memory", Self::memory(MemoryEngine::new(), SimDisk::new())),
            ("fjall", Self::real(EngineKind::Fjall)),
            ("sled", Self::real(EngineKind::Sled)),
        ]
    }

    pub(crate) fn open(&self) -> Result<(RecordStore, RecordWriter), StoreError> {
        RecordStore::open(Arc::clone(&self.disk), &self.dir, self.config.clone())
    }

    pub(crate) fn replica(&self) -> Replica {
        let (store, writer) = self.open().expect("the store opens");
        Replica::new(store, writer, ID).expect("the shard opens")
    }
}

/// A shard replica as the Raft layer drives it.
pub(crate) struct Replica {
    pub(crate) store: RecordStore,
    pub(crate) writer: RecordWriter,
    pub(crate) shard: Arc<ShardRecords>,
    pub(crate) state: ShardState,
    pub(crate) now_ms: u64,
}

impl Replica {
    pub(crate) fn new(store: RecordStore, writer: RecordWriter, id: GroupId) -> Result<Self, StoreError> {
        let shard = store.shard(id)?;
        let state = state_of(id, &shard.applied());
        Ok(Self { store, writer, shard, state, now_ms: 0 })
    }

    /// Applies a batch as the next entry.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Vec<Reply> {
        let index = self.state.index + 1;
        apply_entry(&self.shard, &mut self.state, batch, index)
    }

    /// Writes what was applied into the engine, without a sync.
    pub(crate) fn write(&mut self) {
        self.now_ms += 500;
        self.writer.step(self.now_ms).expect("the writer goes on");
    }

    /// Writes and syncs.
    pub(crate) fn sync(&mut self) {
        for _ in 0..3 {
            self.now_ms += 20_000;
            self.writer.step(self.now_ms).expect("the writer goes on");
        }
        assert_eq!(self.shard.durable(), self.shard.applied().position, "everything is durable");
    }

    /// Everything there, in order.
    pub(crate) fn contents(&self) -> BTreeMap<Address, Record> {
        let mut contents = BTreeMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.shard.scan(&[], after.as_deref(), 7).expect("a page");
            contents.extend(page.rows.into_iter().map(|(address, record)| (address, (*record).clone())));
            match page.next {
                Some(next) => after = Some(next),
                None => return contents,
            }
        }
    }

    /// What is there at a log time, settled: the same on every replica at one position.
    pub(crate) fn settled(&self, now: LogTime) -> BTreeMap<Address, Record> {
        settled(&self.contents(), now)
    }
}

pub(crate) fn settled(contents: &BTreeMap<Address, Record>, now: LogTime) -> BTreeMap<Address, Record> {
    let settle =
        |(address, record): (&Address, &Record)| Some((address.clone(), record.settle(now)?.into_owned()));
    contents.iter().filter_map(settle).collect()
}

/// Applies one entry of a log.
pub(crate) fn apply_entry(
    shard: &ShardRecords,
    state: &mut ShardState,
    batch: &Batch,
    index: u64,
) -> Vec<Reply> {
    let mut changes = shard.begin();
    let replies = apply_batch(state, batch, index, &mut changes).expect("the entry applies");
    changes.commit(meta_of(state));
    replies
}

pub(crate) fn meta_of(state: &ShardState) -> AppliedMeta {
    AppliedMeta {
        position: Some(LogPosition { term: 1, index: state.index }),
        time: state.time,
        digest: state.digest,
        epoch: state.epoch,
        membership: vec![1, 2, 3].into(),
        format: FORMAT,
    }
}

pub(crate) fn state_of(id: GroupId, meta: &AppliedMeta) -> ShardState {
    let new = ShardState::new(id.shard, meta.epoch);
    let index = meta.position.map_or(0, |position| position.index);
    ShardState { index, time: meta.time, digest: meta.digest, ..new }
}

pub(crate) fn address(key: u64) -> Address {
    let tenant = Tenant::new("acme/merchant-42").expect("valid");
    let operation = Operation::new("payments.charge").expect("valid");
    Address::new(&tenant, &operation, &Key::new(format!("order-{key:06}")).expect("valid"))
}

/// Short times, so that a few thousand ms of log time go through every state.
pub(crate) fn terms() -> Terms {
    let policy = Policy::default();
    Terms {
        on_lapse: policy.on_lapse,
        mode: policy.mode,
        max_hold_ms: 100_000,
        abandoned_ms: 1_000,
        retention_success_ms: 2_000,
        memory_ms: 1_000,
    }
}

pub(crate) fn command(key: u64, verb: Verb) -> Command {
    Command { format: FORMAT, principal: Principal::default(), not_after: None, address: address(key), verb }
}

pub(crate) fn batch(time_ms: u64, commands: Vec<Command>) -> Batch {
    Batch { time: LogTime(time_ms), commands }
}

pub(crate) fn claim(key: u64, nonce: u64, lease_ms: u64) -> Command {
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&nonce.to_le_bytes());
    command(
        key,
        Verb::Claim(Claim {
            fingerprint: Fingerprint::EMPTY,
            fields: Fields::default(),
            nonce: Nonce::try_from(bytes).expect("not zero"),
            lease_ms,
            first_sent: None,
            label: None,
            trace: None,
            value: None,
            name_fields: true,
            terms: terms(),
        }),
    )
}

pub(crate) fn complete(key: u64, token: Token, result: &[u8], retention_ms: u64) -> Command {
    let outcome =
        Outcome { class: OutcomeClass::Success, result: Blob::from(result), metadata: Metadata::default() };
    command(key, Verb::Complete(Complete { token, outcome, retention_ms }))
}

pub(crate) fn release(key: u64, token: Token) -> Command {
    command(key, Verb::Release(Release { token, reason: None }))
}

pub(crate) fn renew(key: u64, token: Token, seq: u64, lease_ms: u64, mark: bool) -> Command {
    let checkpoint = Some(Blob::from(seq.to_le_bytes().as_slice()));
    command(key, Verb::Renew(Renew { token, seq, lease_ms, checkpoint, mark }))
}

/// The token that the claim at this place in the log got, if it was granted.
pub(crate) fn token(index: u64, position: u32) -> Token {
    Token::of_grant(0, index, position).expect("in range")
}

/// A position of the tests' one term.
pub(crate) fn at(index: u64) -> Option<LogPosition> {
    Some(LogPosition { term: 1, index })
}

/// This test program again, to run one ignored test of it on a home, in a process of its own.
pub(crate) fn respawn(test: &str, home: &Home) -> std::process::Command {
    let program = std::env::current_exe().expect("a path");
    let mut command = std::process::Command::new(program);
    let kind = match home.config.kind {
        EngineKind::Fjall => "fjall",
        EngineKind::Sled => "sled",
        EngineKind::Memory(_) => unreachable!("memory does not outlive a process"),
    };
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command.env("HAPAX_TEST_HOME", &home.dir).env("HAPAX_TEST_ENGINE", kind);
    command
}

/// The home that a respawned test shall use; none when it is run by itself.
pub(crate) fn respawned() -> Option<Home> {
    let dir = std::env::var_os("HAPAX_TEST_HOME")?.into();
    let kind = match std::env::var("HAPAX_TEST_ENGINE").ok()?.as_str() {
        "sled" => EngineKind::Sled,
        _ => EngineKind::Fjall,
    };
    Some(Home { disk: Arc::new(RealDisk), dir, config: config(kind), _temporary: None })
}
