//! The first write that is acknowledged on a shard, as callers see it.
//!
//! Contract: from the beginning on a new claim is sent every 20 ms, each on a key of its own, until one is granted; the
//! time runs from a given moment to the first grant. A client's own pauses between its tries are so hidden by the
//! claims behind it, as they are among many callers.

use crate::load::hapax::Hapax;
use crate::load::store::{Claimed, Failure, Store as _};
use anyhow::{Result, bail};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two claims.
const EVERY: Duration = Duration::from_millis(20);
/// Claims at once on one shard.
const AT_ONCE: usize = 100;
/// After that it has failed.
const WITHIN: Duration = Duration::from_secs(60);

/// How long after `since` each of these shards granted a claim.
///
/// # Errors
/// When one does not in time, or answers what cannot be.
pub(super) async fn first_writes(store: &Hapax, shards: &[usize], since: Instant) -> Result<Vec<Duration>> {
    let mut probes = JoinSet::new();
    for shard in shards {
        probes.spawn(first_write(store.clone(), *shard, since));
    }
    let mut took = Vec::new();
    while let Some(probed) = probes.join_next().await {
        took.push(probed??);
    }
    took.sort_unstable();
    Ok(took)
}

async fn first_write(store: Hapax, shard: usize, since: Instant) -> Result<Duration> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut claims = JoinSet::new();
    let mut last = String::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if since.elapsed() > WITHIN {
                    bail!("shard {shard} acknowledges nothing: {last}");
                }
                if claims.len() < AT_ONCE {
                    claims.spawn(claim(store.clone(), shard));
                }
            }
            Some(claimed) = claims.join_next() => match claimed? {
                Ok(Claimed::Granted(_)) => return Ok(since.elapsed()),
                Ok(other) => bail!("shard {shard} answers the claim of a new key with {other:?}"),
                Err(failure) => last = failure.text,
            }
        }
    }
}

async fn claim(store: Hapax, shard: usize) -> Result<Claimed<hapax_core::Token>, Failure> {
    let caller: u128 = rand::random::<u128>() | 1;
    let run = rand::random::<u64>();
    let mut n = 0_u64;
    let key = loop {
        let key = format!("probe-{run:016x}-{n}");
        if store.shard_of(&key)? == shard {
            break key;
        }
        n += 1;
    };
    store.claim(&key, caller.to_le_bytes()).await
}
