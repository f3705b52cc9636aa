//! Holding the claim while the command runs.

use hapax_client::{Client, Error, RenewReply, Replied};
use hapax_core::request::RenewAsk;
use hapax_core::{Address, Token};
use std::time::Duration;
use tokio::time::Instant;

/// Why a claim is not held any more.
#[derive(Debug)]
pub(super) enum Lost {
    /// The token is dead, or the lease lapsed.
    Fenced,
    /// Not known: no renewal came through.
    Error(Error),
}

/// A held and marked claim.
pub(super) struct Lease {
    client: Client,
    address: Address,
    token: Token,
    lease_ms: u64,
    seq: u64,
    act_until: Instant,
    /// A third of the lease as it was given.
    step: Duration,
}

impl Lease {
    /// Renews the claim and sets its mark: from here on the effect may have happened. A renewal
    /// also gives a fresh lease to a grant that was waited for.
    pub(super) async fn begin(
        client: &Client,
        address: &Address,
        token: Token,
        lease_ms: u64,
    ) -> Result<Self, Lost> {
        let now = Instant::now();
        let (client, address) = (client.clone(), address.clone());
        let mut lease =
            Self { client, address, token, lease_ms, seq: 0, act_until: now, step: super::FOR_EVER };
        if token.is_none() {
            // A shadow holds nothing and is never lost.
            lease.act_until = now + super::FOR_EVER;
            return Ok(lease);
        }
        lease.renew(true).await?;
        Ok(lease)
    }

    /// Renews at a third of the lease until the claim is lost; never ends while it is held.
    pub(super) async fn hold(mut self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(self.act_until) => return,
                () = tokio::time::sleep(self.step) => {}
            }
            if self.token.is_none() {
                continue;
            }
            let until = self.act_until;
            match tokio::time::timeout_at(until, self.renew(false)).await {
                Ok(Ok(())) => {}
                Ok(Err(Lost::Fenced)) | Err(_) => return,
                // The next one may come through, as long as the lease lasts.
                Ok(Err(Lost::Error(error))) => {
                    tracing::warn!(%error, "the lease was not renewed; trying again")
                }
            }
        }
    }

    async fn renew(&mut self, mark: bool) -> Result<(), Lost> {
        self.seq += 1;
        let ask = RenewAsk {
            address: self.address.clone(),
            token: self.token,
            seq: self.seq,
            lease_ms: Some(self.lease_ms),
            checkpoint: None,
            mark,
        };
        let replied: Replied<RenewReply> = self.client.renew(ask).await.map_err(Lost::Error)?;
        match replied.act_until() {
            Some(until) => {
                self.act_until = until;
                self.step = until.saturating_duration_since(replied.sent) / 3;
                Ok(())
            }
            None => Err(Lost::Fenced),
        }
    }
}
