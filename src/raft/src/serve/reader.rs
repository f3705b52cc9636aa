//! Answers without a log entry.
//!
//! One task a shard. It takes all calls that have gathered, confirms the lead with one ReadIndex
//! that starts after all of them arrived, waits until that index is applied, and answers from
//! applied state what may be answered so. Calls that rode on an entry need none: it was proposed after
//! they arrived and is applied, so that its quorum has confirmed the lead, and all that was committed
//! when they arrived is applied too. A claim or get that finds somebody running is held, if
//! its caller asked for that; what must be proposed goes to the driver. Calls that find no quorum
//! are tried again until their deadline, and then refused: they were never proposed, so every
//! refusal here is definite. A call whose record only the disk has steps aside first (`cold`).

use crate::group::RaftGroup;
use crate::group::shard::Shard;
use crate::serve::cold::Cold;
use crate::serve::driver::{DriverHandle, Message};
use crate::serve::outbox::{Outbox, not_leader};
use crate::serve::pending::{Pending, Work};
use crate::stop::Stopping;
use hapax_core::seeded::{self, Bug};
use hapax_core::{Address, ErrorCode, LogTime, ReadAt, Record, Refusal, Reply, State};
use hapax_store::address_map::AddressSet;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until};

/// How long one ReadIndex is waited for before it is tried again.
const ROUND: Duration = Duration::from_millis(500);
/// The pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// How far a listing's log time may be behind the leader's stamp, ms.
const LIST_BEHIND_MS: u64 = 1000;

/// What reaches the reader.
pub enum Reads {
    /// Calls for which the lead is to be confirmed.
    Unconfirmed(Vec<Pending>),
    /// Calls for which an entry has done that, which was proposed after they came, and is applied here.
    Confirmed(Vec<Pending>),
    /// Calls with a confirmed lead that stepped aside until their records were read from the disk.
    Looked(Vec<Pending>),
}

impl Reads {
    /// The calls.
    #[must_use]
    pub fn calls(&self) -> &[Pending] {
        let (Self::Unconfirmed(calls) | Self::Confirmed(calls) | Self::Looked(calls)) = self;
        calls
    }

    /// The calls.
    #[must_use]
    pub fn into_calls(self) -> Vec<Pending> {
        let (Self::Unconfirmed(calls) | Self::Confirmed(calls) | Self::Looked(calls)) = self;
        calls
    }
}

/// What a confirmed lead lets the reader do with a call.
enum Verdict {
    Answer(Reply),
    Propose,
    Hold(LogTime),
    Tick,
}

/// The reader of one shard.
pub struct Reader {
    /// The replica.
    pub shard: Arc<Shard>,
    /// Its consensus.
    pub raft: RaftGroup,
    /// Where calls go that must be proposed.
    pub driver: DriverHandle,
    /// The most callers held on one address and on this node.
    pub waiters_per_address: usize,
    /// The same for all of this node's shards together.
    pub waiters_per_node: usize,
    /// The most calls that gather here while the lead is being confirmed.
    pub gathered_max: usize,
    /// The calls that wait for the disk.
    pub cold: Cold,
}

impl Reader {
    /// Runs until `stop`; what is left then is refused.
    pub async fn run(self, mut calls: UnboundedReceiver<Reads>, mut stop: Stopping) {
        let mut gathered: Vec<Pending> = Vec::new();
        loop {
            if gathered.is_empty() {
                tokio::select! {
                    () = stop.wait() => break,
                    taken = calls.recv() => match taken {
                        Some(taken) => self.gather(&mut gathered, taken),
                        None => return,
                    },
                }
            }
            while let Ok(more) = calls.try_recv() {
                self.gather(&mut gathered, more);
            }
            self.round(&mut gathered, &mut calls, &mut stop).await;
        }
        calls.close();
        while let Some(left) = calls.recv().await {
            refuse_torn_down(&self.shard, left.into_calls());
        }
    }

    /// Takes calls in, up to the bound; callers that were held have a place already. What needs no confirmation is
    /// answered at once.
    fn gather(&self, gathered: &mut Vec<Pending>, reads: Reads) {
        let calls = match reads {
            Reads::Unconfirmed(calls) => calls,
            Reads::Confirmed(mut calls) => {
                self.drop_expired(&mut calls);
                return self.answer(self.cold.step_aside(calls));
            }
            Reads::Looked(calls) => return self.answer(calls),
        };
        let full =
            Refusal::definite(ErrorCode::Overloaded, "too many reads wait for the lead to be confirmed");
        let mut over = Vec::new();
        for call in calls {
            if gathered.len() < self.gathered_max || call.woken {
                gathered.push(call)
            } else {
                over.push(call)
            }
        }
        self.refuse(over, &full);
    }

    /// Confirms the lead once and serves the calls that gathered before. What comes meanwhile, and
    /// what a round without a quorum leaves, is left to the next round. A deadline never waits for
    /// the end of a round, so that a call is refused in time whatever came before it.
    async fn round(
        &self,
        gathered: &mut Vec<Pending>,
        queue: &mut UnboundedReceiver<Reads>,
        stop: &mut Stopping,
    ) {
        let mut calls = std::mem::take(gathered);
        let round_ends = Instant::now() + ROUND;
        let confirmed = self.confirm_lead();
        tokio::pin!(confirmed);
        let result = loop {
            let earliest = calls.iter().chain(gathered.iter()).map(|call| call.deadline).min();
            let Some(earliest) = earliest else { return };
            tokio::select! {
                biased;
                result = &mut confirmed => break result,
                () = stop.wait() => break Err(Confirm::Stopped),
                () = sleep_until(round_ends) => break Err(Confirm::NoQuorum),
                () = sleep_until(earliest) => {
                    self.drop_expired(&mut calls);
                    self.drop_expired(gathered);
                }
                Some(more) = queue.recv() => self.gather(gathered, more),
            }
        };
        match result {
            Ok(()) => {
                self.drop_expired(&mut calls);
                self.answer(self.cold.step_aside(calls));
            }
            Err(Confirm::NotLeader) => self.refuse(calls, &not_leader(self.driver.leader_hint())),
            Err(Confirm::Stopped) => refuse_torn_down(&self.shard, calls),
            Err(Confirm::NoQuorum) => {
                gathered.splice(0..0, calls);
                sleep(PAUSE).await;
            }
        }
    }

    /// Confirms that this replica led after this call, and has applied all that was committed then.
    async fn confirm_lead(&self) -> Result<(), Confirm> {
        if seeded::active(Bug::ReadWithoutIndex) && self.shard.lead().is_some() {
            return Ok(());
        }
        let linearizer = match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => linearizer,
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => {
                return Err(Confirm::NotLeader);
            }
            Err(RaftError::Fatal(_)) => return Err(Confirm::Stopped),
            Err(RaftError::APIError(_)) => return Err(Confirm::NoQuorum),
        };
        linearizer.await_ready(&self.raft).await.map_err(|_| Confirm::Stopped)?;
        // A leader whose clock is not set yet can neither stamp nor count what is left of a lease.
        if self.shard.lead().is_none() { Err(Confirm::NotLeader) } else { Ok(()) }
    }

    /// Answers what may be answered; the lead is confirmed.
    fn answer(&self, calls: Vec<Pending>) {
        let Some(stamp) = self.shard.stamp() else {
            return self.refuse(calls, &not_leader(None));
        };
        let mut outbox = Outbox::new(self.shard.shard, &*self.shard.observer);
        let mut propose = Vec::new();
        let mut retry = Vec::new();
        // What follows a call that must be proposed, or wait for log time to move, on its address, may be of the same
        // frame: it stays behind it. Those who were woken together are of no frame.
        let (mut proposed, mut behind, mut ticked) =
            (AddressSet::default(), Vec::new(), AddressSet::default());
        {
            let mut applied = self.shard.applied.lock();
            let at = ReadAt { applied: applied.state.time, stamp };
            let mut proposed_woken: AddressSet = AddressSet::default();
            for call in calls {
                let is_behind = |line: &AddressSet| {
                    !call.woken && !line.is_empty() && call.address().is_some_and(|at| line.contains(at))
                };
                if is_behind(&proposed) {
                    behind.push(call);
                    continue;
                }
                if is_behind(&ticked) {
                    retry.push(call);
                    continue;
                }
                match self.judge(&call, at, &proposed_woken) {
                    Ok(Verdict::Answer(reply)) => outbox.reply(call, reply, applied.read_witness()),
                    Ok(Verdict::Propose) => {
                        proposed.extend(call.address().cloned());
                        if call.woken {
                            proposed_woken.extend(call.address().cloned());
                        }
                        propose.push(call);
                    }
                    Ok(Verdict::Hold(lapses_at)) => self.hold(&mut applied, &mut outbox, call, lapses_at),
                    Ok(Verdict::Tick) => {
                        ticked.extend(call.address().cloned());
                        retry.push(call);
                    }
                    Err(refusal) => outbox.refuse(call, refusal),
                }
            }
        }
        drop(outbox);
        self.shard.waits_changed.notify_one();
        let messages = [Message::Propose(propose), Message::Calls(behind), Message::TickThenRead(retry)];
        refuse_torn_down(&self.shard, messages.into_iter().flat_map(|m| self.driver.hand_back(m)).collect());
    }

    fn judge(&self, call: &Pending, at: ReadAt, proposed_woken: &AddressSet) -> Result<Verdict, Refusal> {
        match &call.work {
            Work::Command { command, .. } => {
                let found = self.record(&command.address)?;
                match hapax_core::read_verb(found.as_deref(), command, at) {
                    Some(Reply::InFlight(_)) if may_be_held(call) => Ok(hold_until(found.as_deref())),
                    Some(reply) => {
                        self.shard.report(found.as_deref(), command, &reply, at.stamp.max(at.applied));
                        Ok(Verdict::Answer(reply))
                    }
                    // Of those who waited together only the oldest asks again; the others would only
                    // find it running.
                    None if may_be_held(call) && call.woken && proposed_woken.contains(&command.address) => {
                        Ok(Verdict::Hold(LogTime(u64::MAX)))
                    }
                    None => Ok(Verdict::Propose),
                }
            }
            Work::Get { address, fingerprint, is_reader } => {
                let found = self.record(address)?;
                match hapax_core::read_get(found.as_deref(), fingerprint.as_ref(), *is_reader, at) {
                    Some(Reply::State(view))
                        if view.state == hapax_core::StateKind::Claimed && may_be_held(call) =>
                    {
                        Ok(hold_until(found.as_deref()))
                    }
                    Some(reply) => Ok(Verdict::Answer(reply)),
                    None => Ok(Verdict::Tick),
                }
            }
            // An idle shard's log time stands still, and its listing must not.
            Work::List(_) if at.applied.after(LIST_BEHIND_MS) < at.stamp => Ok(Verdict::Tick),
            Work::List(ask) => crate::serve::list::page(&self.shard, ask, at.applied).map(Verdict::Answer),
        }
    }

    fn record(&self, address: &Address) -> Result<Option<Arc<Record>>, Refusal> {
        let unreadable = |_| Refusal::definite(ErrorCode::Unavailable, "the record could not be read");
        self.shard.record(address).map_err(unreadable)
    }

    /// Holds a call, unless too many are held already.
    fn hold(
        &self,
        applied: &mut crate::group::shard::AppliedState,
        outbox: &mut Outbox<'_>,
        mut call: Pending,
        lapses_at: LogTime,
    ) {
        // What it waits for may be what they do.
        call.followers = None;
        let (Some(address), Some(wait_until)) = (call.address().cloned(), call.wait_until) else { return };
        if !call.is_wanted() {
            return outbox.refuse(call, gave_up());
        }
        if applied.waiters.len_at(&address) >= self.waiters_per_address {
            // Those who gave up make room. They are answered all the same: every call is, once.
            let gone = applied.waiters.take_unwanted(&address);
            self.shard.node_waiters.fetch_sub(gone.len(), Ordering::Relaxed);
            for call in gone {
                outbox.refuse(call, gave_up());
            }
        }
        let full = applied.waiters.len_at(&address) >= self.waiters_per_address
            || self.shard.node_waiters.load(Ordering::Relaxed) >= self.waiters_per_node;
        if full {
            outbox.refuse(call, Refusal::definite(ErrorCode::Overloaded, "too many callers wait"));
            return;
        }
        self.shard.node_waiters.fetch_add(1, Ordering::Relaxed);
        applied.waiters.register(address, lapses_at, wait_until, call);
    }

    /// Refuses calls whose deadline has passed.
    fn drop_expired(&self, calls: &mut Vec<Pending>) {
        let now = Instant::now();
        let late: Vec<_> = calls.extract_if(.., |call| call.deadline <= now).collect();
        let why = "no quorum confirmed the lead before the deadline";
        self.refuse(late, &Refusal::definite(ErrorCode::Unavailable, why));
    }

    fn refuse(&self, calls: Vec<Pending>, refusal: &Refusal) {
        let mut outbox = Outbox::new(self.shard.shard, &*self.shard.observer);
        for call in calls {
            outbox.refuse(call, refusal.clone());
        }
    }
}

/// Why the lead was not confirmed.
enum Confirm {
    NotLeader,
    NoQuorum,
    Stopped,
}

/// Refuses calls whose group has been torn down before they were proposed.
pub fn refuse_torn_down(shard: &Shard, calls: Vec<Pending>) {
    if calls.is_empty() {
        return;
    }
    let mut outbox = Outbox::new(shard.shard, &*shard.observer);
    for call in calls {
        outbox.refuse(call, Refusal::definite(ErrorCode::Unavailable, "the replica is stopping"));
    }
}

fn gave_up() -> Refusal {
    Refusal::definite(ErrorCode::Deadline, "the caller gave up while it waited")
}

fn may_be_held(call: &Pending) -> bool {
    call.wait_until.is_some_and(|until| until > Instant::now())
}

/// Hold until the running claim lapses; its record says when.
fn hold_until(found: Option<&Record>) -> Verdict {
    match found.map(|record| &record.state) {
        Some(State::Claimed(claimed)) => Verdict::Hold(claimed.deadline),
        _ => Verdict::Propose,
    }
}
