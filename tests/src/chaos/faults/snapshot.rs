//! Followers that the log no longer reaches.

use super::Field;
use crate::rng::Rng;
use crate::wait::until;
use anyhow::{Context as _, Result};
use std::time::Duration;

/// How long the others may take to purge past a node that is away, under load and other faults.
const PURGED_WITHIN: Duration = Duration::from_secs(80);
/// Entries that a node may still get after its last index was read.
const MARGIN: f64 = 40.0;
/// How long the snapshot may take then.
const INSTALLED_WITHIN: Duration = Duration::from_secs(60);
/// What a node logs.
const INSTALLED: &str = "installed a snapshot";

impl Field {
    /// The last index of each shard on a node.
    async fn last_indexes(&self, node: usize) -> Result<Vec<f64>> {
        let seen = self.fleet.seen(node).await?;
        Ok((0..self.shards).map(|shard| seen.of_shard("hapax_shard_last_index", shard)).collect())
    }

    /// Waits until all other nodes have purged past what `node` had, in some shard: any of them may lead it next.
    async fn purged_past(&self, node: usize, had: &[f64]) -> Result<String> {
        until("the log to be purged past a node", PURGED_WITHIN, async || {
            let mut others = Vec::new();
            for other in self.fleet.network.others(node) {
                others.push(self.fleet.seen(other).await.map_err(|error| format!("{error:#}"))?);
            }
            let mut last = String::new();
            for (shard, had) in (0..self.shards).zip(had) {
                let of = others.iter().map(|seen| seen.of_shard("hapax_shard_purged_index", shard));
                let purged = of.fold(f64::INFINITY, f64::min);
                last = format!("shard {shard} purged to {purged}, node {} had {had}", node + 1);
                if purged > had + MARGIN {
                    return Ok(last);
                }
            }
            Err(last)
        })
        .await
    }

    pub(super) fn installs(&self, node: usize) -> usize {
        self.fleet.log(node).matches(INSTALLED).count()
    }

    pub(super) async fn installed(&self, node: usize, before: usize) -> Result<usize> {
        until("a snapshot to be installed", INSTALLED_WITHIN, async || match self.installs(node) - before {
            0 => Err("none was".to_owned()),
            installed => Ok(installed),
        })
        .await
    }

    /// Takes a node down until the log has gone on without it.
    pub(super) async fn left_behind(&self, node: usize) -> Result<String> {
        let had = self.last_indexes(node).await.context("before it went down")?;
        self.fleet.kill(node)?;
        self.purged_past(node, &had).await
    }

    pub(super) async fn snapshot(&self, rng: &mut Rng) -> Result<String> {
        let _away = self.fleet.away.lock().await;
        let (node, _seat) = self.seat(rng).await?;
        let before = self.installs(node);
        let purged = self.left_behind(node).await;
        self.back(node).await?;
        Ok(format!("{}; {} snapshots installed", purged?, self.installed(node, before).await?))
    }

    pub(super) async fn snapshot_killed(&self, rng: &mut Rng) -> Result<String> {
        let _away = self.fleet.away.lock().await;
        let (node, _seat) = self.seat(rng).await?;
        let before = self.installs(node);
        let purged = self.left_behind(node).await;
        self.fleet.launch(node)?;
        tokio::time::sleep(rng.span(100, 900)).await;
        let killed = self.fleet.kill(node);
        self.back(node).await?;
        Ok(format!("{}; {}; {} snapshots installed", purged?, killed?, self.installed(node, before).await?))
    }

    pub(super) async fn purge_cut(&self, rng: &mut Rng) -> Result<String> {
        let _away = self.fleet.away.lock().await;
        let ((node, _seat), network) = (self.seat(rng).await?, &self.fleet.network);
        let (ways, before) = (network.around(node), self.installs(node));
        network.cut(&ways);
        let purged = async {
            let had = self.last_indexes(node).await?;
            let passed = network.traffic(&ways).passed;
            let purged = self.purged_past(node, &had).await?;
            let passed = network.traffic(&ways).passed - passed;
            anyhow::ensure!(passed == 0, "{passed} bytes passed a cut");
            Ok(purged)
        };
        let purged = purged.await;
        network.mend(&ways);
        Ok(format!("{}; {} snapshots installed", purged?, self.installed(node, before).await?))
    }
}
