//! Keeps the readings of the peers' clocks fresh: their wall clocks, and the log time of the shards
//! that they lead.
//!
//! A follower that last received an entry long after it was stamped (it was away, and caught up)
//! would be behind, were it to lead next; so it hears its leader's time, too.

use crate::ids::{NodeId, ReplicaId};
use crate::node::Node;
use crate::stop::Stopping;
use futures_util::future::join_all;
use hapax_wire::peer::{Clock, PeerBody};
use openraft::async_runtime::WatchReceiver;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::sleep;

/// How often every peer is asked; well below the time for which a reading counts.
const EVERY: Duration = Duration::from_millis(1_000);

/// Asks until `stop`.
pub async fn run(node: Weak<Node>, mut stop: Stopping) {
    loop {
        {
            let Some(node) = node.upgrade() else { return };
            join_all(node.context().links.iter().map(|link| ask(&node, link.peer()))).await;
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            () = stop.wait() => return,
        }
    }
}

async fn ask(node: &Arc<Node>, peer: NodeId) {
    let context = node.context();
    let groups = node.groups();
    let follows = groups.iter().filter(|group| {
        let leader = group.raft().server_metrics().borrow_watched().current_leader;
        leader.is_some_and(|leader| ReplicaId::from_u64(leader).node() == peer)
    });
    let shards: Vec<u32> = follows.map(|group| group.placement().shard).collect();
    let Some(link) = context.links.get(peer) else { return };
    let sent_boot_ms = context.env.clock.boot_ms();
    let size = 64 + 4 * shards.len();
    let Ok(PeerBody::ClockReply(reply)) = link.ask(Clock { shards }, size, EVERY).await else { return };
    let now = context.env.clock.boot_ms();
    context.readings.lock().note(peer, reply.wall_ms, sent_boot_ms, now);
    for heard in &reply.times {
        let group = groups.iter().find(|group| group.placement().shard == heard.shard);
        if let (Some(group), Some(time)) = (group, heard.time) {
            group.shard().clock.lock().heard(time, now);
        }
    }
}
