//! Calls that come at a rate, whether or not earlier ones were answered; and the peak that nodes reach, against which
//! an overload is measured.

use super::asks;
use super::caller::{Caller, FRAME};
use super::mix::Shared;
use super::overload::ask;
use super::session::{Heard, Session};
use super::targets::Lane;
use hapax_checker::history::Name;
use hapax_core::{ErrorCode, Reply, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Connections to each node.
const CONNECTIONS: usize = 4;
/// What the callers of a surge say that they wait, ms: some give up before their turn.
const DEADLINES_MS: [u32; 3] = [50, 400, 3000];
/// The rates at which the peak is looked for: from this, doubled each time, up to that.
const FIRST_RATE: f64 = 10_000.0;
const LAST_RATE: f64 = 320_000.0;
/// How long each is offered.
const RUNG: Duration = Duration::from_millis(700);
/// The pause after a connection that could not be made.
const PAUSE: Duration = Duration::from_millis(50);

/// What came of a surge. Times are counted from its first call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surge {
    /// How long calls were sent.
    pub lasted: Duration,
    /// Calls that were handed to sockets meanwhile.
    pub offered: u64,
    /// Calls that were answered meanwhile, by a reply that is no error.
    pub acknowledged: u64,
    /// Calls that were refused as `overloaded`, then or later.
    pub overloaded: u64,
    /// The same as `deadline`.
    pub late: u64,
}

impl Surge {
    /// Calls a second that were handed to sockets.
    #[must_use]
    pub fn offered_rate(&self) -> f64 {
        rate(self.offered, self.lasted)
    }

    /// Calls a second that were acknowledged.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        rate(self.acknowledged, self.lasted)
    }
}

#[derive(Debug, Default)]
struct Counts {
    offered: AtomicU64,
    acknowledged: AtomicU64,
    overloaded: AtomicU64,
    late: AtomicU64,
}

impl Counts {
    fn add(&self, heard: &[Heard]) {
        for heard in heard {
            let Heard::Answer(answer) = heard else { continue };
            let count = match &answer.reply {
                Reply::Error(refusal) if refusal.code == ErrorCode::Overloaded => &self.overloaded,
                Reply::Error(refusal) if refusal.code == ErrorCode::Deadline => &self.late,
                Reply::Error(_) => continue,
                _ => &self.acknowledged,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn rate(calls: u64, span: Duration) -> f64 {
    calls as f64 / span.as_secs_f64().max(f64::EPSILON)
}

/// The most calls a second that are acknowledged, at whatever rate they are offered: higher ones are tried until
/// one is acknowledged no better than the one before.
pub(super) async fn peak(shared: &Arc<Shared>, lane: &Arc<Lane>) -> f64 {
    let (mut peak, mut rate) = (0.0, FIRST_RATE);
    while rate <= LAST_RATE {
        let goodput = open(shared, lane, rate, RUNG).await.goodput();
        if goodput < peak {
            break;
        }
        (peak, rate) = (goodput, rate * 2.0);
    }
    peak
}

/// Sends `rate` calls a second for a while, all nodes together, and waits for no answer in between.
pub(super) async fn open(shared: &Arc<Shared>, lane: &Arc<Lane>, rate: f64, span: Duration) -> Surge {
    let (began, counts) = (Instant::now(), Arc::new(Counts::default()));
    let senders = CONNECTIONS * lane.len();
    let every = Duration::from_secs_f64((senders * FRAME) as f64 / rate.max(1.0));
    let mut sending = JoinSet::new();
    for n in 0..senders {
        let caller = shared.caller(lane, Name::from(format!("surge-{n}")));
        let sender =
            Sender { shared: Arc::clone(shared), caller, node: n % lane.len(), counts: Arc::clone(&counts) };
        sending.spawn(sender.send(began, every, began + span));
    }
    let mut hearing = Vec::new();
    while let Some(sent) = sending.join_next().await {
        hearing.extend(sent.ok());
    }
    let mut surge = Surge {
        lasted: began.elapsed(),
        offered: counts.offered.load(Ordering::Relaxed),
        acknowledged: counts.acknowledged.load(Ordering::Relaxed),
        ..Surge::default()
    };
    for mut heard in hearing {
        while heard.join_next().await.is_some() {}
    }
    surge.overloaded = counts.overloaded.load(Ordering::Relaxed);
    surge.late = counts.late.load(Ordering::Relaxed);
    surge
}

struct Sender {
    shared: Arc<Shared>,
    caller: Caller,
    node: usize,
    counts: Arc<Counts>,
}

impl Sender {
    /// Sends a frame at each moment that is due, late ones at once; who hears the answers is handed back.
    async fn send(mut self, began: Instant, every: Duration, end: Instant) -> JoinSet<()> {
        let (mut hearing, mut due, mut session) = (JoinSet::new(), began, None::<Arc<Session>>);
        while due < end && Instant::now() < end && !self.shared.is_over() {
            let Some(open) = session.as_ref().filter(|session| session.is_open()).cloned() else {
                self.count_sent(session.take());
                session = self.caller.lane.own_session(self.node).await.map(Arc::new);
                if session.is_none() {
                    sleep(PAUSE).await;
                }
                continue;
            };
            sleep_until(due).await;
            due += every;
            let frame = frame(&self.shared, &mut self.caller);
            let deadline_ms = *self.caller.rng.pick(&DEADLINES_MS).unwrap_or(&DEADLINES_MS[0]);
            let sent = self.caller.send_on(&open, self.node, &frame, deadline_ms).await;
            let (recorder, counts) = (Arc::clone(&self.caller.recorder), Arc::clone(&self.counts));
            hearing.spawn(async move {
                counts.add(&sent.heard(&recorder, &frame).await);
                // The connection closes with the last who waits for an answer on it.
                drop(open);
            });
        }
        self.count_sent(session);
        hearing
    }

    fn count_sent(&self, session: Option<Arc<Session>>) {
        let sent = session.map_or(0, |session| session.sent());
        self.counts.offered.fetch_add(sent, Ordering::Relaxed);
    }
}

fn frame(shared: &Shared, caller: &mut Caller) -> Vec<Request> {
    (0..FRAME).filter_map(|_| ask(shared, &mut caller.rng).map(asks::request)).collect()
}
