//! How long the shards of a node that was killed take to acknowledge a write again.
//!
//! Contract: every shard is written to all the time, by claims and completes one after another, as a
//! client with default settings sends them. A sample is one SIGKILL of a node; its figures, one for
//! each shard that the node led, run from just before the signal to the first acknowledgement of a
//! write that was asked for after it. Before the next kill the node is ready again and leads its
//! share. At the end every acknowledged result is read back through every node.

use crate::cluster::TestCluster;
use crate::leaders::spread;
use crate::ledger::{Ledger, replicas_agree};
use crate::rng::Rng;
use crate::spec::{Spec, name};
use crate::wait::until;
use anyhow::{Context as _, Result, bail, ensure};
use hapax_client::{
    ClaimReply, ClaimRequest, Client, ClientConfig, CompleteReply, Metadata, Nonce, Outcome, OutcomeClass,
    Token,
};
use hapax_core::request::CompleteAsk;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const SHARDS: u32 = 16;
/// Longer than a run: no claim lapses.
const LEASE: Duration = Duration::from_secs(3600);
/// Between two writes to one shard.
const PROBE_EVERY: Duration = Duration::from_millis(5);
/// A shard that takes longer fails the run.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// What is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program whose `server` is a node.
    pub program: String,
    /// Nodes.
    pub nodes: usize,
    /// Kills.
    pub samples: u32,
    /// What the victims are drawn from.
    pub seed: u64,
}

/// What a run showed; each list in rising order.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One for each kill: the slowest shard of those that the node led.
    pub worst: Vec<Duration>,
    /// One for each kill and shard.
    pub shards: Vec<Duration>,
    /// Results acknowledged, and read back through every node at the end.
    pub acknowledged: usize,
    /// Errors that the client handed out after its own retries.
    pub errors: u32,
}

/// The figure that so many of a hundred do not exceed.
#[must_use]
pub fn percentile(rising: &[Duration], percent: usize) -> Duration {
    let at = (rising.len() * percent).div_ceil(100).saturating_sub(1);
    rising.get(at).copied().unwrap_or_default()
}

/// What the probes share.
#[derive(Debug)]
struct Probes {
    ledger: Ledger,
    /// When the last node was killed, and when each shard acknowledged after that.
    sample: Mutex<(Option<Instant>, BTreeMap<u32, Duration>)>,
    errors: Mutex<u32>,
    over: AtomicBool,
}

impl Probes {
    /// A write that was asked for at `asked` has been acknowledged.
    fn acknowledged(&self, shard: u32, asked: Instant) {
        let mut sample = self.sample.lock();
        if let Some(killed) = sample.0.filter(|killed| asked >= *killed) {
            sample.1.entry(shard).or_insert_with(|| killed.elapsed());
        }
    }
}

/// Runs.
///
/// # Errors
/// When a shard does not come back in time, a node does not, or something acknowledged is lost.
pub async fn run(options: &Options) -> Result<Report> {
    let mut cluster = TestCluster::start(&options.program, Spec::nodes(options.nodes).shards(SHARDS)).await?;
    let probes = Arc::new(Probes {
        ledger: Ledger::new("orders.place"),
        sample: Mutex::default(),
        errors: Mutex::default(),
        over: AtomicBool::new(false),
    });
    let mut running = JoinSet::new();
    let client = Client::connect(ClientConfig::from_list(&cluster.seeds())).await?;
    for shard in 0..SHARDS {
        running.spawn(probe(shard, client.clone(), Arc::clone(&probes)));
    }
    let (mut report, mut dice) = (Report::default(), Rng::new(options.seed));
    for number in 0..options.samples {
        let sample = kill(&mut cluster, &probes, &mut dice).await;
        let sample = sample.with_context(|| format!("kill {}", number + 1))?;
        report.worst.extend(sample.iter().max());
        report.shards.extend(sample);
        ensure!(running.try_join_next().is_none(), "a probe has ended");
    }
    probes.over.store(true, Ordering::Release);
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    report.worst.sort_unstable();
    report.shards.sort_unstable();
    report.errors = *probes.errors.lock();
    probes.ledger.unbroken()?;
    report.acknowledged = probes.ledger.acknowledged_keys().len();
    let read = probes.ledger.check_on_every_node(&cluster).await?;
    ensure!(read == report.acknowledged * options.nodes && read > 0, "only {read} were read back");
    replicas_agree(&cluster.client().await?, 3).await?;
    cluster.finish()?;
    Ok(report)
}

/// Kills a node, and waits for its shards and then for itself.
async fn kill(cluster: &mut TestCluster, probes: &Probes, dice: &mut Rng) -> Result<Vec<Duration>> {
    // A client of its own: what it asks for must not warm the connections that are measured.
    let watcher = cluster.client().await?;
    let leads = spread(&watcher, usize::try_from(SHARDS)?).await?;
    let victim = dice.index(cluster.len());
    let led = leads.into_iter().find(|(node, _)| *node == name(victim)).context("an unknown node")?.1;
    ensure!(!led.is_empty(), "it leads nothing");
    *probes.sample.lock() = (Some(Instant::now()), BTreeMap::new());
    cluster.kill(victim)?;
    let back = until("its shards to acknowledge writes", BACK_WITHIN, async || {
        let sample = probes.sample.lock();
        let back: Option<Vec<Duration>> = led.iter().map(|shard| sample.1.get(shard).copied()).collect();
        back.ok_or_else(|| format!("{led:?} were led, {:?} are back", sample.1))
    });
    let back = back.await?;
    probes.sample.lock().0 = None;
    cluster.launch(victim)?;
    cluster.ready(victim).await?;
    Ok(back)
}

/// Writes to one shard until told that it is over.
async fn probe(shard: u32, client: Client, probes: Arc<Probes>) -> Result<()> {
    for key in 0.. {
        if probes.over.load(Ordering::Acquire) {
            return Ok(());
        }
        if probes.ledger.address(key)?.shard(SHARDS) != shard {
            continue;
        }
        let token = claim(shard, key, &client, &probes).await?;
        complete(shard, key, token, &client, &probes).await?;
        sleep(PROBE_EVERY).await;
    }
    Ok(())
}

async fn claim(shard: u32, key: u32, client: &Client, probes: &Probes) -> Result<Token> {
    // Kept for all tries: a claim whose reply was lost is granted again under the same token.
    let nonce: Nonce = client.env().nonce()?;
    loop {
        let asked = Instant::now();
        let request = ClaimRequest::new(probes.ledger.address(key)?)
            .fingerprint(Ledger::fingerprint(key))
            .nonce(nonce)
            .lease(LEASE);
        match client.claim(request).await.map(|replied| replied.reply) {
            Ok(ClaimReply::Granted(granted)) => {
                probes.acknowledged(shard, asked);
                probes.ledger.granted(key, granted.token.as_u64(), &result_of(key));
                return Ok(granted.token);
            }
            Ok(other) => bail!("key {key}, which nobody else asks for: {other:?}"),
            Err(_) => *probes.errors.lock() += 1,
        }
    }
}

async fn complete(shard: u32, key: u32, token: Token, client: &Client, probes: &Probes) -> Result<()> {
    let outcome = Outcome {
        class: OutcomeClass::Success,
        result: result_of(key).into(),
        metadata: Metadata::default(),
    };
    let ask = CompleteAsk { address: probes.ledger.address(key)?, token, outcome, retention_ms: None };
    loop {
        let asked = Instant::now();
        match client.complete(ask.clone()).await.map(|replied| replied.reply) {
            Ok(CompleteReply::Completed(_) | CompleteReply::AlreadyCompleted) => {
                probes.acknowledged(shard, asked);
                probes.ledger.acknowledged(key);
                return Ok(());
            }
            Ok(other) => bail!("key {key}: a complete was answered with {other:?}"),
            Err(_) => *probes.errors.lock() += 1,
        }
    }
}

fn result_of(key: u32) -> Vec<u8> {
    format!("the result of {key}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_figures_of_the_list() {
        let list: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&list, 50), Duration::from_millis(100));
        assert_eq!(percentile(&list, 99), Duration::from_millis(198));
        assert_eq!(percentile(&list, 100), Duration::from_millis(200));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
