//! A held claim: its lease by this process's own clock, its renewals, its heartbeat.
//!
//! The lease counts from the first sending of the claim, then from the first sending of each
//! renewal that came back, on a clock that goes on while the machine is suspended; its holder acts
//! for nine tenths of it. Renewals follow each other, each with a higher number, so that a delayed
//! copy of one never undoes a later one. A lease once lost stays lost, whatever a late reply says:
//! the work was told to stop.

use super::ending::{Fresh, HoldError};
use crate::claim::ClaimRequest;
use crate::client::Client;
use crate::env::{self, Env, Instant, Task};
use crate::pause::Pause;
use crate::reply::{RenewReply, act_until};
use hapax_core::reply::{Granted, Renewed};
use hapax_core::request::RenewAsk;
use hapax_core::{Address, Blob, OutcomeClass, Reply, Token, Witness};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The beats in one lease.
const BEATS: u32 = 3;

/// A held claim, or a shadow of one.
#[derive(Debug)]
pub(super) struct Holding {
    client: Client,
    address: Address,
    token: Token,
    attempt: u32,
    shadow_of: Option<Reply>,
    lease_ms: Option<u64>,
    witness: Option<Witness>,
    lease: Mutex<Lease>,
    /// The number of the last renewal; held while one is under way.
    renewing: tokio::sync::Mutex<u64>,
    lost: watch::Sender<bool>,
    heart: Mutex<Option<Task>>,
}

/// On the clock that goes on while the machine is suspended; see [`Env::lease_now`].
#[derive(Debug)]
struct Lease {
    act_until: Instant,
    beat_at: Instant,
    /// Set before the mark is sent: from then on it may be there.
    mark_asked: bool,
}

impl Holding {
    pub(super) fn begin(
        client: &Client,
        claim: &ClaimRequest,
        granted: &Granted,
        (sent, suspended): (Instant, Duration),
        witness: Option<Witness>,
    ) -> Arc<Self> {
        let (act_until, beat_at) = times(sent + suspended, granted.lease_left_ms);
        Arc::new(Self {
            client: client.clone(),
            address: claim.address.clone(),
            token: granted.token,
            attempt: granted.attempt,
            shadow_of: granted.shadow_of.as_deref().cloned(),
            lease_ms: claim.lease.map(|lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)),
            witness,
            lease: Mutex::new(Lease { act_until, beat_at, mark_asked: false }),
            renewing: tokio::sync::Mutex::new(0),
            lost: watch::Sender::new(false),
            heart: Mutex::new(None),
        })
    }

    /// Renews first if a beat is already due, as after a long wait: the work then begins with a
    /// lease that counts from now. Then starts the heartbeat.
    pub(super) async fn freshen(self: &Arc<Self>) -> Result<(), HoldError> {
        if self.is_shadow() {
            return Ok(());
        }
        if self.lease.lock().beat_at <= self.env().lease_now() {
            self.renew(None, false, env::after(self.env().now(), self.client.timeout())).await?;
        }
        let heart = self.env().spawn(beat(Arc::clone(self)));
        *self.heart.lock() = Some(heart);
        Ok(())
    }

    /// Ends the heartbeat; whoever still has a handle on the claim is told that it is over.
    pub(super) fn stop(&self) {
        self.heart.lock().take();
        self.lose();
    }

    /// Moves the lease, and with it the recovery point and the mark.
    pub(super) async fn renew(
        &self,
        checkpoint: Option<Blob>,
        mark: bool,
        until: Instant,
    ) -> Result<(), HoldError> {
        if self.is_shadow() {
            return Ok(());
        }
        let Some(mut seq) = env::by(until, self.renewing.lock()).await else {
            return Err(crate::Error::late(false).into());
        };
        if self.was_lost() {
            return Err(HoldError::Lost);
        }
        *seq += 1;
        let was_asked = self.lease.lock().mark_asked;
        self.lease.lock().mark_asked |= mark;
        let ask = RenewAsk {
            address: self.address.clone(),
            token: self.token,
            seq: *seq,
            lease_ms: self.lease_ms,
            checkpoint,
            mark,
        };
        let left = until.saturating_duration_since(self.env().now());
        let suspended = self.env().suspended();
        let replied = self.client.within(left).renew(ask).await.inspect_err(|error| {
            // Every copy was definitely refused: this one did not set the mark.
            self.lease.lock().mark_asked = was_asked || (mark && !error.is_definite());
        })?;
        match replied.reply {
            RenewReply::Renewed(renewed) => self.renewed((replied.sent, suspended), &renewed, mark),
            RenewReply::Fenced | RenewReply::Ignored => {
                self.lose();
                Err(HoldError::Lost)
            }
        }
    }

    fn renewed(
        &self,
        (sent, suspended): (Instant, Duration),
        renewed: &Renewed,
        mark: bool,
    ) -> Result<(), HoldError> {
        let (act_until, beat_at) = times(sent + suspended, renewed.lease_left_ms);
        let mut lease = self.lease.lock();
        lease.act_until = lease.act_until.max(act_until);
        lease.beat_at = beat_at;
        if mark && !renewed.marked {
            // A node that renews without marking has not understood: the effect must not begin.
            let text = "the renewal came back without its mark";
            return Err(crate::Error::indefinite(hapax_core::ErrorCode::Version, text).into());
        }
        Ok(())
    }

    /// A holder's own renewal: it must come back while the lease still holds.
    pub(super) async fn renew_in_time(&self, checkpoint: Option<Blob>, mark: bool) -> Result<(), HoldError> {
        let lease_end = self.env().timer(self.lease.lock().act_until);
        let until = lease_end.min(env::after(self.env().now(), self.client.timeout()));
        let renewed = self.renew(checkpoint, mark, until).await;
        if self.is_lost() { Err(HoldError::Lost) } else { renewed }
    }

    pub(super) fn fresh<T>(&self, class: OutcomeClass, value: T) -> Fresh<T> {
        Fresh {
            class,
            value,
            token: self.token,
            attempt: self.attempt,
            late: false,
            expires_at: None,
            shadow_of: self.shadow_of.clone(),
            witness: self.witness,
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn token(&self) -> Token {
        self.token
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.token.is_none()
    }

    pub(super) fn mark_was_asked(&self) -> bool {
        self.lease.lock().mark_asked
    }

    pub(super) fn lease_left(&self) -> Duration {
        if self.is_lost() {
            return Duration::ZERO;
        }
        self.lease.lock().act_until.saturating_duration_since(self.env().lease_now())
    }

    /// Whether its holder must not act any more, told or not yet.
    pub(super) fn is_lost(&self) -> bool {
        self.was_lost() || (!self.is_shadow() && self.lease.lock().act_until <= self.env().lease_now())
    }

    fn was_lost(&self) -> bool {
        *self.lost.borrow()
    }

    pub(super) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender is here as long as `self` is.
        let _lost = lost.wait_for(|lost| *lost).await;
    }

    fn env(&self) -> &Env {
        self.client.env()
    }

    fn lose(&self) {
        self.lost.send_replace(true);
    }

    /// Waits for the next beat and renews, unless a checkpoint has moved the lease meanwhile; again
    /// after a pause where that fails, until the lease is lost.
    async fn beat(&self, pause: &mut Pause) {
        let (beat_at, act_until) = self.lease.lock().times();
        env::sleep_until(self.env().timer(beat_at)).await;
        if self.lease.lock().beat_at > beat_at {
            return;
        }
        match self.renew(None, false, self.env().timer(act_until)).await {
            Ok(()) => pause.reset(),
            Err(HoldError::Lost) => {}
            Err(HoldError::Call(error)) => {
                tracing::debug!(%error, "a lease could not be renewed yet");
                env::sleep(pause.next(self.env())).await;
            }
        }
    }
}

impl Lease {
    fn times(&self) -> (Instant, Instant) {
        (self.beat_at, self.act_until)
    }
}

/// Until when a lease's holder acts, and when the next beat is due.
fn times(sent: Instant, lease_left_ms: u64) -> (Instant, Instant) {
    let act_until = act_until(sent, lease_left_ms);
    let beat = act_until.saturating_duration_since(sent) / 9 * 10 / BEATS;
    (act_until, sent + beat)
}

/// Keeps a lease alive until it is over, and tells when it is lost.
async fn beat(holding: Arc<Holding>) {
    let mut pause = Pause::new(holding.client.inner.config.retry_backoff);
    while !holding.was_lost() {
        let (_, act_until) = holding.lease.lock().times();
        let _in_time = env::by(holding.env().timer(act_until), holding.beat(&mut pause)).await;
        if holding.is_lost() {
            tracing::warn!(address = ?holding.address, "a lease is lost");
            holding.lose();
        }
    }
}
