//! One log entry on its way: from commands to bytes, through Raft, back to replies.

use crate::group::RaftGroup;
use crate::group::shard::{Lead, Shard};
use crate::serve::driver::DriverHandle;
use crate::serve::in_flight::InFlight;
use crate::serve::outbox::{Outbox, not_leader, too_slow};
use crate::serve::pending::{Pending, Work};
use crate::serve::reader::Reads;
use crate::types::{Applied, CommittedLeader, Proposal, Types};
use hapax_core::seeded::{self, Bug};
use hapax_core::{Basis, Batch, ErrorCode, LogTime, Refusal, Reply, Verb, Witness, limits};
use hapax_store::codec::batch::{BATCH_BYTES_MAX, command_bytes_max, encode_batch};
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};

/// How long a read waits for an entry to be proposed, and then for it to confirm the lead. It asks for itself then, and
/// hears who leads by now.
pub const RIDE: Duration = Duration::from_millis(100);

/// What an entry holds on to until it is answered.
pub struct Sent {
    /// The replica.
    pub shard: Arc<Shard>,
    /// The addresses in flight.
    pub in_flight: Arc<Mutex<InFlight>>,
    /// Where calls go to be read.
    pub reader: UnboundedSender<Reads>,
    /// The driver, for leader hints.
    pub handle: DriverHandle,
    /// Calls to read once the entry is applied.
    pub after: Vec<Pending>,
    /// Calls that came before the entry was proposed: once it is applied, this replica has led after they came, and has
    /// applied all that was committed then.
    pub riding: Vec<Pending>,
    /// The entry's place among those in flight.
    pub permit: OwnedSemaphorePermit,
}

/// Takes from the front what fits one entry. Calls that are late are taken too, and refused.
#[must_use]
pub fn cut(ready: &mut VecDeque<Pending>, now: Instant) -> Vec<Pending> {
    let mut calls = Vec::new();
    let mut bytes = 0;
    while let Some(call) = ready.front() {
        let size = match &call.work {
            Work::Command { command, .. } => command_bytes_max(command),
            _ => 0,
        };
        let full = calls.len() == limits::ENTRY_COMMANDS || bytes + size > limits::ENTRY_BYTES;
        if full && !calls.is_empty() {
            break;
        }
        if call.deadline > now {
            bytes += size;
        }
        calls.extend(ready.pop_front());
    }
    calls
}

/// Proposes `calls` under one stamp, and leaves a task behind that answers them.
pub async fn propose(raft: &RaftGroup, lead: Lead, stamp: LogTime, calls: Vec<Pending>, sent: Sent) {
    let now = Instant::now();
    let (live, late): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|call| call.deadline > now && is_of_use(call));
    sent.finish(late, |_| Err(too_slow()));
    let mut commands = Vec::with_capacity(live.len());
    let mut waiting = Vec::with_capacity(live.len());
    for call in live {
        if let Work::Command { command, .. } = &call.work {
            commands.push((**command).clone());
            waiting.push(call);
        }
    }
    sent.shard.observer.proposed(sent.shard.shard, commands.len());
    let bytes = encode_batch(&Batch { time: stamp, commands });
    if bytes.len() > BATCH_BYTES_MAX {
        // What is cut by `command_bytes_max` is never so large; if it were, it must not get into the log.
        tracing::error!(
            shard = sent.shard.shard,
            bytes = bytes.len(),
            "an entry is too large to be proposed"
        );
        let refusal = Refusal::definite(ErrorCode::TooLarge, "the entry of this command would be too large");
        return sent.finish(waiting, |_| Err(refusal.clone()));
    }
    let (responder, reply) = ProgressResponder::<Types, ClientWriteResult<Types>>::complete_only();
    let leader = CommittedLeader::new(lead.term);
    let handed_over = raft.write(Proposal(bytes)).responder(responder).with_leader(leader).await;
    if handed_over.is_err() {
        // The group has stopped: whether the entry got in is not known.
        sent.finish(waiting, |_| Err(unknown("the replica stopped")));
        return;
    }
    tokio::spawn(sent.answer(waiting, reply));
}

impl Drop for Sent {
    /// However the entry ended, what waited for it is read now.
    fn drop(&mut self) {
        let mut calls = std::mem::take(&mut self.after);
        calls.append(&mut self.riding);
        self.read(Reads::Unconfirmed(calls));
    }
}

/// A claim whose caller is gone is not proposed: nobody would run, and the key would be held until
/// its lease lapsed. Every other verb does what its caller meant.
fn is_of_use(call: &Pending) -> bool {
    let is_claim =
        matches!(&call.work, Work::Command { command, .. } if matches!(command.verb, Verb::Claim(_)));
    !is_claim || call.is_wanted()
}

type Receiver = openraft::alias::OneshotReceiverOf<Types, ClientWriteResult<Types>>;

impl Sent {
    /// Waits for the entry; calls whose deadline passes first are told that the outcome is open, and
    /// reads that only wait for it are refused then.
    async fn answer(mut self, mut calls: Vec<Pending>, mut reply: Receiver) {
        let mut places: Vec<usize> = (0..calls.len()).collect();
        let rides_until = Instant::now() + RIDE;
        let result = loop {
            let waiting = calls.iter().chain(&self.after).map(|call| call.deadline);
            let earliest = waiting.chain((!self.riding.is_empty()).then_some(rides_until)).min();
            let Some(earliest) = earliest else { break (&mut reply).await };
            tokio::select! {
                result = &mut reply => break result,
                () = sleep_until(earliest) => {
                    self.tell_late(&mut calls, &mut places);
                    self.refuse_late_reads();
                    if Instant::now() >= rides_until {
                        let riding = std::mem::take(&mut self.riding);
                        self.read(Reads::Unconfirmed(riding));
                    }
                }
            }
        };
        match result {
            Ok(Ok(done)) => {
                let riding = std::mem::take(&mut self.riding);
                self.read(Reads::Confirmed(riding));
                self.applied(calls, &places, done.log_id.index, done.data);
            }
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => {
                let refusal = self.not_taken();
                self.finish(calls, |_| Err(refusal.clone()));
            }
            Ok(Err(_)) => self.finish(calls, |_| Err(unknown("the leader changed"))),
            Err(_) => self.finish(calls, |_| Err(unknown("the replica stopped"))),
        }
    }

    /// Sends calls to the reader.
    fn read(&self, reads: Reads) {
        if !reads.calls().is_empty()
            && let Err(error) = self.reader.send(reads)
        {
            crate::serve::reader::refuse_torn_down(&self.shard, error.0.into_calls());
        }
    }

    /// The consensus did not take the entry: another leads, or this leader has not heard from a quorum
    /// for too long, or is about to hand over.
    fn not_taken(&self) -> Refusal {
        match self.handle.leader_hint() {
            Some(hint) => not_leader(Some(hint)),
            None => Refusal::definite(ErrorCode::Unavailable, "the lead of the shard is not confirmed"),
        }
    }

    fn refuse_late_reads(&mut self) {
        let now = Instant::now();
        let mut outbox = Outbox::new(self.shard.shard, &*self.shard.observer);
        for call in self.after.extract_if(.., |call| call.deadline <= now) {
            let why = "no quorum moved log time before the deadline";
            outbox.refuse(call, Refusal::definite(ErrorCode::Unavailable, why));
        }
    }

    /// Answers calls whose deadline has passed while their entry is on its way.
    fn tell_late(&self, calls: &mut Vec<Pending>, places: &mut Vec<usize>) {
        let now = Instant::now();
        let mut late = Vec::new();
        let mut kept = Vec::with_capacity(calls.len());
        let mut kept_places = Vec::with_capacity(calls.len());
        for (call, place) in calls.drain(..).zip(places.drain(..)) {
            if call.deadline > now {
                kept.push(call);
                kept_places.push(place);
            } else {
                late.push(call);
            }
        }
        *calls = kept;
        *places = if seeded::active(Bug::RepliesShifted) { (0..calls.len()).collect() } else { kept_places };
        let open =
            Refusal::indefinite(ErrorCode::Deadline, "the deadline passed before the outcome was known");
        self.finish(late, |_| Err(seeded_definite(open.clone())));
    }

    /// Answers calls with the replies of their commands.
    fn applied(self, calls: Vec<Pending>, places: &[usize], index: u64, applied: Applied) {
        let mut replies: Vec<Option<Reply>> = applied.replies.into_iter().map(Some).collect();
        let mut next = places.iter();
        self.finish(calls, |_| {
            let place = next.next().copied().unwrap_or(usize::MAX);
            let reply = replies
                .get_mut(place)
                .and_then(Option::take)
                .ok_or_else(|| unknown("the reply is missing"))?;
            let position = u32::try_from(place).unwrap_or(u32::MAX);
            let witness = Witness {
                shard: self.shard.shard,
                index,
                position,
                time: applied.time,
                basis: Basis::Applied,
            };
            Ok((reply, witness))
        });
    }

    /// Answers calls, lets go of their addresses and of whoever was parked behind them. A claim
    /// that found somebody running, and may wait, is read again and then held.
    fn finish(
        &self,
        calls: Vec<Pending>,
        mut outcome: impl FnMut(&Pending) -> Result<(Reply, Witness), Refusal>,
    ) {
        if calls.is_empty() {
            return;
        }
        let mut to_read = Vec::new();
        let mut outbox = Outbox::new(self.shard.shard, &*self.shard.observer);
        let mut wake = Vec::new();
        {
            let mut in_flight = self.in_flight.lock();
            for call in &calls {
                to_read.extend(in_flight.remove(call));
            }
        }
        self.handle.unpark(to_read.len());
        let now = Instant::now();
        for call in calls {
            let outcome = outcome(&call);
            let granted = matches!(outcome, Ok((Reply::Granted(_), _)));
            if call.woken && !granted {
                wake.extend(call.address().cloned());
            }
            match outcome {
                Ok((Reply::InFlight(_), _)) if call.wait_until.is_some_and(|until| until > now) => {
                    to_read.push(call)
                }
                Ok((reply, witness)) => outbox.reply(call, reply, witness),
                Err(refusal) => outbox.refuse(call, refusal),
            }
        }
        drop(outbox);
        wake_others(&self.shard, wake);
        self.read(Reads::Unconfirmed(to_read));
    }
}

/// The oldest waiter asked for an open record and did not get it: let the next one ask.
pub fn wake_others(shard: &Shard, addresses: impl IntoIterator<Item = hapax_core::Address>) {
    for address in addresses {
        let woken = shard.applied.lock().waiters.take(&address);
        shard.wake(woken);
    }
}

fn unknown(text: &str) -> Refusal {
    seeded_definite(Refusal::indefinite(ErrorCode::Unavailable, text))
}

/// [`Bug::IndefiniteCalledDefinite`].
fn seeded_definite(refusal: Refusal) -> Refusal {
    Refusal { definite: refusal.definite || seeded::active(Bug::IndefiniteCalledDefinite), ..refusal }
}
