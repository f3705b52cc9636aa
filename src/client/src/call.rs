//! One logical call: routed, redirected, and sent again for as long as that is safe and has time.
//!
//! Every verb may be sent again verbatim (same nonce, same token), late or twice, and does no
//! second harm; so whatever may pass by itself is tried again until the call's deadline. What is
//! not the cluster's state but the request's fault is handed back at once.
//!
//! **Definite or not**: an error is handed back as definite only if no copy of the call was ever
//! left without a definite answer.

use crate::client::Inner;
use crate::env::{self, Instant};
use crate::error::Error;
use crate::pause::Pause;
use crate::routes::Addr;
use hapax_core::request::{ClaimAsk, GetAsk};
use hapax_core::{Answer, Ask, ErrorCode, Refusal, Reply, Request, limits};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Redirects followed without a pause; after these, nodes disagree and need a moment.
const HOPS_MAX: usize = 4;

/// How one copy of a call ended.
enum Attempt {
    /// With a reply of the protocol.
    Replied(Answer),
    /// A node said that another one leads, and which.
    Redirected(Error),
    /// It may pass.
    Again(Error),
    /// It may pass elsewhere: the node could not be reached, or fell silent.
    Elsewhere(Addr, Error),
    /// It will not.
    Refused(Error),
    /// It was not begun: the call's time is over.
    Late,
}

/// Until when a call is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// The end of it all.
    pub(crate) deadline: Instant,
    /// For claim and get: how long the server may hold the call.
    pub(crate) wait: Option<Instant>,
}

impl Inner {
    /// Sends `request` until it is answered. `in_doubt` says, before and after, whether a copy was
    /// left without a definite answer.
    pub(crate) async fn call(
        &self,
        request: Request,
        until: Until,
        in_doubt: &mut bool,
    ) -> Result<Answer, Error> {
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        let shard = request.ask.shard(self.routes.shards());
        let mut request = Arc::new(request);
        let mut pause = Pause::new(self.config.retry_backoff);
        let (mut hops, mut tries, mut avoid) = (0, 0, None);
        // What the copies so far met with tells more than that there is no time for another.
        let mut met: Option<Error> = None;
        loop {
            set_wait(&mut request, until, self.env.now());
            let generation = self.routes.generation();
            let error = match self.attempt(&request, shard, (tries + hops, avoid.as_ref()), until).await {
                Attempt::Replied(answer) => return Ok(answer),
                Attempt::Refused(error) => return Err(error.weakened(*in_doubt)),
                Attempt::Late => {
                    let error = met.unwrap_or_else(|| Error::late(false));
                    return Err(error.given_up().weakened(*in_doubt));
                }
                Attempt::Redirected(error) => {
                    self.counts.redirects.fetch_add(1, Ordering::Relaxed);
                    hops += 1;
                    avoid = None;
                    *in_doubt |= !error.is_definite();
                    if hops % (HOPS_MAX + 1) != 0 && self.env.now() < until.deadline {
                        met = Some(error);
                        continue;
                    }
                    error
                }
                Attempt::Again(error) => error,
                Attempt::Elsewhere(addr, error) => {
                    avoid = Some(addr);
                    error
                }
            };
            *in_doubt |= !error.is_definite();
            let error = if error.is_only_late() { met.take().unwrap_or(error) } else { error };
            tries += 1;
            let moment = pause.next(&self.env);
            if self.env.now() + moment >= until.deadline {
                return Err(error.given_up().weakened(*in_doubt));
            }
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
            env::sleep(moment).await;
            // A full queue says nothing about who leads.
            if self.routes.generation() == generation && error.code() != ErrorCode::Overloaded {
                self.refresh_soon(until.deadline).await;
            }
            met = Some(error);
        }
    }

    async fn attempt(
        &self,
        request: &Arc<Request>,
        shard: u32,
        (tries, avoid): (usize, Option<&Addr>),
        until: Until,
    ) -> Attempt {
        // A stale read spreads over the replicas; whoever cannot answer it sends it to the leader.
        let turn = usize::try_from(self.counts.calls.load(Ordering::Relaxed)).unwrap_or(0);
        let picked = match &request.ask {
            Ask::Get(GetAsk { stale: true, .. }) if tries == 0 => self.routes.any_replica(shard, turn, avoid),
            _ => self.routes.pick(shard, tries, avoid),
        };
        let Some(addr) = picked else {
            return Attempt::Again(Error::definite(ErrorCode::Unavailable, "no node is known for the shard"));
        };
        let now = self.env.now();
        if now >= until.deadline {
            return Attempt::Late;
        }
        let link = match self.pool.link(&addr, until.deadline).await {
            Ok(link) => link,
            Err(error) => return self.sort_own(shard, addr, error),
        };
        let held =
            until.wait.map_or(Duration::ZERO, |wait| wait.saturating_duration_since(now).min(WAIT_MAX));
        let deadline = until.deadline.min(now + self.config.attempt_timeout + held);
        match link.call(request, deadline).await {
            Ok(Answer { reply: Reply::Error(refusal), .. }) => self.sort(shard, &addr, refusal),
            Ok(answer) => Attempt::Replied(answer),
            // This side's own bound: the caller has more in flight than a connection takes. A call
            // of which a copy is under way keeps trying; a new one is pushed back at once.
            Err(error) if error.code() == ErrorCode::Overloaded && tries == 0 => Attempt::Refused(error),
            Err(error) if error.code() == ErrorCode::Overloaded => Attempt::Again(error),
            Err(error) => self.sort_own(shard, addr, error),
        }
    }

    /// What an error of this side's own means for the call. A node that refuses the greeting for a
    /// reason that will not pass is the configuration's fault.
    fn sort_own(&self, shard: u32, addr: Addr, error: Error) -> Attempt {
        let passing =
            matches!(error.code(), ErrorCode::Unavailable | ErrorCode::Deadline | ErrorCode::Overloaded);
        if error.is_definite() && !passing {
            return Attempt::Refused(error);
        }
        self.routes.not_there(shard, &addr);
        Attempt::Elsewhere(addr, error)
    }

    /// What a node's refusal means for the call.
    fn sort(&self, shard: u32, addr: &Addr, refusal: Refusal) -> Attempt {
        match refusal.code {
            ErrorCode::NotLeader => match &refusal.hint {
                Some(hint) if hint.client_addr != **addr => {
                    self.routes.hint(shard, hint);
                    Attempt::Redirected(refusal.into())
                }
                _ => {
                    self.routes.not_there(shard, addr);
                    Attempt::Again(refusal.into())
                }
            },
            ErrorCode::Unavailable | ErrorCode::Overloaded | ErrorCode::Deadline => {
                Attempt::Again(refusal.into())
            }
            _ if !refusal.definite => Attempt::Again(refusal.into()),
            _ => Attempt::Refused(refusal.into()),
        }
    }
}

/// The longest that a node holds a call.
const WAIT_MAX: Duration = Duration::from_millis(limits::WAIT_MS);

/// What is left of the wait goes into the next copy; nothing else of a call ever changes.
fn set_wait(request: &mut Arc<Request>, until: Until, now: Instant) {
    let Some(wait) = until.wait else { return };
    let left = wait.saturating_duration_since(now).min(WAIT_MAX);
    let left_ms = u64::try_from(left.as_millis()).unwrap_or(limits::WAIT_MS);
    match &mut Arc::make_mut(request).ask {
        Ask::Claim(ClaimAsk { wait_ms, .. }) | Ask::Get(GetAsk { wait_ms, .. }) => *wait_ms = left_ms,
        _ => {}
    }
}
