//! Appends to one follower of one group, one behind another.
//!
//! Contract: the next request leaves before the last one's reply has come, up to a window; replies are handed on in the
//! order of the requests; what is not a success ends the stream, upon which openraft begins another.
//!
//! An append without entries says only how far the log is committed. The next entries say that too, and under load
//! come a moment later: it waits for them a little, and is dropped when they come. It would cost each entry as many
//! messages once more. A follower applies later by that; nothing that a caller is told depends on when it does.

use crate::peer::convert::{unplace, vote};
use crate::types::{RaftLogId, Types};
use futures_util::{Stream, StreamExt, stream};
use hapax_wire::peer::AppendOutcome;
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Appends on their way to one follower of one group.
const WINDOW: usize = 32;

/// How long the news of what is committed waits for entries to go with. An idle group's followers are behind by that,
/// which is less than what a heartbeat takes to come.
const NEWS_WAITS: Duration = Duration::from_millis(20);

/// What takes a request to the follower and brings its reply.
pub(super) trait Way: Sync {
    /// A request whose reply has not come.
    type Sent: Send;

    /// Sends a request, without waiting.
    fn send(&self, request: &AppendEntriesRequest<Types>) -> Result<Self::Sent, RPCError<Types>>;

    /// Waits for a request's reply, which has a deadline.
    fn outcome(
        &self,
        sent: &mut Self::Sent,
    ) -> impl Future<Output = Result<AppendOutcome, RPCError<Types>>> + Send;
}

/// What came of a request, for openraft.
type Reply = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// The replies to the requests of `input`.
pub(super) fn pipeline<'a, W, S>(way: &'a W, input: S) -> impl Stream<Item = Reply> + Send + 'a
where
    W: Way,
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin + Send + 'a,
{
    let pipeline = Pipeline { way, input: Some(input), in_flight: VecDeque::new(), news: None, done: false };
    stream::unfold(pipeline, Pipeline::next)
}

struct Pipeline<'a, W: Way, S> {
    way: &'a W,
    input: Option<S>,
    in_flight: VecDeque<InFlight<W::Sent>>,
    news: Option<News>,
    done: bool,
}

/// An append whose reply has not come.
struct InFlight<T> {
    prev: Option<RaftLogId>,
    last: Option<RaftLogId>,
    sent: T,
}

/// A request without entries that waits for one with, and until when.
///
/// Openraft takes it for sent. So its reply counts as of a time before it was sent, which is the careful side; and that
/// of a later request, with the same entries or more behind it, answers both.
struct News {
    request: AppendEntriesRequest<Types>,
    until: Instant,
}

impl<W, S> Pipeline<'_, W, S>
where
    W: Way,
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    /// The next reply, sending further requests while it is waited for.
    async fn next(mut self) -> Option<(Reply, Self)> {
        loop {
            let has_more = self.input.is_some() || !self.in_flight.is_empty() || self.news.is_some();
            if self.done || !has_more {
                return None;
            }
            let may_send = self.input.is_some() && self.in_flight.len() < WINDOW;
            let until = self.news.as_ref().map(|news| news.until);
            let front = self.in_flight.front_mut();
            let failed = tokio::select! {
                biased;
                outcome = outcome_of(self.way, front) => {
                    let front = self.in_flight.pop_front()?;
                    return Some((self.reply(&front, outcome), self));
                }
                request = next_request(&mut self.input), if may_send => self.take(request),
                () = at(until) => self.tell(),
            };
            // Replies that are still out are lost with this stream, as openraft expects of one that ends with an
            // error.
            if let Err(error) = failed {
                self.done = true;
                return Some((Err(error), self));
            }
        }
    }
}

impl<W: Way, S> Pipeline<'_, W, S> {
    /// Sends a request, or keeps it for a while. None is the end of the requests, which leaves nothing to wait for.
    fn take(&mut self, request: Option<AppendEntriesRequest<Types>>) -> Result<(), RPCError<Types>> {
        let Some(request) = request else {
            self.input = None;
            return self.tell();
        };
        if request.entries.is_empty() {
            let until = self.news.as_ref().map_or_else(|| Instant::now() + NEWS_WAITS, |news| news.until);
            self.news = Some(News { request, until });
            return Ok(());
        }
        self.news = None;
        self.send(&request)
    }

    /// Sends what waits.
    fn tell(&mut self) -> Result<(), RPCError<Types>> {
        match self.news.take() {
            Some(news) => self.send(&news.request),
            None => Ok(()),
        }
    }

    fn send(&mut self, request: &AppendEntriesRequest<Types>) -> Result<(), RPCError<Types>> {
        let prev = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(prev);
        self.in_flight.push_back(InFlight { prev, last, sent: self.way.send(request)? });
        Ok(())
    }

    /// What a request's outcome means for openraft. Where the stream may not go on, it ends.
    fn reply(
        &mut self,
        request: &InFlight<W::Sent>,
        outcome: Result<AppendOutcome, RPCError<Types>>,
    ) -> Reply {
        self.done = !matches!(outcome, Ok(AppendOutcome::Success(_)));
        Ok(match outcome? {
            AppendOutcome::Success(_) => Ok(request.last),
            AppendOutcome::Partial(upto) => Ok(upto.map(unplace)),
            AppendOutcome::HigherBallot(higher) => Err(StreamAppendError::HigherVote(vote(higher))),
            // Without a `prev` there is nothing to conflict with, nor is a missing replica a conflict;
            // the way has dealt with both.
            AppendOutcome::Conflict | AppendOutcome::Gone => match request.prev {
                Some(prev) => Err(StreamAppendError::Conflict(prev)),
                None => Ok(None),
            },
        })
    }
}

/// Waits for the reply of the request in front; for ever when there is none.
async fn outcome_of<W: Way>(
    way: &W,
    front: Option<&mut InFlight<W::Sent>>,
) -> Result<AppendOutcome, RPCError<Types>> {
    match front {
        Some(in_flight) => way.outcome(&mut in_flight.sent).await,
        None => std::future::pending().await,
    }
}

async fn next_request<S: Stream<Item = AppendEntriesRequest<Types>> + Unpin>(
    input: &mut Option<S>,
) -> Option<AppendEntriesRequest<Types>> {
    match input {
        Some(input) => input.next().await,
        None => None,
    }
}

/// At that time; never where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Entry, Vote, log_id};
    use futures_util::FutureExt;
    use hapax_store::log::LogPosition;
    use parking_lot::Mutex;
    use std::pin::Pin;
    use tokio::sync::{mpsc, oneshot};

    type Request = AppendEntriesRequest<Types>;

    /// The requests that were sent: how far they say the log is committed, and how many entries they carry. Each is
    /// answered when its test says so.
    #[derive(Default)]
    struct Recorded {
        sent: Mutex<Vec<(u64, usize)>>,
        replies: Mutex<VecDeque<oneshot::Sender<AppendOutcome>>>,
    }

    impl Recorded {
        fn sent(&self) -> Vec<(u64, usize)> {
            self.sent.lock().clone()
        }

        fn succeed(&self) {
            let reply = self.replies.lock().pop_front().expect("a request is out");
            let _gone = reply.send(AppendOutcome::Success(None));
        }
    }

    impl Way for Recorded {
        type Sent = oneshot::Receiver<AppendOutcome>;

        fn send(&self, request: &Request) -> Result<Self::Sent, RPCError<Types>> {
            let committed = request.leader_commit.map_or(0, |id| id.index);
            self.sent.lock().push((committed, request.entries.len()));
            let (reply, sent) = oneshot::channel();
            self.replies.lock().push_back(reply);
            Ok(sent)
        }

        async fn outcome(&self, sent: &mut Self::Sent) -> Result<AppendOutcome, RPCError<Types>> {
            Ok(sent.await.expect("answered"))
        }
    }

    fn at_index(index: u64) -> RaftLogId {
        log_id(LogPosition { term: 1, index })
    }

    /// A request of the leader of term 1, with these entries behind what is committed.
    fn request(committed: u64, entries: u64) -> Request {
        let entry = |n| Entry { log_id: at_index(committed + n), payload: openraft::EntryPayload::Blank };
        AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(at_index(committed)),
            leader_commit: Some(at_index(committed)),
            entries: (1..=entries).map(entry).collect(),
        }
    }

    type Input = Pin<Box<dyn Stream<Item = Request> + Send>>;

    fn input() -> (mpsc::UnboundedSender<Request>, Input) {
        let (requests, mut receiver) = mpsc::unbounded_channel();
        (requests, Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context))))
    }

    async fn pass(ms: u64) {
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn news_of_what_is_committed_goes_with_the_entries_that_come() {
        let (way, (requests, input)) = (Recorded::default(), input());
        let mut replies = Box::pin(pipeline(&way, input));
        requests.send(request(1, 2)).expect("taken");
        requests.send(request(3, 0)).expect("taken");
        assert!(replies.next().now_or_never().is_none());
        assert_eq!(way.sent(), [(1, 2)], "the news waits");
        pass(19).await;
        requests.send(request(3, 1)).expect("taken");
        assert!(replies.next().now_or_never().is_none());
        pass(100).await;
        assert!(replies.next().now_or_never().is_none());
        assert_eq!(way.sent(), [(1, 2), (3, 1)], "the entries carried the news");
        for index in [3, 4] {
            way.succeed();
            let reply = replies.next().await.expect("a reply").expect("no error of the way");
            assert_eq!(reply, Ok(Some(at_index(index))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn news_goes_alone_where_no_entries_come() {
        let (way, (requests, input)) = (Recorded::default(), input());
        let mut replies = Box::pin(pipeline(&way, input));
        requests.send(request(3, 0)).expect("taken");
        assert!(replies.next().now_or_never().is_none());
        pass(15).await;
        // Newer news takes the place of the older, whose time counts.
        requests.send(request(4, 0)).expect("taken");
        assert!(replies.next().now_or_never().is_none());
        pass(4).await;
        assert!(replies.next().now_or_never().is_none());
        assert_eq!(way.sent(), []);
        pass(1).await;
        assert!(replies.next().now_or_never().is_none());
        assert_eq!(way.sent(), [(4, 0)]);
        way.succeed();
        let reply = replies.next().await.expect("a reply").expect("no error of the way");
        assert_eq!(reply, Ok(Some(at_index(4))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_does_not_wait() {
        let (way, (requests, input)) = (Recorded::default(), input());
        let mut replies = Box::pin(pipeline(&way, input));
        // A probe is the only request of its stream.
        requests.send(request(3, 0)).expect("taken");
        drop(requests);
        assert!(replies.next().now_or_never().is_none());
        assert_eq!(way.sent(), [(3, 0)]);
        way.succeed();
        assert!(replies.next().await.expect("a reply").is_ok());
        assert!(replies.next().await.is_none(), "the stream ends with its requests");
    }
}
