//! The stores that people use for this today, and Hapax, under the same load, turn by turn.
//!
//! Contract: every peer is asked what a caller of an idempotency store asks, in the way that store is used for it, at
//! the durability named in [`Peer::is_durable`], by the callers of [`crate::load`]: the same calls, counts and checks of
//! answers. In each round each peer is started afresh in an empty directory, loaded with each number of workers, and
//! ended, so that one runs at a time. Replays are plain reads where a peer's claim does not answer them; that favours
//! the peers, whose callers do not know in advance which claims are replays.

mod hapax;
pub mod report;

#[cfg(feature = "peers")]
mod etcd;
#[cfg(feature = "peers")]
mod kept;
#[cfg(feature = "peers")]
mod nats;
#[cfg(feature = "peers")]
mod postgres;
#[cfg(feature = "peers")]
mod redis;

use crate::load::store::{Failure, Store};
use crate::load::{self, Options, Report};
use crate::servers::process::find;
use crate::servers::usage::Servers;
use crate::servers::{
    etcd as etcd_server, nats as nats_server, postgres as postgres_server, redis as redis_server,
};
use anyhow::{Context as _, Result};
use report::{Comparison, Row};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// After which an operation counts as failed.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Three nodes of Hapax.
    Hapax,
    /// One node of Hapax, which keeps one copy.
    HapaxOne,
    /// Redis that syncs each write.
    Redis,
    /// Redis that syncs each second.
    RedisEverySecond,
    /// PostgreSQL.
    Postgres,
    /// Three nodes of etcd.
    Etcd,
    /// Three nodes of NATS JetStream.
    Nats,
}

impl Peer {
    /// All, in the order of a round.
    pub const ALL: [Self; 7] = [
        Self::Hapax,
        Self::HapaxOne,
        Self::Redis,
        Self::RedisEverySecond,
        Self::Postgres,
        Self::Etcd,
        Self::Nats,
    ];

    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hapax => "hapax",
            Self::HapaxOne => "hapax-1",
            Self::Redis => "redis",
            Self::RedisEverySecond => "redis-everysec",
            Self::Postgres => "postgres",
            Self::Etcd => "etcd",
            Self::Nats => "nats",
        }
    }

    /// How many nodes it runs, each of which keeps everything.
    #[must_use]
    pub fn nodes(self) -> u16 {
        match self {
            Self::HapaxOne | Self::Redis | Self::RedisEverySecond | Self::Postgres => 1,
            Self::Hapax | Self::Etcd | Self::Nats => 3,
        }
    }

    /// Whether what it acknowledges survives a power cut of all its nodes.
    #[must_use]
    pub fn is_durable(self) -> bool {
        !matches!(self, Self::RedisEverySecond | Self::Nats)
    }

    /// The program that must be installed, and Debian's package of it; Hapax's is built.
    fn package(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Hapax | Self::HapaxOne => None,
            Self::Redis | Self::RedisEverySecond => Some((redis_server::PROGRAM, "redis-server")),
            Self::Postgres => Some((postgres_server::PROGRAM, "postgresql")),
            Self::Etcd => Some((etcd_server::PROGRAM, "etcd-server")),
            Self::Nats => Some((nats_server::PROGRAM, "nats-server")),
        }
    }

    /// Why it cannot take part; nothing when it can.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        self.missing_by(|program| find(program).is_some(), cfg!(feature = "peers"))
    }

    fn missing_by(self, is_installed: impl Fn(&str) -> bool, has_drivers: bool) -> Option<String> {
        let (program, package) = self.package()?;
        let name = self.name();
        if !is_installed(program) {
            return Some(format!("{name} is left out: there is no {program}; apt-get install {package}"));
        }
        (!has_drivers).then(|| {
            format!("{name} is left out: not built in; cargo build --release -p hapax-bench --features peers")
        })
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which.
    pub peers: Vec<Peer>,
    /// Callers at once, one run for each.
    pub workers: Vec<usize>,
    /// How often all of it.
    pub rounds: u32,
    /// Hapax's program.
    pub program: PathBuf,
    /// Where all data goes; the system's temporary directory where absent.
    pub dir: Option<PathBuf>,
    /// The load; its number of workers is replaced.
    pub load: Options,
}

/// A store that runs.
trait Target {
    /// A way to it.
    type Store: Store;

    /// Its processes.
    fn servers(&self) -> Result<Servers>;

    /// As many handles as callers would share.
    async fn connect(&self, workers: usize) -> Result<Vec<Self::Store>>;
}

/// Runs all of it, and tells each step.
///
/// # Errors
/// When a directory cannot be made. A peer that cannot be run is in the comparison as a failure.
pub async fn run(plan: &Plan, mut tell: impl FnMut(&str)) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for peer in &plan.peers {
        match peer.missing() {
            None => present.push(*peer),
            Some(note) => missing.push(note),
        }
    }
    for note in missing {
        tell(&note);
        comparison.notes.push(note);
    }
    for round in 1..=plan.rounds {
        for peer in &present {
            let mut rows = Vec::new();
            let done = turn(*peer, plan, |workers, report| {
                let row = Row::new(*peer, workers, round, &report);
                tell(&format!("round {round} of {}: {row}", plan.rounds));
                comparison.wrong.extend(report.wrongs().map(|wrong| format!("{}: {wrong}", peer.name())));
                rows.push(row);
            });
            if let Err(error) = done.await {
                let failure = format!("{}, round {round}: {error:#}", peer.name());
                tell(&failure);
                comparison.failures.push(failure);
            }
            comparison.rows.append(&mut rows);
        }
    }
    Ok(comparison)
}

/// Starts one peer, loads it with each number of workers, and ends it.
async fn turn(peer: Peer, plan: &Plan, seen: impl FnMut(usize, Report)) -> Result<()> {
    let mut temporary = tempfile::Builder::new();
    temporary.prefix("hapax-bench-");
    let dir = match &plan.dir {
        Some(dir) => temporary.tempdir_in(dir),
        None => temporary.tempdir(),
    }
    .context("cannot make a directory")?;
    // The store ends before its directory goes.
    start_and_load(peer, plan, dir.path(), seen).await
}

#[cfg(feature = "peers")]
async fn start_and_load(peer: Peer, plan: &Plan, dir: &Path, seen: impl FnMut(usize, Report)) -> Result<()> {
    use redis_server::Sync;
    match peer {
        Peer::Hapax | Peer::HapaxOne => {
            load_each(&hapax::start(plan, dir, peer.nodes()).await?, plan, seen).await
        }
        Peer::Redis => load_each(&redis::Redis::start(dir, Sync::Always).await?, plan, seen).await,
        Peer::RedisEverySecond => {
            load_each(&redis::Redis::start(dir, Sync::EverySecond).await?, plan, seen).await
        }
        Peer::Postgres => load_each(&postgres::Postgres::start(dir).await?, plan, seen).await,
        Peer::Etcd => load_each(&etcd::Etcd::start(dir).await?, plan, seen).await,
        Peer::Nats => load_each(&nats::Nats::start(dir).await?, plan, seen).await,
    }
}

#[cfg(not(feature = "peers"))]
async fn start_and_load(peer: Peer, plan: &Plan, dir: &Path, seen: impl FnMut(usize, Report)) -> Result<()> {
    load_each(&hapax::start(plan, dir, peer.nodes()).await?, plan, seen).await
}

async fn load_each<T: Target>(target: &T, plan: &Plan, mut seen: impl FnMut(usize, Report)) -> Result<()> {
    let servers = target.servers()?;
    for workers in &plan.workers {
        let stores = target.connect(*workers).await?;
        let options = Options { workers: *workers, ..plan.load.clone() };
        seen(*workers, load::run(&stores, &servers, &options).await?);
    }
    Ok(())
}

/// An answer of a driver, if it comes in time.
#[cfg_attr(not(feature = "peers"), allow(dead_code, reason = "only the drivers ask"))]
async fn within<T, E: Display>(answer: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failure { code: "refused".to_owned(), text: error.to_string() }),
        Err(_) => Err(Failure { code: "timeout".to_owned(), text: "no answer in time".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_its_package() {
        for peer in Peer::ALL {
            let note = peer.missing_by(|_| false, true);
            match peer.package() {
                None => assert_eq!(note, None),
                Some((program, package)) => {
                    let note = note.unwrap();
                    let install = format!("there is no {program}; apt-get install {package}");
                    assert!(note.starts_with(peer.name()) && note.ends_with(&install), "{note}");
                    assert!(peer.missing_by(|_| true, false).unwrap().contains("--features peers"));
                }
            }
            assert_eq!(peer.missing_by(|_| true, true), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_answer_fails_in_time() {
        let failure = within(std::future::pending::<Result<(), String>>()).await.unwrap_err();
        assert_eq!(failure.code, "timeout");
        let failure = within(async { Err::<(), _>("full") }).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.text.as_str()), ("refused", "full"));
    }
}
