//! One verb on its way through a node, and the connection that waits for its reply.

use hapax_core::{Answer, Principal, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Marks of calls that were given up, kept for one connection: more than may be in flight on it.
const CANCELLED_MAX: usize = 2 * hapax_wire::limits::IN_FLIGHT;

/// One verb that a caller sent.
#[derive(Debug)]
pub struct Call {
    /// The caller's number for it, unique on its connection.
    pub id: u64,
    /// What is left until the caller stops waiting, ms, when it arrived.
    pub deadline_ms: u32,
    /// Which frame it came in, of those submitted together. Calls of one frame on one address take
    /// effect in its order, so those that go to one node are never taken apart.
    pub frame: u64,
    /// The verb.
    pub request: Request,
}

/// Where replies go. Implementations are bounded and never block: a connection that does not
/// drain its replies is closed, not waited for.
pub trait ReplySink: Send + Sync + 'static {
    /// Hands over replies; called once per call id, in any order.
    fn deliver(&self, answers: Vec<(u64, Answer)>);
}

/// A connection with an identity, shared by all calls that arrived on it.
pub struct Caller {
    principal: Principal,
    sink: Box<dyn ReplySink>,
    open: Arc<AtomicBool>,
    cancelled: parking_lot::Mutex<std::collections::HashSet<u64>>,
    /// Told when somebody gives up.
    changes: watch::Sender<()>,
}

impl Caller {
    /// A connection of `principal` (empty while no authentication is set).
    #[must_use]
    pub fn new(principal: Principal, sink: Box<dyn ReplySink>) -> Arc<Self> {
        Self::sharing(principal, sink, Arc::new(AtomicBool::new(true)))
    }

    /// One of several callers that are gone together, once `open` is false.
    #[must_use]
    pub fn sharing(principal: Principal, sink: Box<dyn ReplySink>, open: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            principal,
            sink,
            open,
            cancelled: parking_lot::Mutex::default(),
            changes: watch::Sender::new(()),
        })
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Marks the connection as gone: waiting calls of it are never granted.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
        self.changes.send_replace(());
    }

    /// Marks one call as given up by its caller. The mark is taken away when the call is answered;
    /// one that came after the answer stays, so that from time to time all of them are forgotten.
    pub fn cancel(&self, id: u64) {
        let mut cancelled = self.cancelled.lock();
        if cancelled.len() >= CANCELLED_MAX {
            cancelled.clear();
        }
        cancelled.insert(id);
        drop(cancelled);
        self.changes.send_replace(());
    }

    /// Told whenever [`Caller::wants`] may have changed for a call.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Whether somebody still waits for the reply of this call.
    #[must_use]
    pub fn wants(&self, id: u64) -> bool {
        self.open.load(Ordering::Acquire) && !self.cancelled.lock().contains(&id)
    }

    /// Delivers replies and forgets what was marked for them.
    pub fn deliver(&self, answers: Vec<(u64, Answer)>) {
        {
            let mut cancelled = self.cancelled.lock();
            if !cancelled.is_empty() {
                for (id, _) in &answers {
                    cancelled.remove(id);
                }
            }
        }
        if self.open.load(Ordering::Acquire) {
            self.sink.deliver(answers);
        }
    }
}
