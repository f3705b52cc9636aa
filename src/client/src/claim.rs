//! The claim as a caller builds it.

use crate::client::Client;
use crate::env::{self, Instant};
use crate::error::Error;
use crate::fingerprint::Print;
use crate::reply::{ClaimReply, Replied};
use crate::verbs::unexpected_reply;
use hapax_core::request::ClaimAsk;
use hapax_core::{Address, Ask, Fields, Fingerprint, Label, LogTime, Money, Nonce, Trace, Witness};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The least and the longest pause before asking again while somebody else runs.
const AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A claim to be sent.
///
/// ```no_run
/// use hapax_client::{ClaimReply, ClaimRequest, Client, address, fingerprint};
/// use std::time::Duration;
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let address = address("acme", "payments.charge", "order-991")?;
/// let claim = ClaimRequest::new(address).fingerprint(fingerprint::bytes(b"12.34 EUR"));
/// match client.claim(claim.wait(Duration::from_secs(5))).await?.reply {
///     ClaimReply::Granted(granted) => println!("charge now, then complete with {}", granted.token),
///     ClaimReply::Replayed(replayed) => println!("charged before: {} bytes", replayed.result.len()),
///     other => println!("not now: {other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    pub(crate) address: Address,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) fields: Fields,
    pub(crate) nonce: Option<Nonce>,
    pub(crate) lease: Option<Duration>,
    pub(crate) wait: Duration,
    pub(crate) first_sent: Option<LogTime>,
    pub(crate) label: Option<Label>,
    pub(crate) trace: Option<Trace>,
    pub(crate) value: Option<Money>,
}

impl ClaimRequest {
    /// A claim on `address`, without fingerprint, wait or anything else that may be left out.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            fingerprint: None,
            fields: Fields::default(),
            nonce: None,
            lease: None,
            wait: Duration::ZERO,
            first_sent: None,
            label: None,
            trace: None,
            value: None,
        }
    }

    /// What makes the request the same, with or without digests of its fields.
    #[must_use]
    pub fn fingerprint(mut self, print: impl Into<Print>) -> Self {
        let Print { fingerprint, fields } = print.into();
        self.fingerprint = Some(fingerprint);
        self.fields = fields;
        self
    }

    /// The logical call's name, for a caller that keeps its own; a random one otherwise.
    #[must_use]
    pub fn nonce(mut self, nonce: Nonce) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// The lease asked for; the policy's otherwise. The grant says what was given.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How long to wait while somebody else runs; not at all otherwise. May be longer than the 60 s
    /// that a node holds a call: it is sent again until it is over.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// When this logical request was first sent, for a caller that may come back after longer than
    /// anything is remembered.
    #[must_use]
    pub fn first_sent(mut self, time: LogTime) -> Self {
        self.first_sent = Some(time);
        self
    }

    /// Free text for operators.
    #[must_use]
    pub fn label(mut self, label: Label) -> Self {
        self.label = Some(label);
        self
    }

    /// The caller's trace parent.
    #[must_use]
    pub fn trace(mut self, trace: Trace) -> Self {
        self.trace = Some(trace);
        self
    }

    /// The value at stake.
    #[must_use]
    pub fn value(mut self, value: Money) -> Self {
        self.value = Some(value);
        self
    }

    fn ask(&self, nonce: Nonce) -> ClaimAsk {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        ClaimAsk {
            address: self.address.clone(),
            fingerprint: self.fingerprint,
            fields: self.fields.clone(),
            nonce,
            lease_ms: self.lease.map(ms),
            wait_ms: ms(self.wait).min(hapax_core::limits::WAIT_MS),
            first_sent: self.first_sent,
            label: self.label.clone(),
            trace: self.trace.clone(),
            value: self.value,
        }
    }
}

impl Client {
    /// Asks for the right to run. A lost reply is recovered: every copy carries the same nonce.
    ///
    /// # Errors
    /// What was answered with an error, or not answered by the deadline.
    pub async fn claim(&self, claim: ClaimRequest) -> Result<Replied<ClaimReply>, Error> {
        let sent = self.inner.env.now();
        if let Some((replayed, witness)) = self.inner.cache.get(&claim.address, claim.fingerprint, sent) {
            self.inner.counts.cached.fetch_add(1, Ordering::Relaxed);
            return Ok(Replied { reply: ClaimReply::Replayed(replayed), witness, cached: true, sent });
        }
        let nonce = claim.nonce.map_or_else(|| self.inner.env.nonce(), Ok)?;
        let ask = Ask::Claim(claim.ask(nonce));
        let until = self.until(sent, claim.wait);
        let mut in_doubt = false;
        loop {
            let asked = self.inner.env.now();
            let answer = self.inner.call(self.request(ask.clone()), until, &mut in_doubt).await?;
            let reply = ClaimReply::try_from(answer.reply).map_err(unexpected_reply)?;
            let left = until
                .wait
                .map_or(Duration::ZERO, |wait| wait.saturating_duration_since(self.inner.env.now()));
            if let ClaimReply::InFlight(running) = &reply
                && !left.is_zero()
            {
                let pause = Duration::from_millis(running.retry_after_ms);
                env::sleep(pause.clamp(AGAIN.0, AGAIN.1).min(left)).await;
                continue;
            }
            self.keep(&claim, &reply, answer.witness, asked);
            return Ok(Replied { reply, witness: answer.witness, cached: false, sent });
        }
    }

    fn keep(&self, claim: &ClaimRequest, reply: &ClaimReply, witness: Option<Witness>, asked: Instant) {
        if let ClaimReply::Replayed(replayed) = reply {
            let wall_ms = self.inner.env.wall_ms();
            self.inner.cache.put(&claim.address, claim.fingerprint, replayed, witness, asked, wall_ms);
        }
    }
}
