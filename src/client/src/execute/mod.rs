//! Running something once.
//!
//! [`Client::execute`] claims the address (waiting while somebody else runs), keeps the lease alive
//! while the work runs, completes with what the work gave, and hands back either that or what an
//! earlier run gave.
//!
//! **What stands where it ends early**
//! - The work returned an error, or the execute future was dropped, before the mark: the claim is
//!   released, and the next caller runs it.
//! - The same after the mark was asked for: nothing is sent. The lease lapses and the record is in
//!   doubt (under the default policy) until somebody resolves it.
//! - The process died: the lease lapses; before the mark the next caller takes over, after it the
//!   record is in doubt.
//! - The lease was lost while the work ran on: the work is told ([`Execution::lost`]); what it gives
//!   is still offered, and kept as `late` if nobody has taken over.

mod context;
mod ending;
mod guard;
mod holding;
mod payload;

pub use context::Execution;
pub use ending::{Ending, ExecuteError, Executed, Fresh, HoldError, Replay};
pub use payload::Raw;

use crate::claim::ClaimRequest;
use crate::client::Client;
use crate::error::Error;
use crate::fingerprint::Print;
use crate::reply::{ClaimReply, CompleteReply, Replied};
use guard::{Claiming, Running};
use hapax_core::reply::Granted;
use hapax_core::request::{CompleteAsk, ReleaseAsk};
use hapax_core::{Address, ErrorCode, Label, LogTime, Money, Outcome, OutcomeClass, Reason, Trace};
use holding::Holding;
use payload::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long execute waits for another run to end where nothing else is said.
const WAIT: Duration = Duration::from_secs(30);
/// Claims made anew after one whose reply came only when its lease was over.
const CLAIMS_MAX: u32 = 3;

/// One execution to be; made by [`Client::execute`].
#[must_use = "nothing happens before `run`"]
#[derive(Clone, Debug)]
pub struct Execute {
    client: Client,
    claim: ClaimRequest,
    retention: Option<Duration>,
}

impl Client {
    /// Something to be run once for `address`; a request with another fingerprint is a mismatch.
    /// Waits up to 30 s for another run to end, unless told otherwise.
    ///
    /// ```no_run
    /// use hapax_client::{Client, Ending, Executed, address, fingerprint};
    /// # async fn charge(amount: u64) -> Result<String, std::io::Error> { Ok(String::new()) }
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let address = address("acme", "payments.charge", "order-991")?;
    /// let executed = client
    ///     .execute(address, fingerprint::of(&("order-991", 1234))?)
    ///     .run(|run| async move {
    ///         // From here on the charge may have happened: nobody may silently repeat it.
    ///         run.mark().await?;
    ///         Ok::<_, Box<dyn std::error::Error>>(Ending::Success(charge(1234).await?))
    ///     })
    ///     .await?;
    /// match executed {
    ///     Executed::Fresh(fresh) => println!("charged now: {}", fresh.value),
    ///     Executed::Replayed(replay) => println!("charged before: {}", replay.value),
    ///     other => println!("not charged here: {}", other.name()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn execute(&self, address: Address, print: impl Into<Print>) -> Execute {
        let claim = ClaimRequest::new(address).fingerprint(print).wait(WAIT);
        Execute { client: self.clone(), claim, retention: None }
    }
}

impl Execute {
    /// The lease to ask for; the policy's otherwise. It is renewed every third of it while the
    /// work runs, so it is no bound on the work: it says how soon a dead worker is replaced.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.claim = self.claim.lease(lease);
        self
    }

    /// How long to wait while somebody else runs.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.claim = self.claim.wait(wait);
        self
    }

    /// Free text for operators.
    pub fn label(mut self, label: Label) -> Self {
        self.claim = self.claim.label(label);
        self
    }

    /// The caller's trace parent.
    pub fn trace(mut self, trace: Trace) -> Self {
        self.claim = self.claim.trace(trace);
        self
    }

    /// The value at stake.
    pub fn value(mut self, value: Money) -> Self {
        self.claim = self.claim.value(value);
        self
    }

    /// When this logical request was first sent.
    pub fn first_sent(mut self, time: LogTime) -> Self {
        self.claim = self.claim.first_sent(time);
        self
    }

    /// How long the result shall be replayed; the policy's for its class otherwise.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Runs `work` if nobody has, with results as JSON.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub async fn run<T, E, W, F>(self, work: W) -> Result<Executed<T>, ExecuteError<T, E>>
    where
        T: Serialize + DeserializeOwned,
        W: FnOnce(Execution) -> F,
        F: Future<Output = Result<Ending<T>, E>>,
    {
        self.run_with(&payload::json(), work).await
    }

    /// Runs `work` if nobody has, with results as they are.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub async fn run_raw<E, W, F>(self, work: W) -> Result<Executed<Raw>, ExecuteError<Raw, E>>
    where
        W: FnOnce(Execution) -> F,
        F: Future<Output = Result<Ending<Raw>, E>>,
    {
        self.run_with(&payload::raw(), work).await
    }

    async fn run_with<T, E, W, F>(
        mut self,
        payload: &Payload<T>,
        work: W,
    ) -> Result<Executed<T>, ExecuteError<T, E>>
    where
        W: FnOnce(Execution) -> F,
        F: Future<Output = Result<Ending<T>, E>>,
    {
        let (granted, mut running) = match self.acquire().await.map_err(ExecuteError::Claim)? {
            Acquired::Ours(granted, running) => (granted, running),
            Acquired::Not(replied) => return settled(*replied, payload),
        };
        let ended = work(Execution::new(granted, Arc::clone(running.holding()))).await;
        // Whatever happens from here on, the claim must not be released behind the outcome's back.
        running.work_ended();
        match ended {
            Ok(ending) => self.end(running.holding(), ending, payload).await,
            Err(error) => {
                let in_doubt = running.holding().mark_was_asked();
                if !in_doubt {
                    release(&self.client, running.holding(), "the work failed").await;
                }
                Err(ExecuteError::Work { error, in_doubt })
            }
        }
    }

    /// Claims until the claim is ours with enough of its lease left to begin, or is not to be had.
    async fn acquire(&mut self) -> Result<Acquired, Error> {
        let env = self.client.env().clone();
        let whole_wait = crate::env::after(env.now(), self.claim.wait);
        for _ in 0..CLAIMS_MAX {
            // Ours alone: a claim whose reply was lost for good is over, and a new one takes a new
            // nonce.
            let nonce = env.nonce()?;
            self.claim = self.claim.clone().nonce(nonce);
            let suspended = env.suspended();
            let claiming = Claiming::new(&self.client, &self.claim);
            let replied = self.client.claim(self.claim.clone()).await;
            claiming.disarm();
            let replied = replied?;
            self.claim.wait = whole_wait.saturating_duration_since(env.now());
            match replied.reply {
                ClaimReply::Granted(granted) => {
                    let sent = (replied.sent, suspended);
                    let running = Running::new(Holding::begin(
                        &self.client,
                        &self.claim,
                        &granted,
                        sent,
                        replied.witness,
                    ));
                    match running.holding().freshen().await {
                        Ok(()) => return Ok(Acquired::Ours(granted, running)),
                        Err(HoldError::Lost) => {}
                        Err(HoldError::Call(error)) => return Err(error),
                    }
                }
                ClaimReply::Ended(_) => {}
                _ => return Ok(Acquired::Not(Box::new(replied))),
            }
        }
        Err(Error::definite(ErrorCode::Unavailable, "each claim's lease was over before its grant arrived"))
    }

    /// Sends what the work gave.
    async fn end<T, E>(
        self,
        holding: &Holding,
        ending: Ending<T>,
        payload: &Payload<T>,
    ) -> Result<Executed<T>, ExecuteError<T, E>> {
        let (class, value) = match ending {
            Ending::Success(value) => (OutcomeClass::Success, value),
            Ending::Rejected(value) => (OutcomeClass::Rejected, value),
            Ending::Error(value) => (OutcomeClass::Error, value),
            Ending::TryAgain(why) => {
                release(&self.client, holding, &why).await;
                return Ok(Executed::TryAgain(why));
            }
        };
        let mut fresh = holding.fresh(class, value);
        if holding.is_shadow() {
            return Ok(Executed::Fresh(fresh));
        }
        let completed = match (payload.encode)(&fresh.value) {
            Ok((result, metadata)) => {
                let outcome = Outcome { class, result, metadata };
                self.client.complete(self.complete(holding, outcome)).await
            }
            Err(error) => Err(error),
        };
        match completed {
            Ok(Replied { reply, witness, .. }) => {
                fresh.witness = witness;
                Ok(match reply {
                    CompleteReply::Completed(kept) => {
                        fresh.late = kept.late;
                        fresh.expires_at = Some(kept.expires_at);
                        Executed::Fresh(fresh)
                    }
                    CompleteReply::AlreadyCompleted | CompleteReply::Ignored => Executed::Fresh(fresh),
                    CompleteReply::Conflict => Executed::Conflict(fresh),
                    CompleteReply::Fenced => Executed::Fenced(fresh),
                })
            }
            Err(error) => Err(ExecuteError::Unrecorded { fresh: Box::new(fresh), error }),
        }
    }

    fn complete(&self, holding: &Holding, outcome: Outcome) -> CompleteAsk {
        CompleteAsk {
            address: holding.address().clone(),
            token: holding.token(),
            outcome,
            retention_ms: self.retention.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

enum Acquired {
    Ours(Granted, Running),
    Not(Box<Replied<ClaimReply>>),
}

/// Gives the claim back; if that fails, it lapses.
async fn release(client: &Client, holding: &Holding, why: &str) {
    if holding.is_shadow() {
        return;
    }
    if let Err(error) = client.release(release_ask(holding, why)).await {
        tracing::warn!(%error, "a claim could not be released and will lapse");
    }
}

fn release_ask(holding: &Holding, why: &str) -> ReleaseAsk {
    let end = why.floor_char_boundary(hapax_core::limits::REASON_BYTES);
    let reason = Reason::new(&why[..end]).ok();
    ReleaseAsk { address: holding.address().clone(), token: holding.token(), reason }
}

/// What a claim that is not ours means for the execution.
fn settled<T, E>(
    replied: Replied<ClaimReply>,
    payload: &Payload<T>,
) -> Result<Executed<T>, ExecuteError<T, E>> {
    let Replied { reply, witness, cached, .. } = replied;
    Ok(match reply {
        ClaimReply::Replayed(replayed) => {
            let value = (payload.decode)(&replayed.result, &replayed.metadata)
                .map_err(|error| ExecuteError::Undecoded { replayed: Box::new(replayed.clone()), error })?;
            Executed::Replayed(Replay {
                class: replayed.class,
                value,
                completed_at: replayed.completed_at,
                expires_at: replayed.expires_at,
                attempt: replayed.attempt,
                first_trace: replayed.first_trace,
                cached,
                witness,
            })
        }
        ClaimReply::InFlight(running) => Executed::InFlight(running),
        ClaimReply::Mismatch(mismatch) => Executed::Mismatch(mismatch),
        ClaimReply::InDoubt(doubt) => Executed::InDoubt(doubt),
        ClaimReply::Spent(spent) => Executed::Spent(spent),
        ClaimReply::TooOld => Executed::TooOld,
        ClaimReply::Granted(_) | ClaimReply::Ended(_) => {
            let text = "a claim that was granted or ended is no settled one";
            return Err(ExecuteError::Claim(Error::indefinite(ErrorCode::Version, text)));
        }
    })
}
