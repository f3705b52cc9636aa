//! Which node leads which shard.

use crate::wait::until;
use anyhow::Result;
use hapax_client::Client;
use hapax_wire::status::ShardRole;
use std::time::Duration;

/// How long leaders may take to be spread evenly again.
const SPREAD_WITHIN: Duration = Duration::from_secs(60);

/// The shards that each node leads, by the node's name; an error where a node does not answer.
///
/// # Errors
/// Says which does not.
pub async fn leads(client: &Client) -> Result<Vec<(String, Vec<u32>)>, String> {
    let mut leads = Vec::new();
    for report in client.status().await {
        let status = report.status.map_err(|error| format!("{}: {error}", report.name))?;
        let led = status.shards.iter().filter(|shard| shard.role == ShardRole::Leader);
        leads.push((report.name, led.map(|shard| shard.shard).collect()));
    }
    Ok(leads)
}

/// Waits until each node leads its share, give or take one; returns who leads what.
///
/// # Errors
/// When that takes longer than a minute.
pub async fn spread(client: &Client, shards: usize) -> Result<Vec<(String, Vec<u32>)>> {
    until("leaders to be spread evenly", SPREAD_WITHIN, async || {
        let leads = leads(client).await?;
        let share = shards / leads.len();
        let even = leads.iter().all(|(_, led)| (share..=share + 1).contains(&led.len()));
        let all = leads.iter().map(|(_, led)| led.len()).sum::<usize>() == shards;
        if even && all { Ok(leads) } else { Err(format!("{leads:?}")) }
    })
    .await
}
