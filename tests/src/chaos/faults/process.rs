//! Processes killed, frozen and restarted.

use super::{ELECTED_WITHIN, Field};
use crate::chaos::watch::leader_above;
use crate::rng::Rng;
use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tokio::time::sleep;

impl Field {
    pub(super) async fn kill_one(&self, rng: &mut Rng) -> Result<String> {
        let node = self.any(rng);
        let _seat = self.fleet.seats[node].lock().await;
        let proof = self.fleet.kill(node)?;
        sleep(rng.span(0, 2000)).await;
        self.back(node).await?;
        Ok(proof)
    }

    pub(super) async fn kill_leader(&self, rng: &mut Rng) -> Result<String> {
        let (node, shard, term) = self.any_leader(rng).await?;
        let _seat = self.fleet.seats[node].lock().await;
        let proof = self.fleet.kill(node)?;
        let down = rng.span(200, 2000);
        let elected = leader_above(&self.fleet, shard, term, ELECTED_WITHIN);
        let ((), elected) = tokio::join!(sleep(down), elected);
        self.back(node).await?;
        // With other faults about, the next leader may have needed this node.
        let (next, now) = match elected {
            Ok(elected) => elected,
            Err(_) => leader_above(&self.fleet, shard, term, ELECTED_WITHIN).await?,
        };
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

    pub(super) async fn pause(&self, rng: &mut Rng, from_ms: u64, to_ms: u64) -> Result<String> {
        let node = self.any(rng);
        let _seat = self.fleet.seats[node].lock().await;
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
        let (node, shard, term) = self.any_leader(rng).await?;
        let _seat = self.fleet.seats[node].lock().await;
        let before = self.fleet.log(node).len();
        let proof = self.stop(node).await?;
        let said = self.fleet.log(node)[before..].to_owned();
        let held = said.contains("nobody took these leaderships over");
        let (next, now) = leader_above(&self.fleet, shard, term - 0.5, ELECTED_WITHIN).await?;
        self.back(node).await?;
        let how = if held { "by election" } else { "handed over" };
        ensure!(next != node, "the node that stopped leads");
        Ok(format!("{proof}, {how}; node {} leads shard {shard} in term {now} after {term}", next + 1))
    }

    pub(super) async fn rolling(&self) -> Result<String> {
        let mut proofs = Vec::new();
        for node in 0..self.fleet.len() {
            let _seat = self.fleet.seats[node].lock().await;
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
