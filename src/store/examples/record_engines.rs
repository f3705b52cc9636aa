//! Measures the record store over each engine: `cargo run --release -p hapax-store --example record_engines -- DIR`.
//!
//! Keys are claimed and completed as the Raft layer would apply them, in entries of 200 commands over 16 shards,
//! with the writer on a thread of its own; then the store is flushed, measured, opened again and streamed as
//! snapshots. Each claim lives past a batch, so that every record is written twice.

#![expect(clippy::print_stdout, reason = "it is a report")]

use hapax_core::command::{Claim, Complete, FORMAT};
use hapax_core::{
    Address, Batch, Blob, Command, Fields, Fingerprint, Key, LogTime, Metadata, Nonce, Operation, Outcome,
    OutcomeClass, Policy, Principal, ShardState, Tenant, Terms, Token, Verb, apply_batch,
};
use hapax_store::disk::RealDisk;
use hapax_store::log::{GroupId, LogPosition};
use hapax_store::records::{
    AppliedMeta, EngineKind, RecordConfig, RecordStore, RecordWriter, ShardRecords, StoreError,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SHARDS: u32 = 16;
const KEYS: u64 = 320_000;
const ENTRY: u64 = 200;
const RESULT_BYTES: usize = 300;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let dir = std::env::args().nth(1).ok_or("usage: record_engines DIR")?;
    println!("engine  applied/s  wait for room  cpu s  flushed after  disk MiB  open ms  snapshot us/record");
    for (name, kind) in [("fjall", EngineKind::Fjall), ("sled", EngineKind::Sled)] {
        measure(name, kind, &Path::new(&dir).join(name))?;
    }
    Ok(())
}

fn open(dir: &Path, config: &RecordConfig) -> Result<(RecordStore, RecordWriter), StoreError> {
    RecordStore::open(Arc::new(RealDisk), dir, config.clone())
}

fn run_writer(writer: RecordWriter, start: Instant) -> std::thread::JoinHandle<Result<(), StoreError>> {
    let clock = move || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    std::thread::spawn(move || writer.run_blocking(clock))
}

fn measure(name: &str, kind: EngineKind, dir: &Path) -> Result<(), Failure> {
    let config = RecordConfig { kind, ..RecordConfig::default() };
    let (start, cpu) = (Instant::now(), cpu_time());
    let (store, writer) = open(dir, &config)?;
    let writing = run_writer(writer, start);
    let shards = open_shards(&store)?;
    let waited = apply_all(&shards)?;
    let applied = start.elapsed();
    store.close();
    writing.join().map_err(|_| "the writer panicked")??;
    let flushed = start.elapsed() - applied;
    let disk_mib = store.size_bytes() >> 20;
    let cpu = cpu_time().saturating_sub(cpu);
    drop((shards, store));

    let start = Instant::now();
    let (store, _writer) = open(dir, &config)?;
    let shards = open_shards(&store)?;
    let opened = start.elapsed();
    let start = Instant::now();
    for shard in &shards {
        for chunk in shard.view()?.chunks() {
            chunk?;
        }
    }
    let scanned_us = u64::try_from(start.elapsed().as_micros())? as f64 / KEYS as f64;
    let rate = (2 * KEYS) as f64 / applied.as_secs_f64();
    println!(
        "{name:6}  {rate:9.0}  {:11.2} s  {:5.1}  {:11.2} s  {disk_mib:8}  {:7}  {scanned_us:18.2}",
        waited.as_secs_f64(),
        cpu.as_secs_f64(),
        flushed.as_secs_f64(),
        opened.as_millis(),
    );
    Ok(())
}

fn open_shards(store: &RecordStore) -> Result<Vec<Arc<ShardRecords>>, StoreError> {
    (0..SHARDS).map(|shard| store.shard(GroupId { shard, replica: 1 })).collect()
}

/// Claims, and completes what was claimed `LAG` entries before. Says how long it waited for room in the overlay.
fn apply_all(shards: &[Arc<ShardRecords>]) -> Result<Duration, Failure> {
    const LAG: u64 = 40;
    let mut states: Vec<_> = (0..SHARDS).map(|shard| ShardState::new(shard, 0)).collect();
    let entries = KEYS / ENTRY / u64::from(SHARDS);
    let mut waited = Duration::ZERO;
    for entry in 1..=entries + LAG {
        for (shard, state) in shards.iter().zip(&mut states) {
            while shard.overfull() {
                std::thread::sleep(Duration::from_millis(1));
                waited += Duration::from_millis(1);
            }
            let keys = |entry: u64| (entry - 1) * ENTRY..entry * ENTRY;
            let mut commands = Vec::new();
            if entry <= entries {
                commands.extend(keys(entry).map(claim));
            }
            if entry > LAG {
                let done = keys(entry - LAG).zip(0u32..);
                commands
                    .extend(done.filter_map(|(key, at)| complete(key, Token::of_grant(0, entry - LAG, at)?)));
            }
            let mut changes = shard.begin();
            apply_batch(state, &Batch { time: LogTime(entry), commands }, entry, &mut changes)?;
            changes.commit(AppliedMeta {
                position: Some(LogPosition { term: 1, index: entry }),
                time: state.time,
                digest: state.digest,
                ..AppliedMeta::default()
            });
        }
    }
    Ok(waited)
}

fn address(key: u64) -> Address {
    let tenant = Tenant::new("acme/merchant-42").expect("valid");
    let operation = Operation::new("payments.charge").expect("valid");
    // Keys come in no order, as callers' keys do.
    let key = format!("{:016x}", key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    Address::new(&tenant, &operation, &Key::new(key).expect("valid"))
}

fn command(key: u64, verb: Verb) -> Command {
    Command { format: FORMAT, principal: Principal::default(), not_after: None, address: address(key), verb }
}

fn claim(key: u64) -> Command {
    let policy = Policy::default();
    let terms = Terms {
        on_lapse: policy.on_lapse,
        mode: policy.mode,
        max_hold_ms: policy.max_hold_ms,
        abandoned_ms: policy.abandoned_ms,
        retention_success_ms: policy.retention_success_ms,
        memory_ms: policy.memory_ms,
    };
    let mut nonce = [1; 16];
    nonce[..8].copy_from_slice(&key.to_le_bytes());
    let claim = Claim {
        fingerprint: Fingerprint { algorithm: 1, digest: [7; 32] },
        fields: Fields::default(),
        nonce: Nonce::try_from(nonce).expect("not zero"),
        lease_ms: 30_000,
        first_sent: None,
        label: None,
        trace: None,
        value: None,
        name_fields: true,
        terms,
    };
    command(key, Verb::Claim(claim))
}

fn complete(key: u64, token: Token) -> Option<Command> {
    let outcome = Outcome {
        class: OutcomeClass::Success,
        result: Blob::from(vec![b'x'; RESULT_BYTES]),
        metadata: Metadata::default(),
    };
    Some(command(key, Verb::Complete(Complete { token, outcome, retention_ms: 86_400_000 })))
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
