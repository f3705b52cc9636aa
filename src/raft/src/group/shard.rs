//! What all parts of one replica share: its applied state, its clock, and whether it leads.
//!
//! **Lock order**: `applied` before `clock`. Neither is held across an await.

use crate::env::Env;
use crate::group::digests::DigestRing;
use crate::ids::{NodeId, ReplicaId};
use crate::observe::Observer;
use crate::serve::reader::Reads;
use crate::serve::waiters::Waiters;
use crate::stop::StopFlag;
use crate::time::readings::Readings;
use crate::time::stamp::ShardClock;
use crate::types::StoredMembership;
use hapax_core::prevented::{CountedPairs, Event, event};
use hapax_core::quota::QuotaLedger;
use hapax_core::seeded::{self, Bug};
use hapax_core::{Address, Basis, Command, LogTime, Record, Reply, ShardState, Witness};
use hapax_store::log::LogPosition;
use hapax_store::records::{ShardRecords, StoreError};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, Semaphore, watch};

/// The state after the last applied entry.
pub struct AppliedState {
    /// Log time, index and digest.
    pub state: ShardState,
    /// The last applied entry.
    pub position: Option<LogPosition>,
    /// The members as of it.
    pub membership: StoredMembership,
    /// Set when the replica has stopped: what its consensus still had in hand must not be applied
    /// beside that of the one that replaces it.
    pub is_retired: bool,
    /// The digests remembered, to be compared with those of the peers.
    pub digests: DigestRing,
    /// Callers held until something here changes.
    pub waiters: Waiters,
    /// What each tenant's operation holds here; kept by a leader, where any policy has a quota.
    pub quota: Option<QuotaLedger>,
}

/// That this replica leads, and is ready to stamp and propose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Its term.
    pub term: u64,
}

/// One replica's shared parts.
pub struct Shard {
    /// The shard.
    pub shard: u32,
    /// This member.
    pub replica: ReplicaId,
    /// Clocks and randomness.
    pub env: Env,
    /// The records, overlay and engine.
    pub records: Arc<ShardRecords>,
    /// Everything that apply moves; locked for one entry at a time.
    pub applied: Mutex<AppliedState>,
    /// Log time as this node knows it: it outlives the replica.
    pub clock: Arc<Mutex<ShardClock>>,
    /// The wall clocks of all nodes.
    pub readings: Arc<Mutex<Readings>>,
    /// Whether this replica leads and may propose.
    pub lead: watch::Sender<Option<Lead>>,
    /// Raised when something stored turned out damaged: the replica must stop and be made again.
    pub damaged: StopFlag,
    /// Raised when the peers' digests say that this replica is wrong, or may be: it must stop.
    pub differs: StopFlag,
    /// Woken whenever the earliest deadline that somebody waits for may have changed.
    pub waits_changed: Notify,
    /// Calls on their way back to the reader: apply woke them, or their records were read from the disk.
    pub woken: tokio::sync::mpsc::UnboundedSender<Reads>,
    /// The calls whose prevented value was counted lately.
    pub counted: Mutex<CountedPairs>,
    /// All waiters of this node together.
    pub node_waiters: Arc<AtomicUsize>,
    /// Places for looks of this node into its engine, of all shards together.
    pub looks: Arc<Semaphore>,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
}

impl Shard {
    /// The voters' nodes, as of the last applied membership.
    #[must_use]
    pub fn voter_nodes(&self) -> Vec<NodeId> {
        let applied = self.applied.lock();
        applied.membership.voter_ids().map(|id| ReplicaId::from_u64(id).node()).collect()
    }

    /// The lower median of the voters' wall clocks, where a quorum of them is fresh.
    #[must_use]
    pub fn median_wall_ms(&self) -> Option<u64> {
        let voters = self.voter_nodes();
        let boot_ms = self.env.clock.boot_ms();
        self.readings.lock().lower_median(self.replica.node(), self.env.clock.wall_ms(), &voters, boot_ms)
    }

    /// A leader's stamp now; absent until its clock is set.
    #[must_use]
    pub fn stamp(&self) -> Option<LogTime> {
        if seeded::active(Bug::StampOwnWall) {
            self.clock.lock().known_elsewhere(LogTime(self.env.clock.wall_ms()), self.env.clock.boot_ms());
        }
        let median = self.median_wall_ms();
        self.clock.lock().stamp(self.env.clock.boot_ms(), median)
    }

    /// Lets a leader's word of the time into the clock, and says so when it is the first.
    pub fn hear(&self, take: impl FnOnce(&mut ShardClock)) {
        let is_first = {
            let mut clock = self.clock.lock();
            let is_first = clock.anchor().is_none();
            take(&mut clock);
            is_first && clock.anchor().is_some()
        };
        if is_first {
            tracing::info!(shard = self.shard, "the replica knows the log time");
        }
    }

    /// Whether this replica leads and may propose, and in which term.
    #[must_use]
    pub fn lead(&self) -> Option<Lead> {
        *self.lead.borrow()
    }

    /// Counts what a reply prevented or showed.
    pub fn report(&self, found: Option<&Record>, command: &Command, reply: &Reply, now: LogTime) {
        let Some(event) = event(found, command, reply, now) else { return };
        let first = match &event {
            Event::DuplicateInFlight(prevented)
            | Event::Replay(prevented)
            | Event::BlockedInDoubt(prevented) => self.counted.lock().count(prevented),
            _ => false,
        };
        self.observer.event(self.shard, &event, first);
    }

    /// The stored record of an address. Damage stops the replica.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn record(&self, address: &Address) -> Result<Option<Arc<Record>>, StoreError> {
        self.records.get(address).inspect_err(|error| {
            tracing::error!(shard = self.shard, %error, "a record could not be read");
            self.note(error);
        })
    }

    /// Stops the replica where an error of the record store means damage, however it was come upon.
    pub fn note(&self, error: &StoreError) {
        if error.is_damage() {
            self.damaged.raise();
        }
    }

    /// Sends woken callers back to be read again.
    pub fn wake(&self, pending: Vec<crate::serve::pending::Pending>) {
        if pending.is_empty() {
            return;
        }
        self.node_waiters.fetch_sub(pending.len(), Ordering::Relaxed);
        if let Err(error) = self.woken.send(Reads::Unconfirmed(pending)) {
            crate::serve::reader::refuse_torn_down(self, error.0.into_calls());
        }
    }
}

impl AppliedState {
    /// From where a reply read now is given.
    #[must_use]
    pub fn read_witness(&self) -> Witness {
        Witness {
            shard: self.state.shard,
            index: self.state.index,
            position: 0,
            time: self.state.time,
            basis: Basis::Read,
        }
    }
}
