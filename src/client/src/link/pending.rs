//! The calls in flight on a connection, and what becomes of them.

use super::{Outgoing, overloaded, unexpected};
use crate::env::Instant;
use crate::error::Error;
use hapax_core::ErrorCode;
use hapax_wire::client::ToClient;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long after its deadline an abandoned call may still be answered: a node that has not done so
/// by then never will, and must not hold its place for ever.
const GRACE: Duration = Duration::from_secs(10);

type Told = Result<ToClient, Error>;

/// The table of what is waited for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    entries: HashMap<u64, Entry>,
    closed: Option<Error>,
}

#[derive(Debug)]
struct Entry {
    /// Handed to the socket: from then on its outcome is known only from its answer.
    sent: bool,
    deadline: Instant,
    /// Absent once the caller is gone.
    caller: Option<oneshot::Sender<Told>>,
}

impl Pending {
    pub(super) fn is_open(&self) -> bool {
        self.table.lock().closed.is_none()
    }

    /// Takes a place, if there is one.
    pub(super) fn enter<'a>(
        &'a self,
        bound: usize,
        queue: &'a mpsc::Sender<Outgoing>,
        (now, deadline): (Instant, Instant),
    ) -> Result<Waiting<'a>, Error> {
        let mut table = self.table.lock();
        if let Some(reason) = &table.closed {
            return Err(reason.clone());
        }
        if table.entries.len() >= bound {
            table.entries.retain(|_, entry| entry.caller.is_some() || now < entry.deadline + GRACE);
        }
        if table.entries.len() >= bound {
            return Err(overloaded());
        }
        table.last_id += 1;
        let id = table.last_id;
        let (caller, told) = oneshot::channel();
        table.entries.insert(id, Entry { sent: false, deadline, caller: Some(caller) });
        Ok(Waiting { pending: self, queue, id, told, settled: false })
    }

    /// Notes that the writer is about to hand `id` to the socket. False when nobody waits for it
    /// any more: it is then not sent at all.
    pub(super) fn send(&self, id: u64) -> bool {
        match self.table.lock().entries.get_mut(&id) {
            Some(entry) => {
                entry.sent = true;
                true
            }
            None => false,
        }
    }

    /// Ends one with an error of this side's own.
    pub(super) fn fail(&self, id: u64, error: Error) {
        self.settle([(id, Err(error))]);
    }

    /// Hands out what came. Unknown ids are ignored: a node may answer late what it answered once.
    pub(super) fn settle(&self, told: impl IntoIterator<Item = (u64, Told)>) {
        let mut table = self.table.lock();
        for (id, told) in told {
            if let Some(Entry { caller: Some(caller), .. }) = table.entries.remove(&id) {
                let _caller_may_be_gone = caller.send(told);
            }
        }
    }

    /// Ends all of them: the first reason given counts.
    pub(super) fn close(&self, reason: Error) {
        let mut table = self.table.lock();
        if table.closed.is_some() {
            return;
        }
        for (_, entry) in table.entries.drain() {
            if let Some(caller) = entry.caller {
                let _caller_may_be_gone = caller.send(Err(lost(entry.sent, &reason)));
            }
        }
        table.closed = Some(reason);
    }

    /// Why it is closed.
    pub(super) fn reason(&self) -> Error {
        let closed = self.table.lock().closed.clone();
        closed.unwrap_or_else(|| Error::definite(ErrorCode::Unavailable, "the connection is closing"))
    }

    /// Whether it was handed to the socket, and whether somebody must cancel it.
    fn leave(&self, id: u64) -> bool {
        let mut table = self.table.lock();
        match table.entries.get_mut(&id) {
            Some(entry) if entry.sent => {
                entry.caller = None;
                true
            }
            Some(_) => {
                table.entries.remove(&id);
                false
            }
            None => false,
        }
    }
}

/// What a call learns when its connection ends.
fn lost(sent: bool, reason: &Error) -> Error {
    if sent {
        Error::indefinite(ErrorCode::Unavailable, format!("the connection ended: {}", reason.text()))
    } else {
        reason.clone()
    }
}

/// A place in flight; dropped unanswered, it is cancelled.
pub(super) struct Waiting<'a> {
    pending: &'a Pending,
    queue: &'a mpsc::Sender<Outgoing>,
    id: u64,
    told: oneshot::Receiver<Told>,
    settled: bool,
}

impl Waiting<'_> {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) async fn answer(&mut self) -> Told {
        let told = (&mut self.told).await;
        self.settled = true;
        told.unwrap_or_else(|_| Err(unexpected()))
    }

    pub(super) fn was_sent(&self) -> bool {
        // No entry means that the answer came in this very moment: it was sent then.
        self.pending.table.lock().entries.get(&self.id).is_none_or(|entry| entry.sent)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.settled && self.pending.leave(self.id) {
            // A full queue means that the node does not read; it will find the caller gone when
            // the call's own deadline passes.
            let _best_effort = self.queue.try_send(Outgoing::Cancel { id: self.id });
        }
    }
}
