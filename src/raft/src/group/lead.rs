//! From an election won to a leader that may stamp, and back.
//!
//! A new leader first has everything applied that was committed before it, then sets its clock:
//! from its own last entry where it received one since its machine was started (see `time::keep`), or
//! from what its peers know where that is later (it may have caught up just now, on entries of long ago).
//! Where the leader before it answers, that one's time is the shard's: whoever has not heard from it for a while
//! may have got ahead of it, by as much as its clock is slower and was slewing back.
//! Where nobody knows, since a quorum has been down since the last entry, it makes a cold start from the
//! median wall clock; where a quorum may have run all the same, log time is held. Only then does it
//! propose, and its first entry is a tick.

use crate::context::{Context, Placement};
use crate::group::RaftGroup;
use crate::group::log_store::{newest_stamped, term_before};
use crate::group::shard::{Lead, Shard};
use crate::ids::ReplicaId;
use crate::observe::Anomaly;
use crate::stop::Stopping;
use crate::time::begun::started_after;
use crate::time::stamp::ColdStart;
use futures_util::future::join_all;
use hapax_core::LogTime;
use hapax_core::quota::QuotaLedger;
use hapax_wire::peer::{Begun, Clock, PeerBody, ShardTime};
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a cold start waits for members that do not answer.
const SILENCE: Duration = Duration::from_secs(2);
/// The pause between attempts to set the clock.
const PAUSE: Duration = Duration::from_millis(50);

/// The last leader that this replica followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Former {
    replica: ReplicaId,
    term: u64,
}

/// Follows the group's elections until `stop`.
pub async fn watch(
    context: Arc<Context>,
    placement: Placement,
    raft: RaftGroup,
    shard: Arc<Shard>,
    mut stop: Stopping,
) {
    let mut metrics = raft.server_metrics();
    let mut former = None;
    loop {
        let led = {
            let metrics = metrics.borrow_watched();
            let term = metrics.vote.leader_id.term;
            let other = metrics.current_leader.map(ReplicaId::from_u64).filter(|it| *it != placement.replica);
            former = other.map(|replica| Former { replica, term }).or(former);
            (metrics.current_leader == Some(placement.replica.as_u64()) && metrics.state.is_leader())
                .then(|| metrics.vote.leader_id.term)
        };
        if led != shard.lead().map(|lead| lead.term) {
            resign(&shard);
            if let Some(term) = led {
                tokio::select! {
                    () = take_over(&context, &placement, &raft, &shard, term, former) => {}
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
    former: Option<Former>,
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
    let log = context.log.group(placement.log_group());
    // Only where nobody has led in between.
    let former = former.filter(|former| term_before(&log, term).is_ok_and(|it| it == Some(former.term)));
    while !set_clock(context, placement, raft, shard, began.elapsed() < SILENCE, former).await {
        sleep(PAUSE).await;
    }
    shard.clock.lock().lead(term);
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
async fn set_clock(
    context: &Context,
    placement: &Placement,
    raft: &RaftGroup,
    shard: &Shard,
    patient: bool,
    former: Option<Former>,
) -> bool {
    let (last, index) = {
        let applied = shard.applied.lock();
        (applied.state.time, applied.position.map_or(0, |position| position.index))
    };
    let (has_heard, heard_term) = {
        let mut clock = shard.clock.lock();
        clock.settle(last, shard.env.clock.boot_ms());
        (clock.anchor().is_some(), clock.term())
    };
    let former = former.filter(|former| has_heard && former.term == heard_term);
    let within = Duration::from_millis(context.config.timing.rpc_ms);
    let within = if has_heard { within.min(catch_up(context)) } else { within };
    // Who has not been sent all that was applied here may remember a leader from before the last one, whose
    // time is no longer the shard's. It is believed only where nobody knows better.
    let is_behind = is_behind(raft, index);
    let asked = placement.members.iter().filter(|member| **member != placement.replica);
    let asked = asked.map(|member| (*member, is_behind(member))).filter(|(member, behind)| {
        !(has_heard && *behind) || former.is_some_and(|former| former.replica == *member)
    });
    let asked_boot_ms = shard.env.clock.boot_ms();
    let answers = ask_members(context, placement.shard, asked.collect(), within).await;
    let boot_ms = shard.env.clock.boot_ms();
    if let Some((former, time)) = former.and_then(|it| Some((it, told_by(it, &answers)?))) {
        let mut clock = shard.clock.lock();
        clock.told_by_leader(former.term, time.max(last), asked_boot_ms, boot_ms);
        return true;
    }
    let best = |of_those_behind: bool| {
        let known = answers.iter().filter(|answer| of_those_behind || !answer.is_behind);
        known.filter_map(|answer| answer.time).max()
    };
    if let Some(latest) = best(false).or_else(|| if patient { None } else { best(true) }) {
        shard.clock.lock().known_elsewhere(latest.max(last), boot_ms);
        return true;
    }
    if has_heard {
        return true;
    }
    // This replica has none either: are they a quorum that has none?
    let quorum = placement.members.len() / 2 + 1;
    let Some(median) = shard.median_wall_ms() else { return false };
    if answers.len() + 1 < quorum {
        return false;
    }
    // One that runs on may only be unreachable for a moment: it knows the time better than the walls.
    if patient && (answers.len() + 1 < placement.members.len() || best(true).is_some()) {
        return false;
    }
    let read_ms = boot_ms.saturating_sub(asked_boot_ms);
    let start = if last == LogTime::ZERO || may_jump(context, placement, shard, &answers, read_ms) {
        shard.clock.lock().cold_start(last, median, boot_ms)
    } else {
        shard.clock.lock().hold(last, boot_ms)
    };
    tell_cold_start(shard, index, start);
    true
}

/// How long a new leader that has a clock asks others for theirs: a part of what an election takes anyway.
fn catch_up(context: &Context) -> Duration {
    Duration::from_millis(context.config.timing.election_min_ms * 2 / 5)
}

/// Whether so many replicas show that they were started after the last stamped entry that no quorum has been
/// running since. The answers of the others were read within `read_ms`.
fn may_jump(
    context: &Context,
    placement: &Placement,
    shard: &Shard,
    answers: &[Answer],
    read_ms: u64,
) -> bool {
    let own = shard.clock.lock().begun(context.clocks.up_ms(shard.env.clock.boot_ms()));
    let begun: Vec<Begun> = answers.iter().map(|answer| answer.begun).chain([own]).collect();
    // All of the log is applied, and this leader has stamped nothing yet.
    let newest = newest_stamped(&context.log.group(placement.log_group())).ok().flatten();
    let started = newest.map_or(0, |newest| started_after(newest, &begun, read_ms));
    let members = placement.members.len();
    members - started < members / 2 + 1
}

/// Logs what a cold start did; `index` is that of the last entry before it.
fn tell_cold_start(shard: &Shard, index: u64, start: ColdStart) {
    let why = match start {
        ColdStart::Jumped { by_ms } => {
            tracing::info!(shard = shard.shard, by_ms, index, "log time goes on after a cold start");
            return;
        }
        ColdStart::TooLong { asked_ms } => format!("the wall clocks ask for a jump of {asked_ms} ms"),
        ColdStart::Held => "a quorum may have run since the last entry".to_owned(),
    };
    tracing::error!(shard = shard.shard, why, index, "log time is held: it goes on from the last entry");
    shard.observer.anomaly(shard.shard, Anomaly::JumpHeld);
}

/// Whether a member may lack some of the entries up to `index`, as far as this leader knows by now.
fn is_behind(raft: &RaftGroup, index: u64) -> impl Fn(&ReplicaId) -> bool {
    let matched = raft.metrics().borrow_watched().replication.clone().unwrap_or_default();
    move |member| {
        let matched = matched.get(&member.as_u64()).and_then(Option::as_ref);
        matched.is_none_or(|matched| matched.index < index)
    }
}

/// The time of the leader before this one, if it is among those who answered and is the process that led: one that
/// was started since may know less than it had told as a leader.
fn told_by(former: Former, answers: &[Answer]) -> Option<LogTime> {
    let led = |answer: &&Answer| answer.member == former.replica && answer.begun.term < former.term;
    answers.iter().find(led)?.time
}

/// What a member that answered knows of the shard's log time.
struct Answer {
    member: ReplicaId,
    is_behind: bool,
    time: Option<LogTime>,
    begun: Begun,
}

/// Asks members, of each of which it is known whether it is behind; those that do not answer are left out.
async fn ask_members(
    context: &Context,
    shard: u32,
    members: Vec<(ReplicaId, bool)>,
    within: Duration,
) -> Vec<Answer> {
    let asks = members.into_iter().map(|(member, is_behind)| async move {
        let ShardTime { time, begun, .. } = ask_time(context, shard, member, within).await?;
        Some(Answer { member, is_behind, time, begun })
    });
    join_all(asks).await.into_iter().flatten().collect()
}

/// What a peer knows of the shard's log time; `None` when it did not answer, or has no replica that runs.
async fn ask_time(context: &Context, shard: u32, member: ReplicaId, within: Duration) -> Option<ShardTime> {
    let link = context.links.get(member.node())?;
    let sent_boot_ms = context.env.clock.boot_ms();
    let reply = link.ask(Clock { shards: vec![shard] }, 64, within).await.ok()?;
    let PeerBody::ClockReply(reply) = reply else { return None };
    let now = context.env.clock.boot_ms();
    context.readings.lock().note(member.node(), reply.wall_ms, sent_boot_ms, now);
    reply.times.iter().find(|time| time.shard == shard).copied()
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
                shard.note(&error);
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
