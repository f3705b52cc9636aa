//! A Redis of this run's own: one node, every write in its log.

use super::process::{End, Process, find, free_ports};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

/// The program.
pub const PROGRAM: &str = "redis-server";

/// When its log is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before a write is answered.
    Always,
    /// Each second, behind the answers.
    EverySecond,
}

/// Starts one in a directory; tells its port too.
///
/// # Errors
/// When it is not installed or cannot be run.
pub fn start(dir: &Path, sync: Sync) -> Result<(Process, u16)> {
    let port = *free_ports(1)?.first().context("one port")?;
    let mut command = Command::new(find(PROGRAM).context("redis-server is not installed")?);
    let sync = match sync {
        Sync::Always => "always",
        Sync::EverySecond => "everysec",
    };
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(dir);
    command.args(["--appendonly", "yes", "--appendfsync", sync, "--save", ""]);
    Ok((Process::start(command, &dir.join("said"), End::Kill)?, port))
}
