//! Opening a replica: its log, its records, and whether the two belong together.
//!
//! A damaged log stops the replica: it must not vote again under its id. A damaged or lagging
//! record store is wiped and made again, from the log where that reaches back to the beginning,
//! else from a peer. Where neither is possible the replica stays stopped, loudly.

use crate::codec;
use crate::context::{Context, Placement};
use crate::group::log_store::newest_stamped;
use crate::group::rebuild;
use crate::group::shard::{AppliedState, Shard};
use crate::observe::Anomaly;
use crate::serve::reader::Reads;
use crate::stop::StopFlag;
use crate::types::Types;
use hapax_core::ShardState;
use hapax_core::prevented::CountedPairs;
use hapax_store::log::{GroupId, GroupLog, LogError, LogPosition};
use hapax_store::records::{ShardRecords, StoreError};
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, watch};

/// Calls whose prevented value is remembered as counted, for each shard.
const COUNTED: usize = 65_536;

/// Why a replica does not run.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log is damaged, or its disk failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The record store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored of the group's members does not decode.
    #[error(transparent)]
    Codec(#[from] codec::PayloadError),
    /// The records are lost and there is no peer to make them again from.
    #[error(
        "the records are lost, the log does not reach back to the beginning, and there is no other replica"
    )]
    Lost,
    /// The records turned out damaged while the consensus applied what they lacked.
    #[error("the records are damaged: {0}")]
    Damaged(openraft::errors::Fatal<Types>),
    /// The consensus did not start.
    #[error("the consensus did not start: {0}")]
    Raft(#[from] openraft::errors::Fatal<Types>),
}

/// What was opened.
pub struct Opened {
    /// The group's log.
    pub log: GroupLog,
    /// The records.
    pub records: Arc<ShardRecords>,
    /// The last stamped entry that the log holds.
    pub newest: Option<LogPosition>,
}

/// Opens log and records and sees to it that the log goes on where the records end. Records that
/// turned out damaged when the replica last ran are made again in any case.
///
/// # Errors
/// [`OpenError`].
pub async fn open(context: &Context, placement: &Placement, damaged: bool) -> Result<Opened, OpenError> {
    let id = placement.log_group();
    let log = context.log.group(id);
    let state = match log.state() {
        Ok(state) => state,
        Err(error) => {
            if matches!(error, LogError::Quarantined { .. }) {
                context.observer.anomaly(placement.shard, Anomaly::Quarantined);
            }
            return Err(error.into());
        }
    };
    let records = match context.records.shard(id) {
        Ok(_) if damaged => None,
        Err(error) if error.is_damage() => {
            tracing::error!(shard = placement.shard, %error, "the record store is damaged and is wiped");
            None
        }
        other => Some(other?),
    };
    let applied =
        records.as_ref().and_then(|records| records.applied().position).map(|position| position.index);
    let purged = state.purged.map(|position| position.index);
    let follows = purged.is_none() || applied >= purged;
    let records = match records {
        Some(records) if follows => records,
        _ => remake(context, placement, id, &log, purged).await?,
    };
    if let Some(applied) = records.applied().position {
        drop_overtaken(&log, applied).await?;
    }
    let newest = newest_stamped(&log)?;
    Ok(Opened { log, records, newest })
}

/// Drops what the log holds from `applied` on where a later leader's entry took its place. Such entries were
/// never committed, but records that came from a peer do not wait for that leader to say so.
///
/// # Errors
/// What the log says.
pub async fn drop_overtaken(log: &GroupLog, applied: LogPosition) -> Result<(), LogError> {
    let state = log.state()?;
    let is_purged = state.purged.is_some_and(|purged| purged.index >= applied.index);
    if is_purged || state.last.is_none_or(|last| last.index < applied.index) {
        return Ok(());
    }
    let read = log.read(applied.index, applied.index + 1, 0)?;
    if read.first().is_some_and(|entry| entry.term < applied.term) {
        tracing::warn!(?applied, last = ?state.last, "entries that a later leader overtook are dropped");
        log.truncate_after(applied.index.checked_sub(1)).await?;
    }
    Ok(())
}

/// Wipes the records and makes them again.
async fn remake(
    context: &Context,
    placement: &Placement,
    id: GroupId,
    log: &GroupLog,
    purged: Option<u64>,
) -> Result<Arc<ShardRecords>, OpenError> {
    if purged.is_some() && placement.members.len() == 1 {
        return Err(OpenError::Lost);
    }
    context.observer.anomaly(placement.shard, Anomaly::RecordsWiped);
    tracing::error!(
        shard = placement.shard,
        ?purged,
        "the records do not reach the log; they are made again"
    );
    context.records.wipe(id)?;
    let records = context.records.shard(id)?;
    if let Some(purged) = log.state()?.purged {
        rebuild::fetch(context, placement, &records, purged).await?;
        // The hint may name entries that were applied once and are not any more.
        log.save_committed(records.applied().position)?;
    }
    Ok(records)
}

/// The shared parts of a replica that was opened.
#[must_use]
pub fn shard(
    context: &Context,
    placement: &Placement,
    opened: &Opened,
    woken: mpsc::UnboundedSender<Reads>,
) -> Shard {
    let meta = opened.records.applied();
    let state = ShardState {
        shard: placement.shard,
        epoch: meta.epoch,
        index: meta.position.map_or(0, |position| position.index),
        time: meta.time,
        digest: meta.digest,
    };
    let membership = codec::decode_membership(&meta.membership).unwrap_or_else(|error| {
        tracing::error!(shard = placement.shard, %error, "the stored membership does not decode; the log's is taken");
        Default::default()
    });
    let applied = AppliedState {
        state,
        position: meta.position,
        membership,
        is_retired: false,
        digests: Default::default(),
        waiters: Default::default(),
        quota: None,
    };
    let clock = context.clocks.clock(placement.shard);
    clock.lock().open(opened.newest);
    Shard {
        shard: placement.shard,
        replica: placement.replica,
        env: context.env.clone(),
        records: Arc::clone(&opened.records),
        applied: parking_lot::Mutex::new(applied),
        clock,
        readings: Arc::clone(&context.readings),
        lead: watch::Sender::new(None),
        damaged: StopFlag::new(),
        differs: StopFlag::new(),
        waits_changed: Notify::new(),
        woken,
        counted: parking_lot::Mutex::new(CountedPairs::new(COUNTED)),
        node_waiters: Arc::clone(&context.waiters),
        looks: Arc::clone(&context.looks),
        observer: Arc::clone(&context.observer),
    }
}
