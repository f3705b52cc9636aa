//! Appends of one connection, in order for each group.
//!
//! openraft takes a stream of appends and answers in order; the stream ends at the first one that
//! it does not take. The sender then drops everything that it had sent behind it and begins a new
//! stream, so what was queued behind a refused append here is dropped with its stream: nobody
//! waits for it any more.

use crate::group::Group;
use crate::peer::convert::{raft_entry, stream_outcome, unplace, vote};
use crate::peer::service::Replies;
use crate::types::Types;
use futures_util::{StreamExt, stream};
use hapax_core::{ErrorCode, Refusal};
use hapax_wire::peer::{Append, AppendOutcome, AppendReply, Refused};
use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Appends of one group that wait for it; then the connection is read no further.
const QUEUE: usize = 64;

type Request = AppendEntriesRequest<Types>;

/// One stream of appends to a group.
struct Stream {
    requests: mpsc::Sender<Request>,
    /// The numbers of the requests that were queued, in order; none once the stream has ended.
    numbers: Arc<Mutex<Option<VecDeque<u64>>>>,
}

/// The streams of one connection.
pub struct AppendWorkers {
    replies: Replies,
    streams: HashMap<(u32, u64), Stream>,
}

impl AppendWorkers {
    /// For a connection whose replies go there.
    #[must_use]
    pub fn new(replies: Replies) -> Self {
        Self { replies, streams: HashMap::new() }
    }

    /// Hands an append to its group; waits while too many are before it.
    pub async fn append(&mut self, rpc: u64, append: Append, group: &Arc<Group>) {
        let key = (append.shard, append.to);
        let request = match convert(append) {
            Ok(request) => request,
            Err(why) => {
                let refusal = Refusal::definite(ErrorCode::Invalid, why);
                return self.replies.send(rpc, Refused { refusal });
            }
        };
        let mut request = Some(request);
        // At most two rounds: a stream that has ended is replaced by a new one.
        for _ in 0..2 {
            let stream = self.streams.entry(key).or_insert_with(|| start(group, self.replies.clone()));
            let queued = match &mut *stream.numbers.lock() {
                Some(numbers) => {
                    numbers.push_back(rpc);
                    true
                }
                None => false,
            };
            if queued && let Some(request) = request.take() {
                // When the stream ends meanwhile, the append is dropped with it, as said above.
                let _ended = stream.requests.send(request).await;
                return;
            }
            self.streams.remove(&key);
        }
    }
}

/// Refuses what openraft takes for granted: it would panic on entries that do not follow.
fn convert(append: Append) -> Result<Request, String> {
    let (mut next, mut term) = match append.prev {
        Some(prev) => (prev.index.checked_add(1), prev.term),
        None => (Some(0), 0),
    };
    for entry in &append.entries {
        if next != Some(entry.index) || entry.term < term {
            return Err("the entries do not follow one another".to_owned());
        }
        (next, term) = (entry.index.checked_add(1), entry.term);
    }
    let entries: Result<Vec<_>, _> = append.entries.into_iter().map(raft_entry).collect();
    Ok(AppendEntriesRequest {
        vote: vote(append.ballot),
        prev_log_id: append.prev.map(unplace),
        entries: entries.map_err(|error| error.to_string())?,
        leader_commit: append.committed.map(unplace),
    })
}

/// Starts a stream and the task that answers for it.
fn start(group: &Arc<Group>, replies: Replies) -> Stream {
    let (requests, queue) = mpsc::channel(QUEUE);
    let numbers = Arc::new(Mutex::new(Some(VecDeque::new())));
    let input = stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) });
    let output = group.raft().stream_append(Box::pin(input));
    let answered = Arc::clone(&numbers);
    tokio::spawn(async move {
        let mut output = std::pin::pin!(output);
        while let Some(result) = output.next().await {
            let number = answered.lock().as_mut().and_then(VecDeque::pop_front);
            let Some(rpc) = number else { break };
            match result {
                Ok(result) => {
                    let outcome = stream_outcome(&result);
                    let ends = !matches!(outcome, AppendOutcome::Success(_));
                    if ends {
                        // Before the reply leaves: what comes after it begins a new stream.
                        *answered.lock() = None;
                    }
                    replies.send(rpc, AppendReply { outcome });
                }
                Err(fatal) => {
                    *answered.lock() = None;
                    let refusal = Refusal::indefinite(ErrorCode::Unavailable, fatal.to_string());
                    replies.send(rpc, Refused { refusal });
                }
            }
        }
        *answered.lock() = None;
    });
    Stream { requests, numbers }
}
