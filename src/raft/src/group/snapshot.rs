//! Snapshots of a group: built, handed out, installed.
//!
//! A snapshot is logical. Building one flushes and fsyncs the record store, so that the log may be
//! purged up to it; handing one out takes a consistent view of the engine and returns at once; its
//! records are read only when a follower needs them. Position and records come from the same view,
//! so that there are never two contents under one position.

use crate::codec;
use crate::group::shard::Shard;
use crate::serve::pending::Pending;
use crate::types::{SnapshotMeta, Types, log_id, position};
use hapax_core::ShardState;
use hapax_store::records::{SnapshotSink, SnapshotSource};
use openraft::RaftSnapshotBuilder;
use openraft::storage::Snapshot;
use std::io;
use std::sync::Arc;

/// What a snapshot is made of, on its way out or in.
#[derive(Debug)]
pub enum SnapshotData {
    /// A view of this node's engine.
    Source(SnapshotSource),
    /// Received from a peer, checked, and not yet installed.
    Received(Box<SnapshotSink>),
}

/// Builds one snapshot.
pub struct SnapshotBuilder {
    shard: Arc<Shard>,
}

impl SnapshotBuilder {
    /// Of this replica.
    #[must_use]
    pub fn new(shard: Arc<Shard>) -> Self {
        Self { shard }
    }
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> Result<openraft::alias::SnapshotOf<Types, SnapshotData>, io::Error> {
        self.shard.records.flush().await.map_err(io::Error::other)?;
        let source = self.shard.records.view().map_err(io::Error::other)?;
        let meta = meta_of(&source)?;
        Ok(Snapshot { meta, snapshot: SnapshotData::Source(source) })
    }
}

/// What openraft wants to know of a view.
///
/// # Errors
/// When the stored membership does not decode.
pub fn meta_of(source: &SnapshotSource) -> io::Result<SnapshotMeta> {
    let meta = source.meta();
    Ok(SnapshotMeta {
        last_log_id: meta.position.map(log_id),
        last_membership: codec::decode_membership(&meta.membership)?,
    })
}

/// Replaces the replica's state by a received snapshot, durably.
///
/// # Errors
/// When the store cannot be replaced, or the snapshot is not the one announced.
pub fn install(shard: &Shard, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
    if shard.applied.lock().is_retired {
        return Err(io::Error::other("the replica has stopped"));
    }
    let sink = match data {
        SnapshotData::Received(sink) => sink,
        // At start openraft may offer our own view back; it is what we have.
        SnapshotData::Source(source) if source.meta().position == shard.records.applied().position => {
            return Ok(());
        }
        SnapshotData::Source(source) => {
            let mut sink = shard.records.install().map_err(io::Error::other)?;
            for chunk in source.chunks() {
                sink.write(&chunk.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
            Box::new(sink)
        }
    };
    let installed = sink.finish().map_err(io::Error::other)?;
    if installed.position != meta.last_log_id.as_ref().map(position) {
        return Err(io::Error::other("the snapshot is not the one announced"));
    }
    let held: Vec<Pending> = {
        let mut applied = shard.applied.lock();
        applied.state = ShardState {
            shard: shard.shard,
            epoch: installed.epoch,
            index: installed.position.map_or(0, |position| position.index),
            time: installed.time,
            digest: installed.digest,
        };
        applied.position = installed.position;
        applied.membership = codec::decode_membership(&installed.membership)?;
        applied.digests.clear();
        // A replica that knows the present time is never behind its own state. One that does not is
        // told nothing about the present by a snapshot of the past.
        let mut clock = shard.clock.lock();
        if let (Some(_), Some(position)) = (clock.anchor(), installed.position) {
            clock.heard(position.term, installed.time, shard.env.clock.boot_ms());
        }
        drop(clock);
        applied.waiters.take_all()
    };
    shard.wake(held);
    let index = installed.position.map_or(0, |position| position.index);
    tracing::info!(shard = shard.shard, index, "installed a snapshot");
    Ok(())
}
