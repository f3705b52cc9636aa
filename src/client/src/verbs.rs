//! The verbs beside claim, each with its own replies.
//!
//! The requests are the protocol's own structures; see [`hapax_core::request`].

use crate::client::Client;
use crate::env;
use crate::error::Error;
use crate::reply::{CompleteReply, ForgetReply, GetReply, ReleaseReply, RenewReply, Replied, ResolveReply};
use hapax_core::request::{CompleteAsk, ForgetAsk, GetAsk, ReleaseAsk, RenewAsk, ResolveAsk};
use hapax_core::{Ask, Blob, ErrorCode, Outcome, Reply, StateKind, limits};
use std::time::Duration;

/// The pause before a get that waits asks again, after a node let go of it early.
const AGAIN: Duration = Duration::from_millis(10);

impl Client {
    /// Extends a claim, moves its recovery point, sets its mark.
    ///
    /// # Errors
    /// `too_large`, definite, for a checkpoint over 4 KiB; otherwise what was answered with an
    /// error, or not answered by the deadline.
    pub async fn renew(&self, renew: RenewAsk) -> Result<Replied<RenewReply>, Error> {
        if renew.checkpoint.as_ref().map_or(0, Blob::len) > limits::CHECKPOINT_BYTES {
            return Err(Error::too_large("checkpoint", limits::CHECKPOINT_BYTES));
        }
        self.verb(Ask::Renew(renew)).await
    }

    /// Ends a claim with an outcome.
    ///
    /// # Errors
    /// `too_large`, definite, for a result over 256 KiB or metadata over 8 KiB; otherwise what was
    /// answered with an error, or not answered by the deadline.
    pub async fn complete(&self, complete: CompleteAsk) -> Result<Replied<CompleteReply>, Error> {
        check_outcome(&complete.outcome)?;
        self.verb(Ask::Complete(complete)).await
    }

    /// Ends a claim without an outcome.
    ///
    /// # Errors
    /// What was answered with an error, or not answered by the deadline.
    pub async fn release(&self, release: ReleaseAsk) -> Result<Replied<ReleaseReply>, Error> {
        self.verb(Ask::Release(release)).await
    }

    /// Decides a claim in doubt.
    ///
    /// # Errors
    /// As [`Client::complete`].
    pub async fn resolve(&self, resolve: ResolveAsk) -> Result<Replied<ResolveReply>, Error> {
        if let Some(outcome) = &resolve.outcome {
            check_outcome(outcome)?;
        }
        self.verb(Ask::Resolve(resolve)).await
    }

    /// Drops what is kept for an address.
    ///
    /// # Errors
    /// What was answered with an error, or not answered by the deadline.
    pub async fn forget(&self, forget: ForgetAsk) -> Result<Replied<ForgetReply>, Error> {
        let address = forget.address.clone();
        let replied = self.verb(Ask::Forget(forget)).await;
        self.inner.cache.forget(&address);
        replied
    }

    /// Reads one record. A `wait_ms` over the 60 s that a node holds a call is asked again until
    /// it is over, or nobody runs any more.
    ///
    /// # Errors
    /// What was answered with an error, or not answered by the deadline.
    pub async fn get(&self, get: GetAsk) -> Result<Replied<GetReply>, Error> {
        let sent = self.inner.env.now();
        let until = self.until(sent, Duration::from_millis(get.wait_ms));
        loop {
            let request = self.request(Ask::Get(get.clone()));
            let answer = self.inner.call(request, until, &mut false).await.map_err(Error::made_definite)?;
            let GetReply::State(view) = GetReply::try_from(answer.reply).map_err(unexpected_reply)?;
            if view.state == StateKind::Claimed && until.wait.is_some_and(|wait| self.inner.env.now() < wait)
            {
                env::sleep(AGAIN).await;
                continue;
            }
            return Ok(Replied {
                reply: GetReply::State(view),
                witness: answer.witness,
                cached: false,
                sent,
            });
        }
    }

    async fn verb<T: TryFrom<Reply, Error = Reply>>(&self, ask: Ask) -> Result<Replied<T>, Error> {
        let sent = self.inner.env.now();
        let until = self.until(sent, Duration::ZERO);
        let answer = self.inner.call(self.request(ask), until, &mut false).await?;
        let reply = T::try_from(answer.reply).map_err(unexpected_reply)?;
        Ok(Replied { reply, witness: answer.witness, cached: false, sent })
    }
}

/// Whether an outcome keeps the protocol's bounds.
pub(crate) fn check_outcome(outcome: &Outcome) -> Result<(), Error> {
    if outcome.result.len() > limits::RESULT_BYTES {
        return Err(Error::too_large("result", limits::RESULT_BYTES));
    }
    if outcome.metadata.size_bytes() > limits::METADATA_BYTES {
        return Err(Error::too_large("metadata", limits::METADATA_BYTES));
    }
    Ok(())
}

/// A node answered one verb with a reply of another: whether it did anything is not known.
#[expect(clippy::needless_pass_by_value, reason = "used as a function of map_err")]
pub(crate) fn unexpected_reply(reply: Reply) -> Error {
    let text = format!("the node answered with a reply that the verb does not have: {}", reply.name());
    Error::indefinite(ErrorCode::Version, text)
}
