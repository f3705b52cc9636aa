//! What each kind of fault does. One file a mix.

mod clients;
mod clock;
mod damage;
mod disk;
mod network;
mod process;
mod snapshot;

pub use damage::damage_logs;

use super::fleet::Fleet;
use super::kind::Kind;
use super::watch::{self, Probe};
use crate::rng::Rng;
use crate::workload::{Recorder, Workload};
use anyhow::{Context as _, Result};
use std::sync::Arc;
use std::time::Duration;

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
    /// What it is told.
    pub recorder: Arc<Recorder>,
}

/// How long a new leader may take while other faults go on.
const ELECTED_WITHIN: Duration = Duration::from_secs(15);

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
            Kind::LongPause => self.pause(rng, 10_000, 30_000).await,
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

    /// Any node.
    fn any(&self, rng: &mut Rng) -> usize {
        rng.index(self.fleet.len())
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
