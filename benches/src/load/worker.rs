//! One worker: begins calls when they are due, and checks their answers.

use super::draw::{Call, Draw};
use super::progress::Progress;
use super::store::{Claimed, Failure, Store};
use super::tally::{Kind, Tally};
use super::work::Work;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// After a failed call, so that a store that refuses at once is not asked in a tight loop.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// When calls begin, and which of them count.
#[derive(Debug)]
pub struct Schedule {
    /// When the first one begins.
    pub begin: Instant,
    /// What begins from here…
    pub measured_from: Instant,
    /// …to here is measured; nothing begins later.
    pub end: Instant,
    /// Between the beginnings of two calls of all workers; each begins when the last has ended where absent.
    pub every: Option<Duration>,
    /// No more calls than that begin; as many as there is time for where absent.
    pub calls: Option<u64>,
    /// Calls begun, of all workers.
    pub turns: AtomicU64,
}

impl Schedule {
    /// Waits until this worker's next call is due and tells when it was; `None` at the end.
    async fn turn(&self) -> Option<Instant> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        if self.calls.is_some_and(|calls| turn >= calls) {
            return None;
        }
        let now = Instant::now();
        let due = self.every.map_or(now, |every| {
            let nanos = every.as_nanos().saturating_mul(u128::from(turn));
            self.begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        });
        if due >= self.end {
            return None;
        }
        // A timer ends at a whole millisecond: what is due already must not wait for one.
        if due > now {
            sleep_until(due).await;
        }
        Some(due)
    }
}

/// A worker.
pub struct Worker<S> {
    /// Its number.
    pub number: usize,
    /// The store.
    pub store: S,
    /// All workers' keys.
    pub work: Arc<Work>,
    /// When to begin.
    pub schedule: Arc<Schedule>,
    /// What it asks.
    pub draw: Draw,
    /// What everybody has done.
    pub progress: Arc<Progress>,
    /// What it has seen, with some of the others.
    pub tally: Arc<Mutex<Tally>>,
}

/// Ends a call that cannot go on.
struct Over;

impl<S: Store> Worker<S> {
    /// Works until the schedule's end.
    pub async fn run(mut self) {
        while let Some(due) = self.schedule.turn().await {
            let call = self.draw.call();
            let replayed = match call {
                Call::Replay => self.work.completed(|count| self.draw.index(count)),
                Call::Fresh | Call::Duplicate => None,
            };
            let ended = match (call, replayed) {
                (_, Some((worker, n))) => self.replay(due, worker, n).await,
                (Call::Duplicate, None) => self.new_key(due, true).await,
                // There is nothing to replay yet.
                (Call::Fresh | Call::Replay, None) => self.new_key(due, false).await,
            };
            if ended.is_err() {
                sleep(AFTER_FAILURE).await;
            }
        }
    }

    async fn replay(&mut self, due: Instant, worker: usize, n: u64) -> Result<(), Over> {
        let key = self.work.key(worker, n);
        let found = self.store.replay(&key, self.draw.caller()).await;
        match self.timed(Kind::Replay, due, found)? {
            Claimed::Done(value) if value == self.work.value(worker, n) => Ok(()),
            other => Err(self.wrong(&key, "a completed key", &other)),
        }
    }

    async fn new_key(&mut self, due: Instant, twice: bool) -> Result<(), Over> {
        let n = self.work.next(self.number);
        let done = self.claim_and_complete(due, n, twice).await;
        match done {
            Ok(()) => self.work.done(self.number),
            Err(Over) => self.work.failed(self.number),
        }
        done
    }

    async fn claim_and_complete(&mut self, due: Instant, n: u64, twice: bool) -> Result<(), Over> {
        let key = self.work.key(self.number, n);
        let claimed = if twice {
            self.claim_twice(due, &key).await?
        } else {
            let claimed = self.store.claim(&key, self.draw.caller()).await;
            self.timed(Kind::Claim, due, claimed)?
        };
        let Claimed::Granted(token) = claimed else {
            return Err(self.wrong(&key, "a new key", &claimed));
        };
        let began = Instant::now();
        let kept = self.store.complete(&key, token, self.work.value(self.number, n)).await;
        match self.timed(Kind::Complete, began, kept)? {
            true => Ok(()),
            false => {
                self.tally.lock().wrong(format!("{key}: the complete of its only holder was not kept"));
                Err(Over)
            }
        }
    }

    /// Of two claims at once one is granted, and the other hears that it runs.
    async fn claim_twice(&mut self, due: Instant, key: &str) -> Result<Claimed<S::Token>, Over> {
        let (one, two) = (self.draw.caller(), self.draw.caller());
        let (one, two) = tokio::join!(self.store.claim(key, one), self.store.claim(key, two));
        let one = self.timed(Kind::Duplicate, due, one);
        let two = self.timed(Kind::Duplicate, due, two);
        match (one?, two?) {
            (granted @ Claimed::Granted(_), Claimed::Running)
            | (Claimed::Running, granted @ Claimed::Granted(_)) => Ok(granted),
            (Claimed::Granted(_), Claimed::Granted(_)) => {
                self.tally.lock().wrong(format!("{key}: granted to two callers at once"));
                Err(Over)
            }
            (Claimed::Granted(_), other) | (other, _) => {
                Err(self.wrong(key, "a key that is being claimed", &other))
            }
        }
    }

    /// Notes an operation that has just been answered, if it began when things are measured.
    fn timed<T>(&self, kind: Kind, began: Instant, answer: Result<T, Failure>) -> Result<T, Over> {
        let counts = began >= self.schedule.measured_from;
        match answer {
            Ok(answer) => {
                let took = began.elapsed();
                self.progress.answered(took);
                if counts {
                    self.tally.lock().answered(kind, took);
                }
                Ok(answer)
            }
            Err(failure) => {
                self.progress.failed();
                if counts {
                    self.tally.lock().failed(&failure.code, &failure.text);
                }
                Err(Over)
            }
        }
    }

    fn wrong(&self, key: &str, what: &str, found: &Claimed<S::Token>) -> Over {
        let found = match found {
            Claimed::Granted(_) => "was granted",
            Claimed::Running => "was said to run",
            Claimed::Done(_) => "gave other bytes than were kept",
            Claimed::Other(text) => text,
        };
        self.tally.lock().wrong(format!("{key}: {what} {found}"));
        Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Between two milliseconds, where a timer would wait for the next one: each call of each store would.
    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_waits_for_nothing() {
        let begin = Instant::now();
        let end = begin + Duration::from_secs(1);
        let schedule =
            Schedule { begin, measured_from: begin, end, every: None, calls: None, turns: AtomicU64::new(0) };
        tokio::time::advance(Duration::from_micros(300)).await;
        let polled = pin!(schedule.turn()).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Some(Instant::now())));
    }
}
