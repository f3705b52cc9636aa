//! What a node is given to live in: the machine, or a simulation of one.

use super::panic;
use anyhow::Context as _;
use hapax_raft::config::{NodeLimits, Timing};
use hapax_raft::env::Env;
use hapax_store::disk::{Disk, RealDisk};
use hapax_store::log::{LogConfig, LogWriter, MonotonicClock};
use hapax_store::records::{EngineKind, RecordConfig, RecordWriter};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// Ends when the writers of log and records have ended.
pub type Ended = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + Sync>>;

/// Who runs the writers of log and records.
pub trait Writers: Send + Sync + 'static {
    /// Starts both. A writer that fails ends the process, or whatever stands for it.
    ///
    /// # Errors
    /// When one cannot be started.
    fn start(&self, log: LogWriter, records: RecordWriter, env: &Env) -> anyhow::Result<Ended>;
}

/// Ends the process at once, told why: what is not durable then never will be.
pub type Fatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Bounds and paces that the configuration does not name. What it does name wins over these.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// Of the log.
    pub log: LogConfig,
    /// Of the record store.
    pub records: RecordConfig,
    /// Of the consensus.
    pub timing: Timing,
    /// Of the node's queues, and how much log it keeps.
    pub limits: NodeLimits,
}

/// Everything outside the node; cheap to clone.
#[derive(Clone)]
pub struct World {
    /// Clocks and randomness. (Sockets are the alias in [`hapax_raft::env::net`], timers tokio's.)
    pub env: Env,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// A clock that only measures how long syncs take.
    pub monotonic: MonotonicClock,
    /// Threads.
    pub writers: Arc<dyn Writers>,
    /// Another engine than the configuration names: one in memory.
    pub engine: Option<EngineKind>,
    /// What happens when the log has failed. Whatever still runs after it must reach nobody.
    pub fatal: Fatal,
    /// Bounds that nobody configures.
    pub tuning: Tuning,
}

impl World {
    /// The machine itself.
    #[must_use]
    pub fn real() -> Self {
        let began = Instant::now();
        Self {
            env: Env::real(),
            disk: Arc::new(RealDisk),
            monotonic: Arc::new(move || began.elapsed()),
            writers: Arc::new(Threads),
            engine: None,
            fatal: Arc::new(|why| panic::end(why)),
            tuning: Tuning::default(),
        }
    }
}

/// A thread for each writer.
struct Threads;

impl Writers for Threads {
    fn start(&self, log: LogWriter, records: RecordWriter, env: &Env) -> anyhow::Result<Ended> {
        let clock = Arc::clone(&env.clock);
        let log = thread("hapax-log", move || log.run_blocking())?;
        let records = thread("hapax-records", move || {
            if let Err(error) = records.run_blocking(|| clock.boot_ms()) {
                panic::end(&format!("the record store failed: {error}"));
            }
        })?;
        Ok(Box::pin(async move { tokio::task::spawn_blocking(move || join([log, records])).await? }))
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(run).with_context(|| format!("cannot start the thread {name}"))
}

/// Waits for threads; blocks. In a process that does not abort on panics, one may have panicked.
fn join(threads: [JoinHandle<()>; 2]) -> anyhow::Result<()> {
    for thread in threads {
        let name = thread.thread().name().unwrap_or_default().to_owned();
        thread.join().map_err(|_| anyhow::anyhow!("the thread {name} panicked"))?;
    }
    Ok(())
}
