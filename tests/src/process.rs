//! One node's process.

use crate::wait::until;
use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running node; killed when this is dropped.
#[derive(Debug)]
pub struct NodeProcess {
    child: Child,
    /// The node stops when this closes, so it does not outlive a test that was itself killed.
    _pipe: Option<ChildStdin>,
}

impl NodeProcess {
    /// Starts `program server --config CONFIG`, its output appended to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, config: &Path, log: &Path) -> Result<Self> {
        Self::start_command(Self::command(program, config), log)
    }

    /// `program server --config CONFIG`, to be started.
    #[must_use]
    pub fn command(program: &Path, config: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("server").arg("--config").arg(config).arg("--end-with-stdin");
        command
    }

    /// Starts a command that runs a node, its output appended to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_command(mut command: Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("HAPAX_")) {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("cannot start a node")?;
        let pipe = child.stdin.take();
        Ok(Self { child, _pipe: pipe })
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until the process is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no such process")?;
        Ok(kill_process(pid, signal)?)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// When it has not ended `within`.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        until("the end of a node", within, async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// The last lines of a log, for a person.
#[must_use]
pub fn tail(log: &PathBuf, lines: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
