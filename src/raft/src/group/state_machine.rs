//! Apply: committed entries become changes of records.
//!
//! The pure core decides; this module feeds it and keeps what comes back. It never waits for the
//! engine: changes go to the record store's overlay, and a background writer moves them on. An
//! entry is applied under the lock of applied state, so that readers see all of it or none. A
//! deterministic refusal is a reply; anything else (bytes that do not decode, an engine that fails)
//! is an error, on which openraft stops this replica rather than let it differ from its peers.

use crate::codec;
use crate::group::shard::{AppliedState, Shard};
use crate::group::snapshot::{SnapshotBuilder, SnapshotData};
use crate::types::{
    Applied, Entry, Payload, Proposal, SnapshotMeta, StoredMembership, Types, log_id, position,
};
use futures_util::{Stream, TryStreamExt};
use hapax_core::seeded::{self, Bug};
use hapax_core::{Address, LogTime, Record, Records};
use hapax_store::address_map::AddressMap;
use hapax_store::log::LogPosition;
use hapax_store::records::{AppliedMeta, StoreError};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;

/// An address and what is stored there from now on.
type Change = (Address, Option<Arc<Record>>);

/// The state machine of one replica.
pub struct StateMachine {
    shard: Arc<Shard>,
    /// Closes when openraft's worker has let go of this.
    _in_use: mpsc::Sender<Infallible>,
}

impl StateMachine {
    /// Over the replica's shared parts. The receiver ends when the state machine is no longer in use.
    #[must_use]
    pub fn new(shard: Arc<Shard>) -> (Self, mpsc::Receiver<Infallible>) {
        let (in_use, released) = mpsc::channel(1);
        (Self { shard, _in_use: in_use }, released)
    }

    fn apply_entry(&self, entry: &Entry) -> io::Result<Applied> {
        let at = position(&entry.log_id);
        let mut applied = self.shard.applied.lock();
        if applied.is_retired {
            return Err(io::Error::other("the replica has stopped"));
        }
        let mut changes = Vec::new();
        let mut result = Applied::default();
        match &entry.payload {
            Payload::Blank => applied.state.skip_to(at.index),
            Payload::Membership(membership) => {
                applied.state.skip_to(at.index);
                applied.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            }
            Payload::Normal(proposal) => {
                (result, changes) = self.apply_commands(&mut applied, at, proposal)?;
            }
        }
        applied.position = Some(at);
        let digest = applied.state.digest.to_le_bytes();
        applied.digests.note(at.index, digest);
        let is_waited_for = !applied.waiters.is_empty();
        let changed: Vec<Address> = if is_waited_for {
            changes.iter().map(|(address, _)| address.clone()).collect()
        } else {
            Vec::new()
        };
        self.shard.records.apply(changes, meta_of(&applied));
        if is_waited_for {
            self.wake(&mut applied, &changed);
        }
        Ok(result)
    }

    fn apply_commands(
        &self,
        applied: &mut AppliedState,
        at: LogPosition,
        proposal: &Proposal,
    ) -> io::Result<(Applied, Vec<Change>)> {
        let mut batch = hapax_store::codec::batch::decode_batch(&proposal.0).map_err(io::Error::other)?;
        if seeded::active(Bug::WallInApply) {
            batch.time = LogTime(self.shard.env.clock.wall_ms());
        }
        let leads = self.shard.lead().is_some();
        let mut view = View { shard: &self.shard, changes: AddressMap::default() };
        let AppliedState { state, quota, .. } = applied;
        let replies = hapax_core::apply_batch_with(state, &batch, at.index, &mut view, |step| {
            if let Some(quota) = quota {
                quota.apply(&step);
            }
            if leads {
                self.shard.report(step.found, step.command, step.reply, step.at.time);
            }
        })
        .map_err(|error| io::Error::other(error.to_string()))?;
        let changes = view.changes.into_iter().collect();
        Ok((Applied { replies, time: state.time }, changes))
    }

    /// Wakes those who waited for what this entry changed, and for leases that its log time ends.
    fn wake(&self, applied: &mut AppliedState, changed: &[Address]) {
        let now = applied.state.time;
        let mut woken = Vec::new();
        for address in changed {
            woken.extend(applied.waiters.take(address));
        }
        woken.extend(applied.waiters.take_lapsed(now));
        self.shard.wake(woken);
    }
}

/// What the record store keeps beside the records.
#[must_use]
pub fn meta_of(applied: &AppliedState) -> AppliedMeta {
    AppliedMeta {
        position: applied.position,
        time: applied.state.time,
        digest: applied.state.digest,
        epoch: applied.state.epoch,
        membership: codec::encode_membership(&applied.membership).into(),
        format: hapax_core::command::FORMAT,
    }
}

/// The records as one entry sees them: its own earlier changes first, then the store.
struct View<'a> {
    shard: &'a Shard,
    changes: AddressMap<Option<Arc<Record>>>,
}

impl Records for View<'_> {
    type Error = StoreError;

    fn get(&mut self, address: &Address) -> Result<Option<Arc<Record>>, StoreError> {
        match self.changes.get(address) {
            Some(changed) => Ok(changed.clone()),
            None => self.shard.record(address),
        }
    }

    fn put(&mut self, address: &Address, record: Option<Arc<Record>>) -> Result<(), StoreError> {
        self.changes.insert(address.clone(), record);
        Ok(())
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<openraft::alias::LogIdOf<Types>>, StoredMembership), io::Error> {
        let applied = self.shard.applied.lock();
        Ok((applied.position.map(log_id), applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let result = self.apply_entry(&entry)?;
            if let Some(responder) = responder {
                responder.send(result);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(Arc::clone(&self.shard))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        crate::env::blocking(|| crate::group::snapshot::install(&self.shard, meta, snapshot))
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<openraft::alias::SnapshotOf<Types, SnapshotData>>, io::Error> {
        let source = self.shard.records.view().map_err(io::Error::other)?;
        let meta = crate::group::snapshot::meta_of(&source)?;
        Ok(meta.last_log_id.is_some().then_some(Snapshot { meta, snapshot: SnapshotData::Source(source) }))
    }
}
