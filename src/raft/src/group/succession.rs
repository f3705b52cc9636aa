//! An election as soon as the leader's node is gone.
//!
//! A follower stands for election after a silence that is partly drawn at random, since a leader that
//! says nothing may only be slow. A process that ends closes its connections, and then there is nothing
//! to wait for but the lease, in which nobody votes. So a follower whose connection to its leader breaks
//! and does not come back asks for a pre-vote right behind the lease; the followers take turns, lest
//! they split the votes. A wrong guess costs nothing: who still hears the leader refuses, and no term
//! has begun.

use crate::context::{Context, Placement};
use crate::group::RaftGroup;
use crate::group::election::Election;
use crate::ids::ReplicaId;
use crate::stop::Stopping;
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Behind the lease, so that it is over on every follower: what they heard last reached them within it.
const MARGIN: Duration = Duration::from_millis(20);
/// Between the turns of two followers: a vote, which is synced, and the news of it.
const TURN: Duration = Duration::from_millis(60);

/// Follows the group's leaders until `stop`.
pub async fn watch(context: Arc<Context>, placement: Placement, raft: RaftGroup, mut stop: Stopping) {
    let mut metrics = raft.server_metrics();
    let lease = Duration::from_millis(Election::of(&context.config.timing).timeout_max);
    loop {
        let (leader, term) = {
            let metrics = metrics.borrow_watched();
            (metrics.current_leader, metrics.vote.leader_id.term)
        };
        let leader = leader.map(ReplicaId::from_u64).filter(|leader| *leader != placement.replica);
        let link = leader.and_then(|leader| context.links.get(leader.node()));
        let (Some(leader), Some(link)) = (leader, link) else {
            tokio::select! {
                changed = metrics.changed() => if changed.is_err() { return },
                () = stop.wait() => return,
            }
            continue;
        };
        let mut breaks = link.breaks();
        breaks.mark_unchanged();
        if link.is_up() {
            tokio::select! {
                broken = breaks.changed() => if broken.is_err() { return },
                changed = metrics.changed() => {
                    if changed.is_err() { return }
                    continue;
                }
                () = stop.wait() => return,
            }
        }
        let pause = lease + MARGIN + TURN * turn(&placement, leader);
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.wait() => return,
        }
        let is_vacant = {
            let metrics = metrics.borrow_watched();
            metrics.current_leader == Some(leader.as_u64()) && metrics.vote.leader_id.term == term
        };
        if is_vacant && !link.is_up() {
            tracing::info!(shard = placement.shard, %leader, "the leader's node is gone: asking for votes");
            if raft.trigger().elect(true).await.is_err() {
                return;
            }
        }
        // Once for each break; where it failed, the ordinary timeout goes on.
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return },
            broken = breaks.changed() => if broken.is_err() { return },
            () = stop.wait() => return,
        }
    }
}

/// How many followers come before this one, in the order of the members behind the leader.
fn turn(placement: &Placement, leader: ReplicaId) -> u32 {
    let members = &placement.members;
    let place = |of: ReplicaId| members.iter().position(|member| *member == of);
    let (Some(first), Some(mine)) = (place(leader), place(placement.replica)) else { return 0 };
    let behind = (mine + members.len() - first) % members.len();
    u32::try_from(behind.saturating_sub(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    #[test]
    fn followers_take_turns_behind_the_leader() {
        let members: Vec<ReplicaId> = (1..=3).map(|n| NodeId::from_u64(n << 20).replica(0)).collect();
        let turn_of = |mine: usize, leader: usize| {
            let placement = Placement { shard: 0, replica: members[mine], members: members.clone() };
            turn(&placement, members[leader])
        };
        assert_eq!([turn_of(1, 0), turn_of(2, 0)], [0, 1]);
        assert_eq!([turn_of(2, 1), turn_of(0, 1)], [0, 1]);
        assert_eq!([turn_of(0, 2), turn_of(1, 2)], [0, 1]);
    }
}
