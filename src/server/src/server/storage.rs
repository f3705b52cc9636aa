//! The data directory: lock, identity, log and records, with the threads that write them.

use super::world::{Ended, World};
use crate::config::{Config, Engine};
use anyhow::Context as _;
use hapax_raft::env::Env;
use hapax_raft::ids::NodeId;
use hapax_store::identity::{DataDir, Expected};
use hapax_store::log::{Log, LogConfig};
use hapax_store::records::{EngineKind, OnFatal, RecordConfig, RecordStore, RecordWriter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything on disk, open.
pub(super) struct Storage {
    pub(super) dir: DataDir,
    pub(super) log: Log,
    pub(super) records: RecordStore,
    /// The record store was damaged as a whole and begins anew.
    pub(super) wiped: bool,
    writers_ended: Ended,
}

impl Storage {
    /// Opens everything. Blocks for as long as recovery takes.
    pub(super) fn open(config: &Config, world: &World) -> anyhow::Result<Self> {
        let disk = &world.disk;
        let path = &config.node.data_dir;
        let expected = Expected {
            cluster_id: fold(config.cluster_id()),
            node_id: None,
            fresh_node_id: fresh_node_id(&world.env),
        };
        let dir = DataDir::open(disk, path, expected).context("node.data_dir")?;
        let (log, log_writer) = Log::open(Arc::clone(disk), &path.join("log"), log_config(config, world))
            .context("cannot open the log")?;
        let (records, record_writer, wiped) = open_records(config, world)?;
        let writers_ended = world.writers.start(log_writer, record_writer, &world.env)?;
        Ok(Self { dir, log, records, wiped, writers_ended })
    }

    /// This node's id.
    pub(super) fn node(&self) -> NodeId {
        NodeId::from_u64(self.dir.identity().node_id)
    }

    /// Writes and syncs everything, and ends the threads.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let Self { dir, log, records, writers_ended, .. } = self;
        records.close();
        log.flush_and_stop().await.context("cannot flush the log")?;
        writers_ended.await?;
        // The lock goes last: nobody may open a directory that is still written.
        drop(dir);
        Ok(())
    }
}

fn log_config(config: &Config, world: &World) -> LogConfig {
    let fatal = Arc::clone(&world.fatal);
    LogConfig {
        segment_bytes: config.storage.segment_bytes,
        reserve_bytes: config.storage.reserve_bytes,
        cache_bytes_per_group: usize::try_from(config.storage.cache_bytes_per_shard).unwrap_or(usize::MAX),
        fatal: Arc::new(move |error| fatal(&format!("the log failed: {error}"))),
        clock: Arc::clone(&world.monotonic),
        ..world.tuning.log.clone()
    }
}

/// Opens the records; a store that is damaged as a whole begins anew, and is filled from the log or
/// from peers, or its replicas stay out of service.
fn open_records(config: &Config, world: &World) -> anyhow::Result<(RecordStore, RecordWriter, bool)> {
    let disk = &world.disk;
    let kind = world.engine.clone().unwrap_or(match config.storage.engine {
        Engine::Fjall => EngineKind::Fjall,
        Engine::Sled => EngineKind::Sled,
    });
    let dir: PathBuf = config.node.data_dir.join("records");
    let open = || {
        // The log refuses first; what it took by then still finds room here.
        let reserve_bytes = config.storage.reserve_bytes / 2;
        let fatal = Arc::clone(&world.fatal);
        let fatal = OnFatal::new(move |error| fatal(&format!("the record store failed: {error}")));
        let kind = kind.clone();
        let config = RecordConfig { kind, reserve_bytes, fatal, ..world.tuning.records.clone() };
        RecordStore::open(Arc::clone(disk), &dir, config)
    };
    match open() {
        Ok((records, writer)) => Ok((records, writer, false)),
        Err(error) if error.is_damage() => {
            tracing::error!(%error, "the record store is damaged and is made anew");
            RecordStore::destroy(disk.as_ref(), &dir, &kind)
                .context("cannot remove the damaged record store")?;
            let (records, writer) = open().context("cannot open the record store")?;
            Ok((records, writer, true))
        }
        Err(error) => Err(error).context("cannot open the record store"),
    }
}

/// The cluster id in the eight bytes that a data directory keeps of it.
fn fold(cluster: [u8; 16]) -> u64 {
    let number = u128::from_be_bytes(cluster);
    let folded = (number >> 64) ^ (number & u128::from(u64::MAX));
    // 0 stands for none.
    u64::try_from(folded).unwrap_or(u64::MAX).max(1)
}

/// A node id that no other node has: its low 16 bits are the replicas'.
fn fresh_node_id(env: &Env) -> u64 {
    loop {
        let id = NodeId::from_u64(env.random_u64()).as_u64();
        if id != 0 {
            return id;
        }
    }
}

/// How long a node may take to write what is left, once everything else has ended.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(30);
