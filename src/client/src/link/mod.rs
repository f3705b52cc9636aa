//! One connection to a node.
//!
//! Callers put calls on a bounded queue and wait; one task writes whatever is queued as one frame
//! in one write, and hands answers out as they come, in any order. What is in flight is bounded:
//! one more call is refused as `overloaded`, definite.
//!
//! **What an end of the connection means for a call**: not yet handed to the socket, it definitely
//! had no effect; otherwise nobody knows. The difference is kept per call, in [`pending`].
//!
//! A call whose caller is gone is cancelled at the node and keeps its place in flight until it is
//! answered (or its deadline is long past), since the node counts it until then.

mod dial;
mod pending;
mod reader;
mod writer;

pub(crate) use dial::dial;

use crate::env::{self, Env, Instant, Task};
use crate::error::Error;
use crate::routes::Routes;
use hapax_core::{Answer, ErrorCode, Request};
use hapax_wire::client::{ShardTable, ToClient};
use hapax_wire::status::NodeStatus;
use pending::{Pending, Waiting};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What the writer takes from its queue.
#[derive(Debug)]
enum Outgoing {
    Call { id: u64, deadline: Instant, request: Arc<Request> },
    Cancel { id: u64 },
    TableAsk { id: u64 },
    StatusAsk { id: u64 },
    Ping { nonce: u64 },
}

/// The times and bounds of a connection.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    in_flight: usize,
    ping_after: Duration,
    ping_timeout: Duration,
}

/// What the callers and the connection's task share.
#[derive(Debug)]
struct Shared {
    pending: Pending,
    queue: mpsc::WeakSender<Outgoing>,
    bounds: Bounds,
    routes: Arc<Routes>,
    env: Env,
}

/// A connection whose handshake is done. It closes when the last handle is gone.
#[derive(Debug)]
pub(crate) struct Link {
    queue: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    _task: Task,
}

impl Link {
    /// Whether calls may still be put on it.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.pending.is_open()
    }

    /// Sends one call and waits for its answer until `deadline`.
    ///
    /// # Errors
    /// Definite when the call was not handed to the socket, indefinite otherwise.
    pub(crate) async fn call(&self, request: &Arc<Request>, deadline: Instant) -> Result<Answer, Error> {
        let make = |id| Outgoing::Call { id, deadline, request: Arc::clone(request) };
        match self.ask(make, deadline).await? {
            ToClient::Answer(answer) => Ok(answer.answer),
            _ => Err(unexpected()),
        }
    }

    /// Asks for the shard table.
    pub(crate) async fn table(&self, deadline: Instant) -> Result<ShardTable, Error> {
        match self.ask(|id| Outgoing::TableAsk { id }, deadline).await? {
            ToClient::Table(table) => Ok(table.table),
            _ => Err(unexpected()),
        }
    }

    /// Asks how the node is.
    pub(crate) async fn status(&self, deadline: Instant) -> Result<NodeStatus, Error> {
        match self.ask(|id| Outgoing::StatusAsk { id }, deadline).await? {
            ToClient::Status(status) => Ok(status.status),
            _ => Err(unexpected()),
        }
    }

    async fn ask(&self, make: impl FnOnce(u64) -> Outgoing, deadline: Instant) -> Result<ToClient, Error> {
        let mut waiting = self.enter(make, deadline)?;
        match env::by(deadline, waiting.answer()).await {
            Some(answer) => answer,
            None => Err(Error::late(waiting.was_sent())),
        }
    }

    fn enter(&self, make: impl FnOnce(u64) -> Outgoing, deadline: Instant) -> Result<Waiting<'_>, Error> {
        let times = (self.shared.env.now(), deadline);
        let waiting = self.shared.pending.enter(self.shared.bounds.in_flight, &self.queue, times)?;
        match self.queue.try_send(make(waiting.id())) {
            Ok(()) => Ok(waiting),
            // Dropping `waiting` takes it out again: it was never queued.
            Err(mpsc::error::TrySendError::Full(_)) => Err(overloaded()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.shared.pending.reason()),
        }
    }
}

fn overloaded() -> Error {
    Error::definite(ErrorCode::Overloaded, "too many calls in flight on the connection")
}

fn unexpected() -> Error {
    Error::indefinite(ErrorCode::Version, "the node answered with another kind of message")
}

/// Reads and writes until one of the two ends; whatever is still waited for then learns why.
async fn drive(shared: Arc<Shared>, mut queue: mpsc::Receiver<Outgoing>, opened: dial::Opened) {
    let closing = Closing(Arc::clone(&shared));
    let (mut read, mut write) = tokio::io::split(opened.stream);
    let error = tokio::select! {
        error = reader::run(&shared, &mut read, opened.decoder) => error,
        error = writer::run(&shared, &mut write, &mut queue) => error,
    };
    shared.pending.close(error);
    drop(closing);
}

/// Closes the pending table even when the task is ended from outside.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.pending.close(Error::definite(ErrorCode::Unavailable, "the connection was closed here"));
    }
}
