//! Keeps the readings of the peers' clocks fresh: their wall clocks, and the log time of the shards
//! that they lead.
//!
//! A follower that last received an entry long after it was stamped (it was away, and caught up)
//! would be behind, were it to lead next; so it hears its leader's time, too.

use crate::group::Group;
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
    let followed = groups.iter().filter_map(|group| Some((group, term_led_by(group, peer)?)));
    let followed: Vec<(&Arc<Group>, u64)> = followed.collect();
    let shards: Vec<u32> = followed.iter().map(|(group, _)| group.placement().shard).collect();
    let Some(link) = context.links.get(peer) else { return };
    let sent_boot_ms = context.env.clock.boot_ms();
    let size = 64 + 4 * shards.len();
    let Ok(PeerBody::ClockReply(reply)) = link.ask(Clock { shards }, size, EVERY).await else { return };
    let now = context.env.clock.boot_ms();
    context.readings.lock().note(peer, reply.wall_ms, sent_boot_ms, now);
    for heard in &reply.times {
        let followed = followed.iter().find(|(group, _)| group.placement().shard == heard.shard);
        // One that no longer leads answers with the least that it knows.
        if let (Some((group, term)), Some(time)) = (followed, heard.time)
            && term_led_by(group, peer) == Some(*term)
        {
            group.shard().hear(|clock| clock.told_by_leader(*term, time, sent_boot_ms, now));
        }
    }
}

/// The present term of the group, if a replica on `peer` leads it.
fn term_led_by(group: &Group, peer: NodeId) -> Option<u64> {
    let metrics = group.raft().server_metrics();
    let metrics = metrics.borrow_watched();
    let leads = metrics.current_leader.is_some_and(|leader| ReplicaId::from_u64(leader).node() == peer);
    leads.then(|| metrics.vote.leader_id.term)
}
