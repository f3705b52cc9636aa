//! What each kind of fault does. One file a mix.

mod clients;
mod clock;
mod damage;
mod disk;
mod network;
mod packets;
mod process;
mod snapshot;

pub use damage::damage_logs;

use super::fleet::Fleet;
use super::kind::Kind;
use super::watch::{self, Probe};
use crate::rng::Rng;
use crate::workload::Workload;
use anyhow::{Context as _, Result, bail, ensure};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep};

/// What faults act on.
#[derive(Clone, Debug)]
pub struct Field {
    /// The nodes and their network.
    pub fleet: Arc<Fleet>,
    /// Whether shards serve.
    pub probe: Arc<Probe>,
    /// Data shards.
    pub shards: u32,
    /// The load beside the faults.
    pub load: Arc<Workload>,
    /// The most calls a second that the cluster has acknowledged so far.
    pub peak: Arc<Mutex<f64>>,
}

/// How long a new leader may take while other faults go on.
const ELECTED_WITHIN: Duration = Duration::from_secs(60);
/// How long a fault waits until another has left it something to act on, and how often it looks.
const FREE_WITHIN: Duration = Duration::from_secs(120);
/// How long a shard may take to find a leader without a node before that is started again.
const ALONE_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Field {
    /// Does one fault, from its beginning to its end; returns what proves it.
    ///
    /// # Errors
    /// When it could not be done, or not be proved.
    pub async fn perform(&self, kind: Kind, seed: u64) -> Result<String> {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        match kind {
            Kind::KillOne => self.kill_one(rng).await,
            Kind::KillLeader => self.kill_leader(rng).await,
            Kind::KillAll => self.kill_all(rng).await,
            Kind::Pause => self.pause(rng, 100, 5000).await,
            Kind::LongPause => self.long_pause(rng).await,
            Kind::Transfer => self.transfer(rng).await,
            Kind::Rolling => self.rolling().await,
            Kind::Snapshot => self.snapshot(rng).await,
            Kind::SnapshotKilled => self.snapshot_killed(rng).await,
            Kind::PurgeCut => self.purge_cut(rng).await,
            Kind::Split => self.split(rng).await,
            Kind::SplitLeader => self.split_leader(rng).await,
            Kind::Mute => self.one_way(rng, true).await,
            Kind::Deaf => self.one_way(rng, false).await,
            Kind::Ring => self.ring(rng).await,
            Kind::Flap => self.flap(rng).await,
            Kind::ClientCut => self.client_cut(rng).await,
            Kind::Delay => self.delay(rng).await,
            Kind::Loss => self.loss(rng).await,
            Kind::Slow => self.slow_link(rng).await,
            Kind::HalfOpen => self.half_open(rng).await,
            Kind::Late => self.late(rng).await,
            Kind::LateClient => self.late_client(rng).await,
            Kind::Duplicate => self.duplicate(rng).await,
            Kind::CablePulled => self.cable_pulled(rng).await,
            Kind::PacketsDropped => self.packets_dropped(rng).await,
            Kind::ClockForward => self.clock_jump(rng, 1).await,
            Kind::ClockBack => self.clock_jump(rng, -1).await,
            Kind::ClockDrift => self.clock_drift(rng).await,
            Kind::DiskFull => self.disk_full(rng).await,
            Kind::SyncError => self.sync_error(rng).await,
            Kind::WriteError => self.write_error(rng).await,
            Kind::SlowDisk => self.slow_disk(rng).await,
            Kind::StalledDisk => self.stalled_disk(rng).await,
            Kind::DamagedEngine => self.damaged_engine(rng).await,
            Kind::DamagedSnapshot => self.damaged_snapshot(rng).await,
            Kind::DamagedLog => anyhow::bail!("only at the end of a run"),
            Kind::Overload => self.overload(rng).await,
            Kind::HalfFrames => self.half_frames(rng).await,
            Kind::Garbage => self.garbage(rng).await,
            Kind::SlowReader => self.slow_reader(rng).await,
            Kind::Abandon => self.abandon(rng).await,
            Kind::OldTokens => self.old_tokens(rng).await,
        }
    }

    /// Any node of which `take` gets something.
    async fn free<T>(&self, rng: &mut Rng, take: impl Fn(usize) -> Option<T>) -> Result<(usize, T)> {
        let (first, deadline) = (rng.index(self.fleet.len()), Instant::now() + FREE_WITHIN);
        while Instant::now() < deadline {
            for step in 0..self.fleet.len() {
                let node = (first + step) % self.fleet.len();
                if let Some(taken) = take(node) {
                    return Ok((node, taken));
                }
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("no node was free within {FREE_WITHIN:?}")
    }

    /// Any node that runs, and whose process no other fault has.
    async fn seat(&self, rng: &mut Rng) -> Result<(usize, MutexGuard<'_, ()>)> {
        let (node, seat) = self.free(rng, |node| self.fleet.seats[node].try_lock().ok()).await?;
        self.back(node).await?;
        Ok((node, seat))
    }

    /// Any node that runs, and whose disk no other fault has.
    async fn disk(&self, rng: &mut Rng) -> Result<(usize, MutexGuard<'_, ()>)> {
        self.free(rng, |node| {
            let (_seat, disk) =
                (self.fleet.seats[node].try_lock().ok()?, self.fleet.disks[node].try_lock().ok()?);
            self.fleet.runs(node).then_some(disk)
        })
        .await
    }

    /// Any node that runs, and whose process no other fault has at the moment: what is to be proved by its traffic
    /// needs a node that has some.
    async fn running(&self, rng: &mut Rng) -> Result<usize> {
        Ok(self.seat(rng).await?.0)
    }

    /// Any shard's leader whose process no other fault has, with the shard and its term.
    async fn leader_seat(&self, rng: &mut Rng) -> Result<(usize, u32, f64, MutexGuard<'_, ()>)> {
        let deadline = Instant::now() + FREE_WITHIN;
        while Instant::now() < deadline {
            let (node, shard, term) = self.any_leader(rng).await?;
            if let Ok(seat) = self.fleet.seats[node].try_lock()
                && self.fleet.runs(node)
            {
                return Ok((node, shard, term, seat));
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("no leader was free within {FREE_WITHIN:?}")
    }

    /// Starts a node again; the shard must have a leader of at least this term, other than the node, as soon as it
    /// has one without it, or else once the node is back: with other faults about, it may be needed.
    async fn back_with_leader(&self, node: usize, shard: u32, least: f64) -> Result<(usize, f64)> {
        let above = least - 0.5;
        let elected = watch::leader_above(&self.fleet, shard, above, ALONE_WITHIN).await;
        self.back(node).await?;
        match elected {
            Ok((next, _)) => ensure!(next != node, "the node that was gone leads"),
            Err(_) => return watch::leader_above(&self.fleet, shard, above, ELECTED_WITHIN).await,
        }
        elected
    }

    /// Any shard's leader, with the shard and its term.
    async fn any_leader(&self, rng: &mut Rng) -> Result<(usize, u32, f64)> {
        let shard = u32::try_from(rng.below(self.shards.into()))?;
        let led = crate::wait::until("a shard to be led", ELECTED_WITHIN, async || {
            watch::leader(&self.fleet, shard).await.ok_or_else(|| "nobody leads it".to_owned())
        });
        let (node, term) = led.await.with_context(|| format!("shard {shard}"))?;
        Ok((node, shard, term))
    }

    /// Starts a node again and waits until it is ready. One that ended meanwhile, because another fault hit it,
    /// is started once more.
    async fn back(&self, i: usize) -> Result<()> {
        for _ in 0..3 {
            if !self.fleet.runs(i) {
                self.fleet.launch(i)?;
            }
            match self.fleet.ready(i).await {
                Ok(()) => return Ok(()),
                Err(error) if self.fleet.runs(i) => return Err(error),
                Err(_) => {}
            }
        }
        anyhow::bail!("node {} does not stay up", i + 1)
    }
}
