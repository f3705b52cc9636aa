//! A way to really lose a worker: a process of its own that dies.

use anyhow::Result;
use std::process::{Command, Stdio};

/// Set for a worker.
const WORKER: &str = "HAPAX_EXAMPLE_WORKER";

/// What this process was started to do as a worker, if it is one.
pub(crate) fn worker_job() -> Option<String> {
    std::env::var(WORKER).ok()
}

/// Runs this example again as a worker in a process of its own, and waits for the end of it.
pub(crate) async fn run_worker(job: &str) -> Result<bool> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(WORKER, job).stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.status()).await??;
    Ok(ended.success())
}

/// Dies as a killed process does: nothing is released, nothing is said.
pub(crate) fn die() -> ! {
    std::process::abort()
}
