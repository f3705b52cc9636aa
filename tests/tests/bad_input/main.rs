//! Bad input at every door of a real node: each gets a clear, coded error or a closed connection,
//! the node stays up or refuses to start, and nothing is lost.

mod configuration;
mod directories;
mod full_disk;
mod ports;
mod sizes;
mod slow;

use anyhow::{Result, ensure};
use hapax_client::{
    Address, ClaimReply, ClaimRequest, Client, CompleteReply, Outcome, OutcomeClass, address, fingerprint,
    request::CompleteAsk,
};

/// A record that must be there at the end.
async fn keep(client: &Client, key: &str) -> Result<()> {
    let address = address("acme", "payments.charge", key)?;
    let reply = client.claim(claim(&address)).await?.reply;
    let ClaimReply::Granted(granted) = reply else { anyhow::bail!("{key}: {reply:?}") };
    let outcome = Outcome { class: OutcomeClass::Success, result: key.into(), metadata: Default::default() };
    let ask = CompleteAsk { address, token: granted.token, outcome, retention_ms: None };
    let reply = client.complete(ask).await?.reply;
    ensure!(matches!(reply, CompleteReply::Completed(_)), "{key}: {reply:?}");
    Ok(())
}

/// It is there.
async fn kept(client: &Client, key: &str) -> Result<()> {
    let reply = client.claim(claim(&address("acme", "payments.charge", key)?)).await?.reply;
    let ClaimReply::Replayed(replayed) = reply else { anyhow::bail!("{key}: {reply:?}") };
    ensure!(replayed.result.as_slice() == key.as_bytes());
    Ok(())
}

fn claim(address: &Address) -> ClaimRequest {
    ClaimRequest::new(address.clone()).fingerprint(fingerprint::bytes(b"x"))
}
