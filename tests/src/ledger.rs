//! What callers were told, kept outside of the system that told them.
//!
//! Contract: a key is granted under one token, however often it is asked for; what its holder
//! offered is what every other caller is handed; what was acknowledged is still there afterwards,
//! byte for byte, whichever node is asked. The first few breaches are kept, each in one line.

use crate::cluster::TestCluster;
use crate::raw::Raw;
use crate::spec::name;
use crate::wait::until;
use anyhow::{Context as _, Result, ensure};
use hapax_client::{Address, Ask, Client, Reply, StateKind, address, fingerprint};
use hapax_core::request::GetAsk;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Breaches kept.
const BREACHES: usize = 10;
/// Reads in one frame.
const READS: usize = 200;
/// How long a node may take to answer reads in the end.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// How long replicas may take to come to the same place.
const AGREE_WITHIN: Duration = Duration::from_secs(60);

/// What is known of one key.
#[derive(Clone, Debug, Default)]
struct Entry {
    tokens: BTreeSet<u64>,
    offered: Vec<u8>,
    acknowledged: bool,
    replays: u32,
}

/// What callers were told.
#[derive(Debug)]
pub struct Ledger {
    operation: String,
    entries: Mutex<BTreeMap<u32, Entry>>,
    breaches: Mutex<Vec<String>>,
}

impl Ledger {
    /// An empty one for the keys of an operation.
    #[must_use]
    pub fn new(operation: &str) -> Self {
        Self { operation: operation.to_owned(), entries: Mutex::default(), breaches: Mutex::default() }
    }

    /// The address of a key.
    ///
    /// # Errors
    /// When the operation breaks its rules.
    pub fn address(&self, key: u32) -> Result<Address> {
        Ok(address("chaos", &self.operation, format!("key-{key}"))?)
    }

    /// The fingerprint of a key's request.
    #[must_use]
    pub fn fingerprint(key: u32) -> hapax_client::Fingerprint {
        fingerprint::bytes(&key.to_le_bytes())
    }

    /// A caller was granted a key, and will offer this result.
    pub fn granted(&self, key: u32, token: u64, offer: &[u8]) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(key).or_default();
        entry.tokens.insert(token);
        if entry.tokens.len() > 1 {
            let tokens = entry.tokens.clone();
            drop(entries);
            return self.breach(format!("key {key} was granted under {tokens:?}"));
        }
        entry.offered = offer.to_vec();
    }

    /// A complete was acknowledged.
    pub fn acknowledged(&self, key: u32) {
        self.entries.lock().entry(key).or_default().acknowledged = true;
    }

    /// A caller was handed a result.
    pub fn replayed(&self, key: u32, result: &[u8]) {
        let mut entries = self.entries.lock();
        let entry = entries.entry(key).or_default();
        entry.replays += 1;
        if entry.offered != result {
            let (offered, got) = (entry.offered.len(), result.len());
            drop(entries);
            self.breach(format!("key {key} was replayed with other bytes ({got}, {offered} were offered)"));
        }
    }

    /// Something else that must not happen.
    pub fn breach(&self, what: String) {
        let mut breaches = self.breaches.lock();
        if breaches.len() < BREACHES {
            breaches.push(what);
        }
    }

    /// Keys that anybody was told about.
    #[must_use]
    pub fn keys(&self) -> u32 {
        u32::try_from(self.entries.lock().len()).unwrap_or(u32::MAX)
    }

    /// Whether each of `keys` keys was granted once, acknowledged, and handed to every other caller.
    ///
    /// # Errors
    /// Tells the first breaches.
    pub fn check(&self, keys: u32, copies: u32) -> Result<()> {
        for key in 0..keys {
            let entry = self.entries.lock().get(&key).cloned().unwrap_or_default();
            if entry.tokens.len() != 1 || !entry.acknowledged || entry.replays != copies - 1 {
                self.breach(format!(
                    "key {key}: granted under {} tokens, acknowledged {}, replayed {} times",
                    entry.tokens.len(),
                    entry.acknowledged,
                    entry.replays
                ));
            }
        }
        self.unbroken()
    }

    /// Whether nothing was seen so far that must not happen.
    ///
    /// # Errors
    /// Tells the first breaches.
    pub fn unbroken(&self) -> Result<()> {
        let breaches = self.breaches.lock();
        ensure!(breaches.is_empty(), "{}", breaches.join("\n"));
        Ok(())
    }

    /// The keys whose result was acknowledged.
    #[must_use]
    pub fn acknowledged_keys(&self) -> Vec<u32> {
        let entries = self.entries.lock();
        entries.iter().filter(|(_, entry)| entry.acknowledged).map(|(key, _)| *key).collect()
    }

    /// Reads every acknowledged result back through each running node.
    ///
    /// # Errors
    /// When one is not there, or not byte for byte.
    pub async fn check_on_every_node(&self, cluster: &TestCluster) -> Result<usize> {
        self.check_keys_on_every_node(cluster, &self.acknowledged_keys()).await
    }

    /// Reads these results, all acknowledged, back through each running node.
    ///
    /// # Errors
    /// When one is not there, or not byte for byte.
    pub async fn check_keys_on_every_node(&self, cluster: &TestCluster, keys: &[u32]) -> Result<usize> {
        let mut read = 0;
        for i in (0..cluster.len()).filter(|i| cluster.runs(*i)) {
            read += self.check_on(&cluster.client_addr(i), keys).await.with_context(|| name(i))?;
        }
        Ok(read)
    }

    async fn check_on(&self, address: &str, keys: &[u32]) -> Result<usize> {
        let acknowledged: Vec<(u32, Vec<u8>)> = {
            let entries = self.entries.lock();
            keys.iter().filter_map(|key| Some((*key, entries.get(key)?.offered.clone()))).collect()
        };
        let (mut raw, _) = Raw::greeted(address).await?;
        for some in acknowledged.chunks(READS) {
            let asks = some.iter().map(|(key, _)| self.get(*key)).collect::<Result<Vec<_>>>()?;
            let deadline = Instant::now() + READ_WITHIN;
            let mut missing: Vec<usize> = (0..some.len()).collect();
            while !missing.is_empty() {
                let again: Vec<Ask> = missing.iter().map(|at| asks[*at].clone()).collect();
                let answers = raw.ask_all(&again, 10_000).await?;
                let mut left = Vec::new();
                for (at, answer) in missing.into_iter().zip(answers) {
                    if let Reply::Error(refusal) = &answer.reply {
                        ensure!(Instant::now() < deadline, "key {} is not answered: {refusal}", some[at].0);
                        left.push(at);
                    } else {
                        same(&some[at], &answer.reply)?;
                    }
                }
                missing = left;
            }
        }
        Ok(acknowledged.len())
    }

    fn get(&self, key: u32) -> Result<Ask> {
        let fingerprint = Some(Self::fingerprint(key));
        Ok(Ask::Get(GetAsk { address: self.address(key)?, fingerprint, wait_ms: 0, stale: false }))
    }
}

fn same((key, offered): &(u32, Vec<u8>), reply: &Reply) -> Result<()> {
    let Reply::State(view) = reply else {
        anyhow::bail!("key {key}: a get was answered with {}", reply.name());
    };
    ensure!(view.state == StateKind::Completed, "key {key} is {}", view.state.name());
    let outcome = view.detail.as_ref().and_then(|detail| detail.outcome.as_ref());
    let result = outcome.with_context(|| format!("key {key} has no outcome"))?.result.as_slice();
    ensure!(result == offered.as_slice(), "key {key} has other bytes than were acknowledged");
    Ok(())
}

/// How many replicas of a shard are at which applied index, and with which digests.
type AtIndex = BTreeMap<u64, (usize, BTreeSet<[u8; 16]>)>;

/// Waits until all replicas of every shard have applied the same entries; their digests must then
/// be the same. Returns the replicas compared.
///
/// # Errors
/// When two differ at the same index, or they do not come to the same index.
pub async fn replicas_agree(client: &Client, replication: usize) -> Result<usize> {
    until("all replicas to have applied the same", AGREE_WITHIN, async || {
        let mut shards: BTreeMap<u32, AtIndex> = BTreeMap::new();
        for report in client.status().await {
            let status = report.status.map_err(|error| format!("{}: {error}", report.name))?;
            for shard in status.shards {
                let at = shards.entry(shard.shard).or_default().entry(shard.applied_index).or_default();
                at.0 += 1;
                at.1.insert(shard.digest);
            }
        }
        let mut compared = 0;
        for (shard, indexes) in shards {
            if let Some((index, _)) = indexes.iter().find(|(_, (_, digests))| digests.len() > 1) {
                return Ok(Err(format!("the replicas of shard {shard} differ at index {index}")));
            }
            match indexes.values().next() {
                Some((replicas, _)) if indexes.len() == 1 && *replicas == replication => compared += replicas,
                _ => return Err(format!("shard {shard}: {indexes:?}")),
            }
        }
        Ok(Ok(compared))
    })
    .await?
    .map_err(anyhow::Error::msg)
}
