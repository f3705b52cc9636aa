//! Processes killed, frozen and restarted.

use super::Field;
use crate::rng::Rng;
use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tokio::time::sleep;

impl Field {
    pub(super) async fn kill_one(&self, rng: &mut Rng) -> Result<String> {
        let (node, _seat) = self.seat(rng).await?;
        let proof = self.fleet.kill(node)?;
        sleep(rng.span(0, 2000)).await;
        self.back(node).await?;
        Ok(proof)
    }

    pub(super) async fn kill_leader(&self, rng: &mut Rng) -> Result<String> {
        let (node, shard, term, _seat) = self.leader_seat(rng).await?;
        let proof = self.fleet.kill(node)?;
        sleep(rng.span(200, 2000)).await;
        let (next, now) = self.back_with_leader(node, shard, term + 1.0).await?;
        Ok(format!("{proof}; node {} leads shard {shard} in term {now} after {term}", next + 1))
    }

    pub(super) async fn kill_all(&self, rng: &mut Rng) -> Result<String> {
        let _clocks = self.fleet.clocks.write().await;
        let mut seats = Vec::new();
        for seat in &self.fleet.seats {
            seats.push(seat.lock().await);
        }
        let mut proofs = Vec::new();
        for node in 0..self.fleet.len() {
            self.back(node).await?;
        }
        for node in 0..self.fleet.len() {
            proofs.push(self.fleet.kill(node)?);
        }
        sleep(rng.span(0, 500)).await;
        for node in 0..self.fleet.len() {
            self.fleet.launch(node)?;
        }
        for node in 0..self.fleet.len() {
            self.back(node).await?;
        }
        Ok(proofs.join(", "))
    }

    pub(super) async fn long_pause(&self, rng: &mut Rng) -> Result<String> {
        let _away = self.fleet.away.lock().await;
        self.pause(rng, 10_000, 30_000).await
    }

    pub(super) async fn pause(&self, rng: &mut Rng, from_ms: u64, to_ms: u64) -> Result<String> {
        let (node, _seat) = self.seat(rng).await?;
        let pid = self.fleet.pid(node)?;
        self.fleet.signal(node, Signal::STOP)?;
        let span = rng.span(from_ms, to_ms);
        sleep(span).await;
        let state = state_of(pid);
        self.fleet.signal(node, Signal::CONT)?;
        ensure!(state? == 'T', "process {pid} was not stopped");
        self.back(node).await?;
        Ok(format!("node {} (pid {pid}) was in state T for {span:?}", node + 1))
    }

    pub(super) async fn transfer(&self, rng: &mut Rng) -> Result<String> {
        let (node, shard, term, _seat) = self.leader_seat(rng).await?;
        let before = self.fleet.log(node).len();
        let proof = self.stop(node).await?;
        let said = self.fleet.log(node)[before..].to_owned();
        let held = said.contains("nobody took these leaderships over");
        let (next, now) = self.back_with_leader(node, shard, term + 1.0).await?;
        let how = if held { "by election" } else { "handed over" };
        Ok(format!("{proof}, {how}; node {} leads shard {shard} in term {now} after {term}", next + 1))
    }

    pub(super) async fn rolling(&self) -> Result<String> {
        let mut proofs = Vec::new();
        for node in 0..self.fleet.len() {
            let _seat = self.fleet.seats[node].lock().await;
            self.back(node).await?;
            proofs.push(self.stop(node).await?);
            self.back(node).await?;
        }
        Ok(proofs.join(", "))
    }

    /// SIGTERM, and the end that follows.
    async fn stop(&self, node: usize) -> Result<String> {
        self.fleet.signal(node, Signal::TERM)?;
        let status = self.fleet.end(node).await?;
        ensure!(status.success(), "node {} ended with {status}", node + 1);
        Ok(format!("node {} exited with 0", node + 1))
    }
}

/// The state of a process as the system shows it.
fn state_of(pid: u32) -> Result<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit_once(')').context("not a stat line")?.1;
    rest.trim_start().chars().next().context("no state")
}
