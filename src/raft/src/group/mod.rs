//! One replica of one shard: its consensus, its applied state, and the tasks that serve it.

pub mod compare;
pub mod digests;
pub mod election;
pub mod lead;
pub mod log_store;
pub mod maintain;
pub mod open;
pub mod rebuild;
pub mod shard;
pub mod snapshot;
pub mod state_machine;
pub mod succession;

use crate::context::{Context, Placement};
use crate::group::election::Election;
use crate::group::log_store::LogStore;
use crate::group::open::OpenError;
use crate::group::shard::Shard;
use crate::group::state_machine::StateMachine;
use crate::peer::network::NetworkFactory;
use crate::serve::cold::Cold;
use crate::serve::driver::{Driver, DriverHandle};
use crate::serve::reader::Reader;
use crate::stop::StopFlag;
use crate::types::Types;
use openraft::{Config, SnapshotPolicy};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// One group's consensus.
pub type RaftGroup = openraft::Raft<Types, StateMachine>;

/// A running replica.
pub struct Group {
    raft: RaftGroup,
    shard: Arc<Shard>,
    driver: DriverHandle,
    placement: Placement,
    stop: StopFlag,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    /// Ends when apply is over for good.
    machine_released: tokio::sync::Mutex<mpsc::Receiver<Infallible>>,
}

/// How long the tasks of a stopping group may take.
const STOP: Duration = Duration::from_secs(5);

impl Group {
    /// Opens the replica's log and records and starts it; `damaged` says that its records turned
    /// out damaged when it last ran.
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs then.
    pub async fn start(
        context: &Arc<Context>,
        placement: &Placement,
        damaged: bool,
    ) -> Result<Arc<Self>, OpenError> {
        let opened = open::open(context, placement, damaged).await?;
        let (woken, woken_calls) = mpsc::unbounded_channel();
        let shard = Arc::new(open::shard(context, placement, &opened, woken.clone()));
        let log = LogStore::new(opened.log, Arc::clone(&shard));
        let network = NetworkFactory::new(
            placement.shard,
            placement.replica,
            Arc::clone(&context.links),
            context.config.timing,
            shard.damaged.clone(),
        );
        let (machine, machine_released) = StateMachine::new(Arc::clone(&shard));
        let config = Arc::new(raft_config(context, placement.shard));
        let raft = RaftGroup::new(placement.replica.as_u64(), config, network, log, machine).await;
        let raft = raft.map_err(|error| {
            if shard.damaged.is_up() { OpenError::Damaged(error) } else { OpenError::Raft(error) }
        })?;
        let (messages, message_queue) = mpsc::unbounded_channel();
        let limits = &context.config.limits;
        let hints = Arc::clone(&context.hints);
        let driver = DriverHandle::new(placement.shard, messages, limits.queued_calls_per_shard, hints);
        let stop = StopFlag::new();
        let group = Arc::new(Self {
            raft: raft.clone(),
            shard: Arc::clone(&shard),
            driver: driver.clone(),
            placement: placement.clone(),
            stop: stop.clone(),
            tasks: parking_lot::Mutex::default(),
            machine_released: tokio::sync::Mutex::new(machine_released),
        });
        let reader = Reader {
            shard: Arc::clone(&shard),
            raft: raft.clone(),
            driver: driver.clone(),
            waiters_per_address: limits.waiters_per_address,
            waiters_per_node: limits.waiters_per_node,
            gathered_max: limits.queued_calls_per_shard,
            cold: Cold::new(Arc::clone(&shard), limits.queued_calls_per_shard),
        };
        let log = context.log.clone();
        let driving =
            Driver::new(Arc::clone(&shard), raft.clone(), driver, woken, limits, context.shards, log);
        let mut stopped = stop.subscribe();
        let mut tasks = vec![
            tokio::spawn(driving.run(message_queue, async move {
                stopped.wait().await;
            })),
            tokio::spawn(reader.run(woken_calls, stop.subscribe())),
            tokio::spawn(succession::watch(
                Arc::clone(context),
                placement.clone(),
                raft.clone(),
                stop.subscribe(),
            )),
            tokio::spawn(lead::watch(Arc::clone(context), placement.clone(), raft, shard, stop.subscribe())),
            tokio::spawn(maintain::run(Arc::clone(context), Arc::downgrade(&group), stop.subscribe())),
        ];
        group.tasks.lock().append(&mut tasks);
        Ok(group)
    }

    /// The consensus.
    #[must_use]
    pub fn raft(&self) -> &RaftGroup {
        &self.raft
    }

    /// The shared parts.
    #[must_use]
    pub fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }

    /// Where calls go.
    #[must_use]
    pub fn driver(&self) -> &DriverHandle {
        &self.driver
    }

    /// Which replica this is.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Stops serving and leaves the group; whatever waits is refused.
    pub async fn stop(&self) {
        self.stop.raise();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if timeout(STOP, task).await.is_err() {
                tracing::warn!(shard = self.placement.shard, "a task of a stopping replica took too long");
            }
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(shard = self.placement.shard, %error, "the consensus did not stop cleanly");
        }
        // The consensus does not wait for its apply worker, which may be in the middle of a batch.
        self.shard.applied.lock().is_retired = true;
        if timeout(STOP, self.machine_released.lock().await.recv()).await.is_err() {
            tracing::error!(shard = self.placement.shard, "apply goes on in a replica that has stopped");
        }
    }
}

/// openraft's settings. Snapshots and purging are ours; see [`maintain`].
fn raft_config(context: &Context, shard: u32) -> Config {
    let timing = &context.config.timing;
    Election::of(timing).set(Config {
        cluster_name: format!("shard-{shard}"),
        heartbeat_interval: timing.heartbeat_ms,
        install_snapshot_timeout: timing.snapshot_ms,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: 64,
        // The record store is flushed lazily: a leader that comes back must be elected again.
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        // A follower that lost what it had confirmed (all of its log's end destroyed, say, which looks
        // like a torn write) must not take the leader down with it. In debug builds openraft's
        // assertion stands, so that tests find a log that loses what it synced.
        allow_log_reversion: Some(!cfg!(debug_assertions)),
        backoff: "50ms".to_owned(),
        ..Config::default()
    })
}
