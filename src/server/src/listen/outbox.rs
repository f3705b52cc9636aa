//! Replies on their way to a connection's writer.

use hapax_core::{Answer, Refusal, Reply};
use hapax_raft::call::ReplySink;
use hapax_wire::status::NodeStatus;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// What a reply is taken to weigh beside its payload.
const REPLY_BYTES: usize = 256;

/// One thing to be written.
#[derive(Debug)]
pub(super) enum Item {
    /// The answer to a call.
    Answer(u64, Answer),
    /// The answer to a question about the shard table; 0 where nobody asked.
    Table(u64),
    /// The answer to a question about the node.
    Status(u64, Box<NodeStatus>),
    /// The answer to a ping.
    Pong(u64),
}

/// How a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The other side is told why.
    Refused(Refusal),
    /// There is nobody to tell.
    Gone,
}

/// The queue between those who answer and the writer. Bounded by bytes; never blocks.
pub(super) struct Outbox {
    state: Mutex<State>,
    changed: Notify,
    limit_bytes: usize,
    in_flight: AtomicUsize,
}

#[derive(Default)]
struct State {
    items: Vec<Item>,
    bytes: usize,
    /// Bytes of what the writer is writing now.
    writing_bytes: usize,
    end: Option<End>,
}

/// What the writer is given.
pub(super) enum Next {
    /// To write.
    Items(Vec<Item>),
    /// To say, and then to close.
    End(End),
}

impl Outbox {
    pub(super) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Notify::new(),
            limit_bytes,
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Calls that are not answered yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Counts calls that are about to be submitted.
    pub(super) fn took(&self, calls: usize) {
        self.in_flight.fetch_add(calls, Ordering::AcqRel);
    }

    /// Nobody waits for the calls in flight any more; says how many they were.
    pub(super) fn forget(&self) -> usize {
        self.in_flight.swap(0, Ordering::AcqRel)
    }

    /// Adds something to write.
    pub(super) fn put(&self, item: Item) {
        let bytes = weight(&item);
        self.add(std::iter::once(item), bytes);
    }

    /// Ends the connection once what is queued was written. The first end counts.
    pub(super) fn end(&self, end: End) {
        self.state.lock().end.get_or_insert(end);
        self.changed.notify_one();
    }

    /// What comes next; waits for it.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.changed.notified().await;
            // Whoever answers now as well shares the write.
            tokio::task::yield_now().await;
        }
    }

    /// What was taken is written.
    pub(super) fn wrote(&self) {
        self.state.lock().writing_bytes = 0;
    }

    fn take(&self) -> Option<Next> {
        let mut state = self.state.lock();
        if state.end == Some(End::Gone) {
            return Some(Next::End(End::Gone));
        }
        if !state.items.is_empty() {
            state.writing_bytes = std::mem::take(&mut state.bytes);
            return Some(Next::Items(std::mem::take(&mut state.items)));
        }
        state.end.clone().map(Next::End)
    }

    fn add(&self, items: impl Iterator<Item = Item>, bytes: usize) {
        {
            let mut state = self.state.lock();
            if state.end.is_some() {
                return;
            }
            if state.bytes + state.writing_bytes + bytes > self.limit_bytes {
                // What waits would never be read: it goes, so that the reason can be told.
                *state = State { end: Some(End::Refused(too_slow())), ..State::default() };
            } else {
                state.items.extend(items);
                state.bytes += bytes;
            }
        }
        self.changed.notify_one();
    }
}

/// A connection's end of the answers.
pub(super) struct Sink {
    pub(super) outbox: Arc<Outbox>,
    /// Told how many calls were answered, for the count of all connections.
    pub(super) answered: Box<dyn Fn(usize) + Send + Sync>,
}

impl ReplySink for Sink {
    fn deliver(&self, answers: Vec<(u64, Answer)>) {
        let count = answers.len();
        let bytes = answers.iter().map(|(_, answer)| REPLY_BYTES + payload(answer)).sum();
        self.outbox.add(answers.into_iter().map(|(id, answer)| Item::Answer(id, answer)), bytes);
        // Once the connection has forgotten its calls they are not counted again.
        let left = |calls: usize| calls.checked_sub(count);
        if self.outbox.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, left).is_ok() {
            (self.answered)(count);
        }
    }
}

fn too_slow() -> Refusal {
    let text = "replies were not read fast enough; calls in flight may have had their effect";
    Refusal::indefinite(hapax_core::ErrorCode::Overloaded, text)
}

fn weight(item: &Item) -> usize {
    REPLY_BYTES
        + match item {
            Item::Answer(_, answer) => payload(answer),
            // A table or a status has about so much for each of up to a thousand shards.
            Item::Table(_) | Item::Status(..) => 64 * 1024,
            Item::Pong(_) => 0,
        }
}

/// The large parts of an answer.
fn payload(answer: &Answer) -> usize {
    match &answer.reply {
        Reply::Replayed(it) => it.result.len() + it.metadata.size_bytes(),
        Reply::State(it) => it.detail.as_ref().map_or(0, |detail| {
            let outcome = detail.outcome.as_ref();
            detail.checkpoint.len() + outcome.map_or(0, |it| it.result.len() + it.metadata.size_bytes())
        }),
        Reply::Page(it) => it.rows.iter().map(|row| REPLY_BYTES + row.address.canonical().len()).sum(),
        Reply::Granted(it) => it.checkpoint.as_ref().map_or(0, hapax_core::Blob::len),
        Reply::InDoubt(it) => it.checkpoint.len(),
        _ => 0,
    }
}
