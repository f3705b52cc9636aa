//! From an election won to a leader that may stamp, and back.
//!
//! A new leader first has everything applied that was committed before it, then sets its clock:
//! from its own last entry where it received one in this process's life, or from what its peers
//! know where that is later (it may have caught up just now, on entries of long ago); where nobody
//! knows, since a quorum has been down since the last entry, by a cold start from the median wall
//! clock. Only then does it propose, and its first entry is a tick.

use crate::context::{Context, Placement};
use crate::group::RaftGroup;
use crate::group::shard::{Lead, Shard};
use crate::ids::ReplicaId;
use crate::observe::Anomaly;
use crate::stop::Stopping;
use crate::time::stamp::ColdStart;
use futures_util::future::join_all;
use hapax_core::LogTime;
use hapax_core::quota::QuotaLedger;
use hapax_wire::peer::{Clock, PeerBody};
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a new leader that has a clock asks whether another's is ahead.
const CATCH_UP: Duration = Duration::from_millis(200);
/// How long a cold start waits for members that do not answer.
const SILENCE: Duration = Duration::from_secs(2);
/// The pause between attempts to set the clock.
const PAUSE: Duration = Duration::from_millis(50);

/// Follows the group's elections until `stop`.
pub async fn watch(
    context: Arc<Context>,
    placement: Placement,
    raft: RaftGroup,
    shard: Arc<Shard>,
    mut stop: Stopping,
) {
    let mut metrics = raft.server_metrics();
    loop {
        let led = {
            let metrics = metrics.borrow_watched();
            (metrics.current_leader == Some(placement.replica.as_u64()) && metrics.state.is_leader())
                .then(|| metrics.vote.leader_id.term)
        };
        if led != shard.lead().map(|lead| lead.term) {
            resign(&shard);
            if let Some(term) = led {
                tokio::select! {
                    () = take_over(&context, &placement, &raft, &shard, term) => {}
                    _ = metrics.changed() => continue,
                    () = stop.wait() => break,
                }
            }
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { break },
            () = stop.wait() => break,
        }
    }
    resign(&shard);
}

fn resign(shard: &Shard) {
    if shard.lead().is_some() {
        tracing::info!(shard = shard.shard, "lost the lead");
        shard.lead.send_replace(None);
        shard.applied.lock().quota = None;
    }
}

async fn take_over(
    context: &Context,
    placement: &Placement,
    raft: &RaftGroup,
    shard: &Arc<Shard>,
    term: u64,
) {
    // The lead is confirmed and all earlier entries are applied before the clock is set.
    loop {
        match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => match linearizer.await_ready(raft).await {
                Ok(_) => break,
                Err(_) => return,
            },
            Err(_) => sleep(PAUSE).await,
        }
    }
    let began = Instant::now();
    while !set_clock(context, placement, shard, began.elapsed() < SILENCE).await {
        sleep(PAUSE).await;
    }
    if context.has_quotas {
        count_quotas(shard);
    }
    tracing::info!(shard = shard.shard, term, "leads");
    shard.lead.send_replace(Some(Lead { term }));
    // A tick: from here on the followers know this leader's time.
    if let Some(time) = shard.stamp() {
        let tick = hapax_store::codec::batch::encode_batch(&hapax_core::Batch { time, commands: Vec::new() });
        let _answered_by_nobody = raft.write(crate::types::Proposal(tick)).await;
    }
}

/// Sets the clock where that is possible now.
async fn set_clock(context: &Context, placement: &Placement, shard: &Shard, patient: bool) -> bool {
    let last = shard.applied.lock().state.time;
    let has_heard = {
        let mut clock = shard.clock.lock();
        clock.settle(last, shard.env.clock.boot_ms());
        clock.anchor().is_some()
    };
    let within = Duration::from_millis(context.config.timing.rpc_ms);
    let within = if has_heard { within.min(CATCH_UP) } else { within };
    let asked = placement.members.iter().filter(|member| **member != placement.replica);
    let answers = join_all(asked.map(|member| ask_time(context, placement.shard, *member, within))).await;
    let boot_ms = shard.env.clock.boot_ms();
    let heard: Vec<Option<LogTime>> = answers.into_iter().flatten().collect();
    if let Some(latest) = heard.iter().flatten().max() {
        shard.clock.lock().known_elsewhere((*latest).max(last), boot_ms);
        return true;
    }
    if has_heard {
        return true;
    }
    // This replica has none either: are they a quorum that has none?
    let quorum = placement.members.len() / 2 + 1;
    let Some(median) = shard.median_wall_ms() else { return false };
    if heard.len() + 1 < quorum {
        return false;
    }
    // One that runs on may only be unreachable for a moment: it knows the time better than the walls.
    if patient && heard.len() + 1 < placement.members.len() {
        return false;
    }
    let start = shard.clock.lock().cold_start(last, median, boot_ms);
    match start {
        ColdStart::Jumped { by_ms } => {
            tracing::info!(shard = shard.shard, by_ms, "log time goes on after a cold start")
        }
        ColdStart::Held { asked_ms } => {
            tracing::error!(
                shard = shard.shard,
                asked_ms,
                "the wall clocks ask for a jump of more than 7 days; log time is held"
            );
            shard.observer.anomaly(shard.shard, Anomaly::JumpHeld);
        }
    }
    true
}

/// What a peer knows of the shard's log time; `None` when it did not answer.
async fn ask_time(
    context: &Context,
    shard: u32,
    member: ReplicaId,
    within: Duration,
) -> Option<Option<LogTime>> {
    let link = context.links.get(member.node())?;
    let sent_boot_ms = context.env.clock.boot_ms();
    let reply = link.ask(Clock { shards: vec![shard] }, 64, within).await.ok()?;
    let PeerBody::ClockReply(reply) = reply else { return None };
    let now = context.env.clock.boot_ms();
    context.readings.lock().note(member.node(), reply.wall_ms, sent_boot_ms, now);
    reply.times.iter().find(|time| time.shard == shard).map(|time| time.time)
}

/// Counts what each tenant's operation holds. Nothing is proposed meanwhile.
fn count_quotas(shard: &Shard) {
    let mut ledger = QuotaLedger::new();
    ledger.advance(shard.applied.lock().state.time);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = match shard.records.scan(&[], after.as_deref(), 1000) {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(shard = shard.shard, %error, "the records could not be counted; quotas start at 0");
                break;
            }
        };
        for (address, record) in &page.rows {
            ledger.add(address, record);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    shard.applied.lock().quota = Some(ledger);
}
