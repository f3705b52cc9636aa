//! The task that decides, for every call of a shard, whether it is read or proposed.
//!
//! Bounded: over `queued_calls_per_shard` calls a new one is refused as overloaded. While
//! `entries_in_flight` entries are on their way, commands gather into the next entry; where many are around they
//! wait for one another, for milliseconds ([`crate::serve::gather`]). A refusal from here is definite, since nothing
//! was proposed.

use crate::config::NodeLimits;
use crate::group::RaftGroup;
use crate::group::shard::Shard;
use crate::serve::entry::{self, RIDE, Sent};
use crate::serve::gather::Gather;
use crate::serve::in_flight::InFlight;
use crate::serve::outbox::{Outbox, not_leader, too_slow};
use crate::serve::pending::{Followers, Pending, Work};
use crate::serve::reader::Reads;
use hapax_core::quota::refuse_claim;
use hapax_core::{Address, Answer, Command, ErrorCode, LeaderHint, LogTime, ReadAt, Refusal, Reply, Verb};
use hapax_store::address_map::{AddressMap, AddressSet};
use hapax_store::log::Log;
use hapax_store::records::Look;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// How often commands that cannot be proposed are looked through for passed deadlines.
const SWEEP: Duration = Duration::from_millis(50);

/// What reaches the driver.
pub enum Message {
    /// New calls.
    Calls(Vec<Pending>),
    /// Calls that the reader found must be proposed.
    Propose(Vec<Pending>),
    /// Log time must move before these can be read.
    TickThenRead(Vec<Pending>),
}

impl Message {
    fn calls(&self) -> &[Pending] {
        let (Self::Calls(calls) | Self::Propose(calls) | Self::TickThenRead(calls)) = self;
        calls
    }

    fn into_calls(self) -> Vec<Pending> {
        let (Self::Calls(calls) | Self::Propose(calls) | Self::TickThenRead(calls)) = self;
        calls
    }
}

/// Who leads a shard as far as this node knows, for hints.
pub type LeaderHints = Arc<dyn Fn(u32) -> Option<LeaderHint> + Send + Sync>;

/// The sending side; cheap to clone.
#[derive(Clone)]
pub struct DriverHandle {
    shard: u32,
    messages: UnboundedSender<Message>,
    queued: Arc<AtomicUsize>,
    queued_max: usize,
    hints: LeaderHints,
}

impl DriverHandle {
    /// The sending side of a shard's driver.
    #[must_use]
    pub fn new(
        shard: u32,
        messages: UnboundedSender<Message>,
        queued_max: usize,
        hints: LeaderHints,
    ) -> Self {
        Self { shard, messages, queued: Arc::default(), queued_max, hints }
    }

    /// Takes new calls in; hands back those that are over the bound, or all when the driver is gone.
    #[must_use]
    pub fn submit(&self, mut calls: Vec<Pending>) -> Vec<Pending> {
        let room = self.queued_max.saturating_sub(self.queued.load(Ordering::Relaxed));
        let mut over = calls.split_off(calls.len().min(room));
        self.queued.fetch_add(calls.len(), Ordering::Relaxed);
        if let Err(SendError(message)) = self.messages.send(Message::Calls(calls)) {
            over.extend(message.into_calls());
        }
        over
    }

    /// Calls that wait here.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Takes calls from the reader; hands them back when the driver is gone.
    #[must_use]
    pub fn hand_back(&self, message: Message) -> Vec<Pending> {
        if message.calls().is_empty() {
            return Vec::new();
        }
        self.queued.fetch_add(message.calls().len(), Ordering::Relaxed);
        self.messages.send(message).map_or_else(|SendError(message)| message.into_calls(), |()| Vec::new())
    }

    /// Calls that stood behind a get of their frame go on; they were counted when they came. Hands them
    /// back when the driver is gone.
    #[must_use]
    pub fn resume(&self, calls: Vec<Pending>) -> Vec<Pending> {
        if calls.is_empty() {
            return calls;
        }
        let sent = self.messages.send(Message::Calls(calls));
        sent.map_or_else(|SendError(message)| message.into_calls(), |()| Vec::new())
    }

    /// Calls that were parked have gone on to the reader.
    pub fn unpark(&self, gets: usize) {
        self.queued.fetch_sub(gets, Ordering::Relaxed);
    }

    /// Who leads, as far as this node knows.
    #[must_use]
    pub fn leader_hint(&self) -> Option<LeaderHint> {
        (self.hints)(self.shard)
    }
}

/// The driver of one shard.
pub struct Driver {
    log: Log,
    shard: Arc<Shard>,
    raft: RaftGroup,
    handle: DriverHandle,
    reader: UnboundedSender<Reads>,
    in_flight: Arc<Mutex<InFlight>>,
    permits: Arc<Semaphore>,
    shards: u32,
    /// Commands to propose, oldest first.
    ready: VecDeque<Pending>,
    /// Calls to read again once the next entry is applied.
    after_tick: Vec<Pending>,
    /// Calls to read. Where commands are ready they ride on the next entry, which confirms the lead as a ReadIndex would.
    riding: Vec<Pending>,
    /// Since when the first of them waits for an entry to be proposed.
    rides_since: Instant,
    tick_wanted: bool,
    gather: Gather,
}

impl Driver {
    /// A driver over its group.
    #[must_use]
    pub fn new(
        shard: Arc<Shard>,
        raft: RaftGroup,
        handle: DriverHandle,
        reader: UnboundedSender<Reads>,
        limits: &NodeLimits,
        shards: u32,
        log: Log,
    ) -> Self {
        Self {
            log,
            shard,
            raft,
            handle,
            reader,
            in_flight: Arc::default(),
            permits: Arc::new(Semaphore::new(limits.entries_in_flight.max(1))),
            shards,
            ready: VecDeque::new(),
            after_tick: Vec::new(),
            riding: Vec::new(),
            rides_since: Instant::now(),
            tick_wanted: false,
            gather: Gather::default(),
        }
    }

    /// Runs until `stop` resolves or the sending side is gone; then refuses what is left.
    pub async fn run(mut self, mut messages: UnboundedReceiver<Message>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut lead = self.shard.lead.subscribe();
        let mut next_sweep = Instant::now() + SWEEP;
        loop {
            let has_work = !self.ready.is_empty() || self.tick_wanted;
            let sweeps = has_work || self.in_flight.lock().has_parked();
            let held = self.gather.hold(self.ready.len(), Instant::now()).filter(|_| !self.tick_wanted);
            let next_lapse = self.next_lapse();
            let next_expiry = self.shard.applied.lock().waiters.next_expiry();
            tokio::select! {
                biased;
                () = &mut stop => break,
                message = messages.recv() => {
                    let Some(message) = message else { break };
                    self.take(message);
                    // What other tasks have ready now shares the entry.
                    tokio::task::yield_now().await;
                    while let Ok(message) = messages.try_recv() {
                        self.take(message);
                    }
                }
                permit = Arc::clone(&self.permits).acquire_owned(), if has_work && held.is_none() => {
                    if let Ok(permit) = permit {
                        self.propose(permit).await;
                    }
                }
                changed = lead.changed() => {
                    if changed.is_err() { break }
                    if lead.borrow_and_update().is_none() { self.lose_lead() }
                }
                () = self.shard.waits_changed.notified() => {}
                () = sleep_until(next_lapse.unwrap_or_else(far)), if next_lapse.is_some() => self.tick_wanted = true,
                () = sleep_until(next_expiry.unwrap_or_else(far)), if next_expiry.is_some() => self.end_waits(),
                () = sleep_until(held.unwrap_or_else(far)), if held.is_some() => {}
                () = sleep_until(next_sweep), if sweeps => {}
            }
            // Not by a branch of its own: a steady stream of messages must not put it off for ever.
            if sweeps && Instant::now() >= next_sweep {
                next_sweep = Instant::now() + SWEEP;
                self.drop_late();
            }
            self.place_reads();
        }
        messages.close();
        while let Some(message) = messages.recv().await {
            self.take(message);
        }
        self.refuse_all();
    }

    /// Sends calls to the reader that no entry will confirm, or none soon: it hears who leads by now.
    fn place_reads(&mut self) {
        if self.ready.is_empty() || self.rides_since.elapsed() > RIDE {
            let reads = std::mem::take(&mut self.riding);
            self.read(reads);
        }
    }

    fn take(&mut self, message: Message) {
        if self.riding.is_empty() {
            self.rides_since = Instant::now();
        }
        match message {
            Message::Calls(calls) => self.sort(calls),
            Message::Propose(calls) => {
                for call in calls {
                    self.make_ready(call);
                }
            }
            Message::TickThenRead(calls) => {
                self.after_tick.extend(calls);
                self.tick_wanted = true;
            }
        }
    }

    /// Decides for new calls, in their order, whether they are read or proposed.
    fn sort(&mut self, calls: Vec<Pending>) {
        if self.shard.lead().is_none() {
            let hint = self.handle.leader_hint();
            return self.refuse(calls, &not_leader(hint));
        }
        let stamp = self.shard.stamp().unwrap_or_default();
        let repeated = self.needing_order(&calls, stamp);
        for call in self.line_up(calls, &repeated) {
            let address = call.address();
            let is_repeated = address.is_some_and(|address| repeated.contains(address));
            let is_behind = address.is_some_and(|address| self.in_flight.lock().contains(address));
            match &call.work {
                // What it would find once applied is most often an answer that needs no entry: on a busy
                // address every retry would cost one otherwise, and would keep the address busy.
                Work::Command { command, .. }
                    if is_behind && !is_repeated && !call.woken && matches!(command.verb, Verb::Claim(_)) =>
                {
                    let free = self.park(call);
                    self.riding.extend(free);
                }
                Work::Command { command, .. } => {
                    if !is_repeated && !is_behind && self.looks_readable(command, stamp) {
                        self.riding.push(call);
                    } else {
                        self.make_ready(call);
                    }
                }
                Work::Get { .. } => {
                    let free = self.park(call);
                    self.riding.extend(free);
                }
                Work::List(_) => self.riding.push(call),
            }
        }
    }

    /// Addresses that several calls of one frame are about, of which some change something: these take effect in
    /// order. Claims and gets that are answered by a read alike may be read together: retries of a busy key often
    /// share a frame, and cost no entry.
    fn needing_order(&self, calls: &[Pending], stamp: LogTime) -> AddressSet {
        let repeated = repeated_addresses(calls);
        let is_read = |call: &Pending| match &call.work {
            Work::Command { command, .. } => {
                matches!(command.verb, Verb::Claim(_)) && self.looks_readable(command, stamp)
            }
            Work::Get { .. } | Work::List(_) => true,
        };
        let mut ordered = AddressSet::default();
        if !repeated.is_empty() {
            let changing = calls.iter().filter(|call| call.address().is_some_and(|a| repeated.contains(a)));
            ordered.extend(changing.filter(|call| !is_read(call)).filter_map(Pending::address).cloned());
        }
        ordered
    }

    /// Takes what stands behind a get of its frame on its address out of the line, to go on when that
    /// get is answered: the get is read, and nothing else keeps a command from being applied first.
    fn line_up(&self, calls: Vec<Pending>, repeated: &AddressSet) -> Vec<Pending> {
        if repeated.is_empty() {
            return calls;
        }
        let mut line: Vec<Pending> = Vec::with_capacity(calls.len());
        let mut gets: AddressMap<usize> = AddressMap::default();
        for call in calls {
            let address = call.address().filter(|address| repeated.contains(*address)).cloned();
            let place = address.as_ref().and_then(|address| gets.get(address)).copied();
            let is_get = matches!(call.work, Work::Get { .. });
            match (address, place.and_then(|place| line.get_mut(place))) {
                (Some(_), Some(get)) if !is_get || get.followers.is_some() => {
                    let none = || Followers::new(Arc::clone(&self.shard), self.handle.clone());
                    get.followers.get_or_insert_with(none).push(call);
                }
                // Gets that stand together are read together.
                (Some(address), _) if is_get => {
                    gets.insert(address, line.len());
                    line.push(call);
                }
                _ => line.push(call),
            }
        }
        line
    }

    /// Whether applied state suggests that no entry is needed. Only a guess: the reader decides. What only the disk has is
    /// not read here: where it turns out that an entry is needed it was read aside, and apply need not wait for it.
    fn looks_readable(&self, command: &Command, stamp: LogTime) -> bool {
        let applied = self.shard.applied.lock().state.time;
        let at = ReadAt { applied, stamp };
        match self.shard.records.look(&command.address) {
            Look::Known(found) => hapax_core::read_verb(found.as_deref(), command, at).is_some(),
            Look::OnDisk => true,
        }
    }

    /// Puts a call behind the commands in flight on its address, where there are any. It stays
    /// counted as queued until it is let go.
    fn park(&mut self, call: Pending) -> Option<Pending> {
        self.in_flight.lock().park(call)
    }

    /// Sends calls to the reader, which takes them out of this queue's count.
    fn read(&self, calls: Vec<Pending>) {
        if calls.is_empty() {
            return;
        }
        self.handle.queued.fetch_sub(calls.len(), Ordering::Relaxed);
        if let Err(error) = self.reader.send(Reads::Unconfirmed(calls)) {
            crate::serve::reader::refuse_torn_down(&self.shard, error.0.into_calls());
        }
    }

    /// Puts a command in line, unless a quota refuses it.
    fn make_ready(&mut self, mut call: Pending) {
        let Work::Command { command, quota } = &call.work else { return self.read(vec![call]) };
        if let Verb::Claim(claim) = &command.verb
            && !quota.is_none()
        {
            let found = self.shard.records.get(&command.address).ok().flatten();
            let applied = self.shard.applied.lock();
            let checked = applied.quota.as_ref().map_or(Ok(()), |ledger| {
                ledger.check(&command.address, found.as_deref(), *quota, self.shards)
            });
            if let Err(refusal) = checked {
                let reply = refuse_claim(claim, refusal);
                drop(applied);
                let woken = call.woken.then(|| command.address.clone());
                self.answer(call, reply);
                return entry::wake_others(&self.shard, woken);
            }
        }
        self.in_flight.lock().add(&mut call);
        self.ready.push_back(call);
    }

    /// Proposes one entry of what is ready, or a tick.
    async fn propose(&mut self, permit: OwnedSemaphorePermit) {
        self.tick_wanted = false;
        let Some(lead) = self.shard.lead() else { return self.lose_lead() };
        if self.shard.records.overfull() {
            let why = "the record store is behind";
            return self.refuse_ready(&Refusal::definite(ErrorCode::Overloaded, why));
        }
        if let Err(error) = self.log.check_room() {
            // A tick is small, and what waits for it may be a read: it goes into the reserve.
            let only_ticks = self.ready.is_empty() || !self.after_tick.is_empty();
            self.refuse_ready(&Refusal::definite(ErrorCode::Unavailable, error.to_string()));
            if !only_ticks {
                return;
            }
        }
        let Some(stamp) = self.shard.stamp() else { return self.lose_lead() };
        let now = Instant::now();
        self.gather.proposed(self.in_flight.lock().commands(), now);
        let calls = entry::cut(&mut self.ready, now);
        let taken = calls.len() + self.after_tick.len() + self.riding.len();
        self.handle.queued.fetch_sub(taken, Ordering::Relaxed);
        let sent = Sent {
            shard: Arc::clone(&self.shard),
            in_flight: Arc::clone(&self.in_flight),
            reader: self.reader.clone(),
            handle: self.handle.clone(),
            after: std::mem::take(&mut self.after_tick),
            riding: std::mem::take(&mut self.riding),
            permit,
        };
        entry::propose(&self.raft, lead, stamp, calls, sent).await;
    }

    /// When, by this machine's clock, the earliest lease that somebody waits for will have lapsed.
    fn next_lapse(&self) -> Option<Instant> {
        self.shard.lead()?;
        let lapses_at = self.shard.applied.lock().waiters.next_lapse().filter(|at| at.0 != u64::MAX)?;
        let now = self.shard.clock.lock().at_rate_one(self.shard.env.clock.boot_ms())?;
        Some(Instant::now() + Duration::from_millis(lapses_at.left_at(now).max(1)))
    }

    /// Those whose own wait is over read once more.
    fn end_waits(&self) {
        let expired = self.shard.applied.lock().waiters.take_expired(Instant::now());
        self.shard.wake(expired);
    }

    fn drop_late(&mut self) {
        let now = Instant::now();
        let (live, late): (Vec<_>, Vec<_>) = self.ready.drain(..).partition(|call| call.deadline > now);
        self.ready = live.into();
        self.give_up(late, &too_slow());
        let mut reads = self.in_flight.lock().take_late(now);
        reads.extend(self.after_tick.extract_if(.., |read| read.deadline <= now));
        reads.extend(self.riding.extract_if(.., |read| read.deadline <= now));
        self.refuse(reads, &too_slow());
    }

    /// This replica no longer leads: whatever was not proposed goes elsewhere.
    fn lose_lead(&mut self) {
        let refusal = not_leader(self.handle.leader_hint());
        self.refuse_ready(&refusal);
        let held = self.shard.applied.lock().waiters.take_all();
        self.shard.node_waiters.fetch_sub(held.len(), Ordering::Relaxed);
        let mut outbox = Outbox::new(self.shard.shard, &*self.shard.observer);
        for call in held {
            outbox.refuse(call, refusal.clone());
        }
        drop(outbox);
        let mut reads = std::mem::take(&mut self.after_tick);
        reads.append(&mut self.riding);
        self.refuse(reads, &refusal);
    }

    fn refuse_ready(&mut self, refusal: &Refusal) {
        let ready = std::mem::take(&mut self.ready).into();
        self.give_up(ready, refusal);
    }

    /// Refuses commands that were in line, and lets go of what is parked behind them.
    fn give_up(&mut self, calls: Vec<Pending>, refusal: &Refusal) {
        let mut parked = Vec::new();
        {
            let mut in_flight = self.in_flight.lock();
            for call in &calls {
                parked.extend(in_flight.remove(call));
            }
        }
        let woken = calls.iter().filter(|call| call.woken).filter_map(|call| call.address().cloned());
        let woken: Vec<Address> = woken.collect();
        self.refuse(calls, refusal);
        self.read(parked);
        entry::wake_others(&self.shard, woken);
    }

    fn refuse(&self, calls: Vec<Pending>, refusal: &Refusal) {
        self.handle.queued.fetch_sub(calls.len(), Ordering::Relaxed);
        let mut outbox = Outbox::new(self.shard.shard, &*self.shard.observer);
        for call in calls {
            outbox.refuse(call, refusal.clone());
        }
    }

    fn answer(&self, call: Pending, reply: Reply) {
        self.handle.queued.fetch_sub(1, Ordering::Relaxed);
        let answer = Answer { reply, witness: None };
        Outbox::new(self.shard.shard, &*self.shard.observer).answer(call, answer);
    }

    fn refuse_all(mut self) {
        self.lose_lead();
    }
}

/// Addresses that several calls of one frame are about: their commands take effect in order.
fn repeated_addresses(calls: &[Pending]) -> AddressSet {
    let mut repeated = AddressSet::default();
    if calls.len() > 1 {
        let mut seen: AddressSet<&Address> = AddressSet::default();
        seen.reserve(calls.len());
        for address in calls.iter().filter_map(Pending::address) {
            if !seen.insert(address) {
                repeated.insert(address.clone());
            }
        }
    }
    repeated
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
