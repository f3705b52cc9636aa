//! What is seen of a cluster from outside: who leads, how far replicas are, and whether shards serve.

use super::fleet::Fleet;
use crate::http::metric;
use crate::wait::until;
use anyhow::Result;
use hapax_client::{ClaimReply, ClaimRequest, Client, ClientConfig, address, fingerprint};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// The metrics of a node, as text.
#[derive(Clone, Debug)]
pub struct Node(pub String);

impl Node {
    /// A figure of one shard.
    #[must_use]
    pub fn of_shard(&self, figure: &str, shard: u32) -> f64 {
        metric(&self.0, figure, &[&format!("shard=\"{shard}\"")])
    }

    /// A figure, all its series together.
    #[must_use]
    pub fn sum(&self, figure: &str, labels: &[&str]) -> f64 {
        metric(&self.0, figure, labels)
    }

    /// Whether this node leads a shard.
    #[must_use]
    pub fn leads(&self, shard: u32) -> bool {
        self.of_shard("hapax_shard_leader", shard) > 0.0
    }
}

/// The leader of a shard with the highest term, as the nodes see it.
pub async fn leader(fleet: &Fleet, shard: u32) -> Option<(usize, f64)> {
    let mut found: Option<(usize, f64)> = None;
    for i in (0..fleet.len()).filter(|i| fleet.runs(*i)) {
        let seen = tokio::time::timeout(Duration::from_millis(500), fleet.seen(i)).await;
        let Ok(Ok(seen)) = seen else { continue };
        let term = seen.of_shard("hapax_shard_term", shard);
        if seen.leads(shard) && found.is_none_or(|(_, known)| term > known) {
            found = Some((i, term));
        }
    }
    found
}

/// Waits until somebody leads a shard in a term above `term`.
///
/// # Errors
/// When nobody does in time.
pub async fn leader_above(fleet: &Fleet, shard: u32, term: f64, within: Duration) -> Result<(usize, f64)> {
    until("a leader of a higher term", within, async || match leader(fleet, shard).await {
        Some((node, now)) if now > term => Ok((node, now)),
        other => Err(format!("{other:?}")),
    })
    .await
}

/// How long one attempt to be served may take, and the pause between two.
const ATTEMPT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);
/// What a probe claims ends by itself.
const LEASE: Duration = Duration::from_secs(1);

/// Asks every shard all the time for a write of its own, and notes when it got one.
#[derive(Debug)]
pub struct Probe {
    served: Arc<Vec<Mutex<Vec<Instant>>>>,
    tasks: JoinSet<()>,
}

impl Probe {
    /// Starts to ask.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn start(seeds: Vec<String>, shards: u32) -> Result<Self> {
        let client = Client::connect(ClientConfig::new(seeds)).await?;
        let served: Arc<Vec<Mutex<Vec<Instant>>>> = Arc::new((0..shards).map(|_| Mutex::default()).collect());
        let mut tasks = JoinSet::new();
        for shard in 0..shards {
            tasks.spawn(ask(client.clone().within(ATTEMPT), shard, Arc::clone(&served)));
        }
        Ok(Self { served, tasks })
    }

    /// When each shard first served a write that came after `since`; none where one did not yet.
    #[must_use]
    pub fn all_served_since(&self, since: Instant) -> Option<Instant> {
        let first = |times: &Mutex<Vec<Instant>>| {
            let times = times.lock();
            times.get(times.partition_point(|at| *at <= since)).copied()
        };
        self.served.iter().map(first).try_fold(since, |latest, first| Some(latest.max(first?)))
    }

    /// Waits until every shard has served since.
    ///
    /// # Errors
    /// When one does not in time.
    pub async fn served(&self, since: Instant, within: Duration) -> Result<Instant> {
        until("every shard to serve", within, async || {
            self.all_served_since(since).ok_or_else(|| {
                let quiet = |times: &Mutex<Vec<Instant>>| times.lock().last().is_none_or(|at| *at <= since);
                let silent: Vec<usize> = self
                    .served
                    .iter()
                    .enumerate()
                    .filter(|(_, at)| quiet(at))
                    .map(|(shard, _)| shard)
                    .collect();
                format!("shards {silent:?} have not served")
            })
        })
        .await
    }

    /// Stops to ask.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// Claims one fresh key after another in one shard: a grant is a write, and needs no other call to end it.
async fn ask(client: Client, shard: u32, served: Arc<Vec<Mutex<Vec<Instant>>>>) {
    let shards = u32::try_from(served.len()).unwrap_or(u32::MAX);
    let place = usize::try_from(shard).unwrap_or_default();
    let mut keys = (0u64..).filter_map(|n| address("probe", "probe.serve", format!("{n}")).ok());
    while let Some(address) = keys.find(|address| address.shard(shards) == shard) {
        let claim = ClaimRequest::new(address).fingerprint(fingerprint::bytes(b"probe")).lease(LEASE);
        if let Ok(replied) = client.claim(claim).await
            && let ClaimReply::Granted(_) = replied.reply
        {
            served[place].lock().push(Instant::now());
        }
        sleep(PAUSE).await;
    }
}
