//! One node, from its configuration to its end.
//!
//! Contract: every port is bound before any work, so that a wrong address is told at once; metrics
//! and health are served from then on. The data directory is locked and must be this node's. A
//! panic anywhere, a failed log and a failed record store end the process at once: it starts again
//! from what is durable. A graceful stop first says that it is not ready, then hands over every
//! leadership, answers what is in flight, and flushes.

mod files;
mod health;
mod layout;
mod logging;
mod observer;
mod panic;
mod ports;
mod service;
mod startup;
mod stop;
mod storage;
#[cfg(test)]
mod tests;
mod world;

pub use ports::Ports;
pub use startup::Running;
pub use stop::Stop;
pub use world::{Ended, Fatal, Tuning, World, Writers};

use crate::config::Config;
use anyhow::Context as _;

/// The version of this software.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs a node in its world until it is told to stop: by SIGTERM or SIGINT, or, with `end_with_stdin`, by the
/// end of standard input. Blocks.
///
/// # Errors
/// Why the node could not start, or what could not be flushed at its end.
pub fn run(config: Config, world: World, end_with_stdin: bool) -> anyhow::Result<()> {
    logging::start(&config.log)?;
    panic::abort_on_panic();
    files::raise_limit(config.limits.connections);
    for name in Config::unknown_variables() {
        tracing::warn!(name, "this environment variable sets nothing");
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.node.threads {
        runtime.worker_threads(threads.into());
    }
    let runtime = runtime.enable_all().thread_name("hapax").build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = stop::on_signals(end_with_stdin)?;
        let ports = Ports::bind(&config).await?;
        let Some(running) = Running::start(config, world, ports, stop.clone()).await? else {
            tracing::info!("stopped before the cluster was complete");
            return Ok(());
        };
        stop.requested().await;
        running.stop().await
    })
}
