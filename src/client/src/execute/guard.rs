//! What happens when an execution is dropped on the way.

use super::holding::Holding;
use super::release_ask;
use crate::claim::ClaimRequest;
use crate::client::Client;
use crate::reply::ClaimReply;
use hapax_core::request::ReleaseAsk;
use std::sync::Arc;
use std::time::Duration;

/// Armed while the reply of a claim is waited for. Dropped armed, it finds out in the background
/// whether the claim was granted (the same nonce is answered with the same grant) and gives it back.
pub(super) struct Claiming(Option<(Client, ClaimRequest)>);

impl Claiming {
    pub(super) fn new(client: &Client, claim: &ClaimRequest) -> Self {
        Self(Some((client.clone(), claim.clone().wait(Duration::ZERO))))
    }

    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        let Some((client, claim)) = self.0.take() else { return };
        let env = client.env().clone();
        env.spawn_on(async move {
            let address = claim.address.clone();
            let Ok(replied) = client.claim(claim).await else { return };
            if let ClaimReply::Granted(granted) = replied.reply
                && !granted.token.is_none()
            {
                let ask = ReleaseAsk { address, token: granted.token, reason: None };
                let _lapses_otherwise = client.release(ask).await;
            }
        });
    }
}

/// Stands while a claim is held, and ends its heartbeat. Dropped before the work ended, it releases
/// the claim in the background, unless the mark was asked for: then the claim is left to lapse.
pub(super) struct Running {
    holding: Arc<Holding>,
    ended: bool,
}

impl Running {
    pub(super) fn new(holding: Arc<Holding>) -> Self {
        Self { holding, ended: false }
    }

    pub(super) fn holding(&self) -> &Arc<Holding> {
        &self.holding
    }

    /// The work ended: from here on its outcome or its release is sent, and nothing else.
    pub(super) fn work_ended(&mut self) {
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let holding = &self.holding;
        holding.stop();
        if self.ended || holding.is_shadow() || holding.mark_was_asked() {
            return;
        }
        let client = holding.client().clone();
        let ask = release_ask(holding, "the work was dropped");
        let env = client.env().clone();
        env.spawn_on(async move {
            let _lapses_otherwise = client.release(ask).await;
        });
    }
}
