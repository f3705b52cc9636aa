//! The command line as a user runs it.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The `hapax` program with a cluster to talk to.
#[derive(Clone, Debug)]
pub struct Hapax {
    program: PathBuf,
    seeds: String,
}

/// How a command ended and what it wrote.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit status; -1 when a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as one JSON object.
    ///
    /// # Errors
    /// When it is not exactly that.
    pub fn json(&self) -> Result<Value> {
        let value: Value = serde_json::from_slice(&self.stdout)
            .with_context(|| format!("not JSON: {:?}; stderr: {}", self.text(), self.stderr))?;
        if !value.is_object() {
            bail!("not an object: {value}");
        }
        Ok(value)
    }

    /// A text field of the JSON.
    ///
    /// # Errors
    /// When there is none.
    pub fn field(&self, name: &str) -> Result<String> {
        let json = self.json()?;
        Ok(json[name].as_str().with_context(|| format!("no text field {name} in {json}"))?.to_owned())
    }
}

impl Hapax {
    /// For a cluster of these nodes.
    #[must_use]
    pub fn new(program: &Path, seeds: &str) -> Self {
        Self { program: program.to_owned(), seeds: seeds.to_owned() }
    }

    /// A command ready to run, with an environment of its own.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("HAPAX_")) {
                command.env_remove(name);
            }
        }
        command.env("HAPAX_CLUSTER", &self.seeds).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end, off the async threads.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let mut command = self.command(arguments);
        Ok(ran(tokio::task::spawn_blocking(move || command.output()).await??))
    }

    /// Runs a command with this standard input.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn run_with(&self, input: &[u8], arguments: &[&str]) -> Result<Ran> {
        let (mut command, input) = (self.command(arguments), input.to_vec());
        let output = tokio::task::spawn_blocking(move || -> Result<Output> {
            let mut child = command.stdin(Stdio::piped()).spawn()?;
            // A command that refuses its arguments does not read.
            let _unread = child.stdin.take().context("no standard input")?.write_all(&input);
            Ok(child.wait_with_output()?)
        });
        Ok(ran(output.await??))
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
