//! More calls at once than nodes take: what is over a bound must be refused, and definitely.

use super::asks;
use super::mix::Shared;
use super::rng::Rng;
use super::session::Heard;
use hapax_checker::history::Name;
use hapax_core::{Ask, ErrorCode, Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Connections to each node.
const CONNECTIONS: usize = 4;
/// Calls that are sent on a connection before the first answer is waited for: over its bound.
const BURST: u32 = 5000;
/// What these callers say that they wait, ms: some give up before their turn.
const DEADLINES_MS: [u32; 3] = [50, 400, 3000];

/// What came of an overload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overloaded {
    /// Calls that were answered, in whatever way.
    pub answered: u64,
    /// Of these, refused as `overloaded`.
    pub overloaded: u64,
    /// Of these, refused as `deadline`.
    pub late: u64,
    /// Calls whose answer never came.
    pub lost: u64,
}

/// Sends at least so many calls to all nodes together, or until the time is up.
pub(super) async fn run(shared: &Arc<Shared>, calls: u32, within: Duration) -> Overloaded {
    let deadline = Instant::now() + within;
    let lane = shared.lane();
    let mut senders = JoinSet::new();
    let connections = CONNECTIONS * lane.len();
    let each = calls.div_ceil(u32::try_from(connections).unwrap_or(1)).max(BURST);
    for n in 0..connections {
        let (shared, lane) = (Arc::clone(shared), Arc::clone(&lane));
        senders.spawn(async move {
            let node = n % lane.len();
            let mut caller = shared.caller(&lane, Name::from(format!("burst-{n}")));
            let mut seen = Overloaded::default();
            let mut left = each;
            while left > 0 && Instant::now() < deadline && !shared.is_over() {
                let burst = left.min(BURST);
                left -= burst;
                let Ok(Some(session)) = timeout_at(deadline, lane.own_session(node)).await else { continue };
                let mut requests: Vec<Request> = Vec::new();
                for _ in 0..burst {
                    requests.extend(ask(&shared, &mut caller.rng).map(asks::request));
                }
                let deadline_ms = *caller.rng.pick(&DEADLINES_MS).unwrap_or(&DEADLINES_MS[0]);
                for heard in caller.call_on(&session, node, &requests, deadline_ms).await {
                    seen.count(&heard);
                }
            }
            seen
        });
    }
    let mut all = Overloaded::default();
    while let Some(Ok(seen)) = senders.join_next().await {
        all.answered += seen.answered;
        all.overloaded += seen.overloaded;
        all.late += seen.late;
        all.lost += seen.lost;
    }
    all
}

/// Reads of keys that others act on, and claims of keys that nobody else knows: of many calls nobody
/// will know what became, and on one key there must be few of those.
pub(super) fn ask(shared: &Shared, rng: &mut Rng) -> Option<Ask> {
    if rng.chance(500) {
        return Some(asks::get(&*shared.keys().pick(rng)?, rng));
    }
    let key = shared.keys().own(rng)?;
    Some(Ask::Claim(asks::claim(&key, key.fingerprint(), rng)))
}

impl Overloaded {
    fn count(&mut self, heard: &Heard) {
        let Heard::Answer(answer) = heard else {
            self.lost += u64::from(*heard == Heard::Lost);
            return;
        };
        self.answered += 1;
        if let Reply::Error(refusal) = &answer.reply {
            self.overloaded += u64::from(refusal.code == ErrorCode::Overloaded);
            self.late += u64::from(refusal.code == ErrorCode::Deadline);
        }
    }
}
