//! What keeps a replica tidy: snapshots, purging, and who leads.
//!
//! openraft purges only what a snapshot covers, and a snapshot here is a flush of the record store.
//! Every so often the replica has one made and purges far below what is durable, keeping enough
//! log for a follower that was away for a moment. A leader that is not the preferred one hands
//! over, once the preferred one is up and has the whole log.

use crate::context::Context;
use crate::group::Group;
use crate::ids::ReplicaId;
use crate::stop::Stopping;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a leader leads before it hands over to the preferred one: elections settle first.
const SETTLE: Duration = Duration::from_secs(3);
/// The pause between two attempts to hand over.
const HAND_OVER_EVERY: Duration = Duration::from_secs(5);

/// Runs until `stop` or until the group is gone.
pub async fn run(context: Arc<Context>, group: Weak<Group>, mut stop: Stopping) {
    let mut state = Maintenance { leads_since: None, handed_over_at: None };
    loop {
        // A little apart for each group, so that their flushes do not come all at once.
        let jitter = context.env.random_u64() % (context.config.timing.maintain_ms / 4 + 1);
        tokio::select! {
            () = sleep(Duration::from_millis(context.config.timing.maintain_ms + jitter)) => {}
            () = stop.wait() => return,
        }
        let Some(group) = group.upgrade() else { return };
        state.purge(&context, &group).await;
        state.balance(&group).await;
    }
}

struct Maintenance {
    leads_since: Option<Instant>,
    handed_over_at: Option<Instant>,
}

impl Maintenance {
    /// Has a snapshot made once enough was applied since the last one, and purges below it.
    async fn purge(&self, context: &Context, group: &Group) {
        let (applied, snapshot, purged) = {
            let metrics = group.raft().metrics();
            let metrics = metrics.borrow_watched();
            let index = |id: &Option<crate::types::RaftLogId>| id.as_ref().map_or(0, |id| id.index);
            (index(&metrics.last_applied), index(&metrics.snapshot), index(&metrics.purged))
        };
        let kept = context.config.limits.log_kept_entries;
        if applied.saturating_sub(snapshot) > kept / 2
            && let Err(error) = group.raft().trigger().snapshot().await
        {
            tracing::debug!(shard = group.placement().shard, %error, "no snapshot was made");
        }
        let durable = group.shard().records.durable().map_or(0, |position| position.index);
        let upto = snapshot.min(durable).saturating_sub(kept);
        if upto > purged + kept / 4
            && let Err(error) = group.raft().trigger().purge_log(upto).await
        {
            tracing::debug!(shard = group.placement().shard, %error, "the log was not purged");
        }
    }

    /// Hands the lead over to the preferred replica.
    async fn balance(&mut self, group: &Group) {
        if group.shard().lead().is_none() {
            self.leads_since = None;
            return;
        }
        let now = Instant::now();
        let since = *self.leads_since.get_or_insert(now);
        let rested = self.handed_over_at.is_none_or(|at| now - at >= HAND_OVER_EVERY);
        let Some(preferred) = group.placement().members.first() else { return };
        if *preferred == group.placement().replica || now - since < SETTLE || !rested {
            return;
        }
        if is_caught_up(group, *preferred) {
            self.handed_over_at = Some(now);
            tracing::info!(shard = group.placement().shard, to = %preferred, "hands over to the preferred leader");
            if let Err(error) = group.raft().trigger().transfer_leader(preferred.as_u64()).await {
                tracing::debug!(shard = group.placement().shard, %error, "did not hand over");
            }
        }
    }
}

/// Whether a member answers heartbeats and has nearly the whole log.
#[must_use]
pub fn is_caught_up(group: &Group, member: ReplicaId) -> bool {
    let metrics = group.raft().metrics();
    let metrics = metrics.borrow_watched();
    let last = metrics.last_log_index.unwrap_or(0);
    let matched = metrics
        .replication
        .as_ref()
        .and_then(|replication| replication.get(&member.as_u64()))
        .and_then(|id| id.as_ref().map(|id| id.index));
    let alive = metrics
        .heartbeat
        .as_ref()
        .and_then(|heartbeat| heartbeat.get(&member.as_u64()))
        .and_then(|at| at.as_ref().map(|at| at.elapsed() < Duration::from_secs(1)))
        .unwrap_or(false);
    alive && matched.is_some_and(|matched| matched + 64 >= last)
}
