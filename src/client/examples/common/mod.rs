//! What the examples share: the cluster's address, keys that no earlier run has used, checks.

use anyhow::{Context, Result, ensure};
use hapax_client::{Client, ClientConfig};

/// Where `hapax dev` listens, unless `HAPAX_CLUSTER` says otherwise.
const CLUSTER: &str = "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403";

/// A client of the cluster.
pub(crate) async fn connect() -> Result<Client> {
    let seeds = std::env::var("HAPAX_CLUSTER").unwrap_or_else(|_| CLUSTER.to_owned());
    let client = Client::connect(ClientConfig::from_list(&seeds)).await;
    client.with_context(|| format!("no cluster at {seeds}; start one with `cargo run --release -- dev`"))
}

/// A name that no earlier run has used.
pub(crate) fn fresh_name(client: &Client, kind: &str) -> Result<String> {
    let nonce = client.env().nonce()?;
    let digits: String = nonce.as_bytes()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{kind}-{digits}"))
}

/// Ends the example with an error if the guarantee does not hold.
pub(crate) fn check(holds: bool, guarantee: &str) -> Result<()> {
    ensure!(holds, "broken: {guarantee}");
    println!("  ok: {guarantee}");
    Ok(())
}
