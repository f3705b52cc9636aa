//! One replica's place on its node: started, watched, and started again.
//!
//! A replica whose consensus died, or whose records turned out damaged, is stopped and started
//! again from disk, after a pause that grows. One whose log is damaged, whose records have no
//! source, or whose digest differs from its peers' stays stopped until somebody has looked at it.

use crate::context::{Context, Placement};
use crate::group::Group;
use crate::group::open::OpenError;
use crate::group::shard::Shard;
use crate::node::Node;
use crate::observe::Anomaly;
use crate::stop::Stopping;
use openraft::async_runtime::WatchReceiver;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The pauses before a replica that failed is started again.
const RESTART_FIRST: Duration = Duration::from_millis(200);
const RESTART_LONGEST: Duration = Duration::from_secs(10);

/// A replica's place on this node: running, or being started, or out of service.
pub(crate) struct Slot {
    /// Which replica.
    pub(crate) placement: Placement,
    /// It, while it runs.
    pub(crate) running: RwLock<Option<Arc<Group>>>,
    /// Why it does not run.
    pub(crate) trouble: Mutex<Option<String>>,
    /// What it was when it stopped because its digest differs: the others must still learn of that.
    pub(crate) halted: Mutex<Option<Arc<Shard>>>,
}

impl Slot {
    pub(crate) fn new(placement: Placement) -> Arc<Self> {
        Arc::new(Self {
            placement,
            running: RwLock::new(None),
            trouble: Mutex::new(None),
            halted: Mutex::new(None),
        })
    }
}

/// Keeps one replica running: starts it, and starts it again from disk when its consensus dies.
pub(crate) async fn supervise(node: Weak<Node>, slot: Arc<Slot>, mut stop: Stopping) {
    let mut pause = RESTART_FIRST;
    let mut damaged = false;
    loop {
        let Some(running) = node.upgrade() else { return };
        let context = Arc::clone(running.context());
        drop(running);
        let started = tokio::select! {
            started = Group::start(&context, &slot.placement, damaged) => started,
            () = stop.wait() => return,
        };
        match started {
            Ok(group) => {
                *slot.trouble.lock() = None;
                *slot.running.write() = Some(Arc::clone(&group));
                bootstrap(&context, &group);
                let began = Instant::now();
                let died = tokio::select! {
                    why = watch_group(&node, &group) => Some(why),
                    () = stop.wait() => None,
                };
                if began.elapsed() > RESTART_LONGEST {
                    pause = RESTART_FIRST;
                }
                damaged = group.shard().damaged.is_up();
                slot.running.write().take();
                group.stop().await;
                let Some(died) = died else { return };
                if group.shard().differs.is_up() {
                    tracing::error!(shard = slot.placement.shard, "the replica stays stopped");
                    *slot.halted.lock() = Some(Arc::clone(group.shard()));
                    *slot.trouble.lock() = Some(died);
                    return;
                }
                context.observer.anomaly(slot.placement.shard, Anomaly::GroupRebuilt);
                tracing::error!(
                    shard = slot.placement.shard,
                    why = died,
                    "the replica failed and is started again"
                );
                *slot.trouble.lock() = Some(died);
            }
            Err(error) => {
                tracing::error!(shard = slot.placement.shard, %error, "the replica does not start");
                *slot.trouble.lock() = Some(error.to_string());
                damaged |= matches!(error, OpenError::Damaged(_));
                if !is_worth_retrying(&error) {
                    return;
                }
            }
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(RESTART_LONGEST),
            () = stop.wait() => return,
        }
    }
}

/// A damaged log does not heal, nor do records without a source.
fn is_worth_retrying(error: &OpenError) -> bool {
    !matches!(error, OpenError::Log(hapax_store::log::LogError::Quarantined { .. }) | OpenError::Lost)
}

/// Makes the group's first membership, where there is none: the preferred replica at once, the
/// others only if it does not. All would make the same one.
fn bootstrap(context: &Arc<Context>, group: &Arc<Group>) {
    let group = Arc::clone(group);
    let patience = 3 * context.config.timing.election_max_ms;
    tokio::spawn(async move {
        let placement = group.placement();
        if placement.members.first() != Some(&placement.replica) {
            sleep(Duration::from_millis(patience)).await;
        }
        if matches!(group.raft().is_initialized().await, Ok(false)) {
            let members: BTreeMap<u64, ()> =
                placement.members.iter().map(|member| (member.as_u64(), ())).collect();
            if let Err(error) = group.raft().initialize(members).await {
                tracing::debug!(shard = placement.shard, %error, "the group was made by another member");
            }
        }
    });
}

/// Tells of changes of leaders; returns when the consensus has died, with the reason.
async fn watch_group(node: &Weak<Node>, group: &Arc<Group>) -> String {
    // Not all of its metrics: those change with every entry, and each change would wake this task.
    let mut metrics = group.raft().server_metrics();
    let mut damaged = group.shard().damaged.subscribe();
    let mut differs = group.shard().differs.subscribe();
    let mut leader = None;
    loop {
        let now = metrics.borrow_watched().current_leader;
        if now != leader {
            leader = now;
            if let Some(node) = node.upgrade() {
                node.leader_changed();
            }
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() {
                // The consensus has dropped them, after it told why.
                let state = group.raft().metrics().borrow_watched().running_state.clone();
                return state.err().map_or_else(|| "the consensus ended".to_owned(), |fatal| fatal.to_string());
            },
            () = damaged.wait() => return "the records are damaged".to_owned(),
            () = differs.wait() => return "its digest is not that of its peers".to_owned(),
        }
    }
}
