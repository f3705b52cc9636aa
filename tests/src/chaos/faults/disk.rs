//! Disks that are full, slow, stalled or broken.

use super::Field;
use crate::inject::{Counts, Disk};
use crate::rng::Rng;
use crate::wait::until;
use anyhow::{Result, bail, ensure};
use std::time::Duration;
use tokio::time::sleep;

/// How long a node may take to come across its faulty disk; another fault may take it away meanwhile.
const MEETS_WITHIN: Duration = Duration::from_secs(90);

/// What a node logs when one replica failed, as it does where a snapshot that is installed met the fault.
const REPLICA_ENDED: &str = "the replica failed and is started again";

impl Field {
    /// Waits until a count of a node is above what it was.
    async fn counted(&self, node: usize, before: u64, of: fn(&Counts) -> u64) -> Result<u64> {
        until("a fault of the disk to be met", MEETS_WITHIN, async || {
            let met = of(&self.fleet.counts(node)).saturating_sub(before);
            if met > 0 { Ok(met) } else { Err("it was not".to_owned()) }
        })
        .await
    }

    /// Orders something of a disk for a while.
    async fn for_a_while(
        &self,
        node: usize,
        span: Duration,
        order: impl FnOnce(&mut Disk),
        of: fn(&Counts) -> u64,
    ) -> Result<u64> {
        let before = of(&self.fleet.counts(node));
        self.fleet.order(node, |orders| order(&mut orders.disk))?;
        sleep(span).await;
        let met = self.counted(node, before, of).await;
        self.fleet.order(node, |orders| {
            let Disk { sync_error, write_error, .. } = orders.disk;
            orders.disk = Disk { sync_error, write_error, ..Disk::default() };
        })?;
        met
    }

    /// No end of the process is allowed here, so nobody else may kill the node. Half of the time it is killed first,
    /// and has to begin a segment of its log on the full disk.
    pub(super) async fn disk_full(&self, rng: &mut Rng) -> Result<String> {
        let (node, _seat) = self.seat(rng).await?;
        let _disk = self.fleet.disks[node].lock().await;
        let (span, starts) = (rng.span(1000, 5000), rng.below(2) == 0);
        let mut how = String::new();
        if starts {
            self.fleet.order(node, |orders| orders.disk.full = true)?;
            how = format!(" ({}, and started on it)", self.fleet.kill(node)?);
            self.fleet.launch(node)?;
        }
        let met = self.for_a_while(node, span, |disk| disk.full = true, |it| it.full).await?;
        if let Some(status) = self.fleet.ended(node) {
            bail!("node {} ended on a full disk: {status}", node + 1);
        }
        self.back(node).await?;
        Ok(format!("node {} was told {met} times that no byte is free{how}", node + 1))
    }

    pub(super) async fn slow_disk(&self, rng: &mut Rng) -> Result<String> {
        let ((node, _disk), slow_ms) = (self.disk(rng).await?, 5 + rng.below(76));
        let order = |disk: &mut Disk| disk.slow_ms = slow_ms;
        let met = self.for_a_while(node, rng.span(1000, 5000), order, |it| it.slow).await?;
        Ok(format!("{met} syncs of node {} took {slow_ms} ms longer", node + 1))
    }

    pub(super) async fn stalled_disk(&self, rng: &mut Rng) -> Result<String> {
        let ((node, _disk), span) = (self.disk(rng).await?, rng.span(300, 4000));
        let met = self.for_a_while(node, span, |disk| disk.stalled = true, |it| it.stalled).await?;
        Ok(format!("{met} calls of node {} to its disk hung for up to {span:?}", node + 1))
    }

    pub(super) async fn sync_error(&self, rng: &mut Rng) -> Result<String> {
        self.broken(rng, |disk| disk.sync_error += 1, |it| it.sync_error).await
    }

    pub(super) async fn write_error(&self, rng: &mut Rng) -> Result<String> {
        self.broken(rng, |disk| disk.write_error += 1, |it| it.write_error).await
    }

    /// One call fails, and the process must end of it; it starts again from what is durable.
    async fn broken(&self, rng: &mut Rng, order: fn(&mut Disk), of: fn(&Counts) -> u64) -> Result<String> {
        let (node, _seat) = self.seat(rng).await?;
        let _disk = self.fleet.disks[node].lock().await;
        let before = of(&self.fleet.counts(node));
        self.fleet.order(node, |orders| order(&mut orders.disk))?;
        let from = self.fleet.log(node).len();
        let met = until("the end of what met a broken disk", MEETS_WITHIN, async || {
            if let Some(status) = self.fleet.ended(node) {
                return Ok(Some(status));
            }
            let said = self.fleet.log(node)[from..].contains(REPLICA_ENDED);
            if said { Ok(None) } else { Err(format!("node {} runs", node + 1)) }
        });
        let status = met.await?;
        let injected = of(&self.fleet.counts(node)) - before;
        sleep(rng.span(0, 1000)).await;
        self.back(node).await?;
        ensure!(injected == 1, "{injected} calls failed");
        let Some(status) = status else {
            return Ok(format!(
                "1 call of node {} failed with EIO, and a replica of it was started again",
                node + 1
            ));
        };
        ensure!(!status.success(), "node {} ended with {status}", node + 1);
        Ok(format!("1 call of node {} failed with EIO, and the process ended: {status}", node + 1))
    }
}
