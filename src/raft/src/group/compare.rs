//! Compares the digests of this node's replicas with those of their peers, all the time.
//!
//! Each replica judges itself: one that differs from a majority raises its `differs` flag, and is
//! stopped and not started again (it still tells its digests, so that the others can judge); where
//! no majority agrees, every replica does so.
//! A difference that a silent member may decide is waited for, but not for ever: after ten seconds
//! the replicas that differ stop too, since one of them is wrong and nobody knows which.

use crate::context::Context;
use crate::group::Group;
use crate::group::digests::{Digest, Judgement, judge};
use crate::ids::ReplicaId;
use crate::node::Node;
use crate::observe::Anomaly;
use crate::stop::Stopping;
use futures_util::future::join_all;
use hapax_wire::peer::{DigestPoint, Digests, DigestsAsk, DigestsOf, PeerBody, ShardDigests};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a difference may wait for the members that have not answered.
const PATIENCE: Duration = Duration::from_secs(10);
/// What one shard takes in a question, bytes; an estimate from above.
const ASK_BYTES: usize = 160;

/// What this node's replicas offer to compare.
type Offered = HashMap<u32, Vec<(u64, Digest)>>;

/// Compares until `stop`.
pub async fn run(node: Weak<Node>, every: Duration, mut stop: Stopping) {
    let mut open_since: HashMap<ReplicaId, (u32, Instant)> = HashMap::new();
    loop {
        tokio::select! {
            () = sleep(every) => {}
            () = stop.wait() => return,
        }
        let Some(node) = node.upgrade() else { return };
        let groups = node.groups();
        let offered: Offered = groups.iter().map(|group| (group.placement().shard, places(group))).collect();
        let answers = ask_all(node.context(), &groups, &offered, every).await;
        for group in &groups {
            let places = offered.get(&group.placement().shard).map(Vec::as_slice).unwrap_or_default();
            judge_group(group, places, &answers, &mut open_since);
        }
    }
}

fn places(group: &Group) -> Vec<(u64, Digest)> {
    group.shard().applied.lock().digests.places()
}

/// Asks every peer about the shards that it shares with this node.
async fn ask_all(
    context: &Context,
    groups: &[Arc<Group>],
    offered: &Offered,
    within: Duration,
) -> Vec<ShardDigests> {
    let asked = context.links.iter().map(|link| async move {
        let shared = groups
            .iter()
            .filter(|group| group.placement().members.iter().any(|member| member.node() == link.peer()));
        let shards: Vec<DigestsOf> = shared
            .filter_map(|group| {
                let shard = group.placement().shard;
                let places = offered.get(&shard).filter(|places| !places.is_empty())?;
                Some(DigestsOf { shard, indexes: places.iter().map(|(index, _)| *index).collect() })
            })
            .collect();
        if shards.is_empty() {
            return Vec::new();
        }
        let size = shards.len() * ASK_BYTES;
        match link.ask(DigestsAsk { shards }, size, within).await {
            Ok(PeerBody::Digests(digests)) => digests.shards,
            _ => Vec::new(),
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn judge_group(
    group: &Group,
    places: &[(u64, Digest)],
    answers: &[ShardDigests],
    open_since: &mut HashMap<ReplicaId, (u32, Instant)>,
) {
    let placement = group.placement();
    let answers = answers.iter().filter(|answer| {
        answer.shard == placement.shard
            && answer.replica != placement.replica.as_u64()
            && placement.members.contains(&ReplicaId::from_u64(answer.replica))
    });
    let answers: Vec<&ShardDigests> = answers.collect();
    let members = placement.members.len();
    // The newest place that says anything but "same" counts; differences never heal.
    let judged = places.iter().rev().find_map(|(index, own)| {
        let at = |answer: &&ShardDigests| answer.points.iter().find(|point| point.index == *index).copied();
        let others: Vec<Digest> = answers.iter().filter_map(at).map(|point| point.digest).collect();
        Some((*index, judge(*own, &others, members))).filter(|(_, judgement)| *judgement != Judgement::Same)
    });
    let Some((index, judgement)) = judged else { return };
    let shard = group.shard();
    let news = !open_since.contains_key(&placement.replica);
    let (_, since) = *open_since.entry(placement.replica).or_insert((placement.shard, Instant::now()));
    if news {
        tracing::error!(shard = placement.shard, index, ?judgement, "replicas of one log position differ");
        shard.observer.anomaly(placement.shard, Anomaly::DigestDiffers);
    }
    let stops = match judgement {
        Judgement::InTheMinority | Judgement::NoMajority => true,
        Judgement::Open => since.elapsed() >= PATIENCE,
        Judgement::Same | Judgement::OthersDiffer => false,
    };
    if stops {
        shard.differs.raise();
    }
}

/// What this node's replicas remember of the places asked about.
#[must_use]
pub fn answer(node: &Node, ask: &DigestsAsk) -> Digests {
    let of = |asked: &DigestsOf| {
        let shard = node.applied_of(asked.shard)?;
        let applied = shard.applied.lock();
        let point = |index: &u64| {
            let digest = applied.digests.at(*index)?;
            Some(DigestPoint { index: *index, digest })
        };
        let points = asked.indexes.iter().filter_map(point).collect();
        Some(ShardDigests { shard: asked.shard, replica: shard.replica.as_u64(), points })
    };
    Digests { shards: ask.shards.iter().filter_map(of).collect() }
}
