//! How a run ended, as a result of the protocol and back.
//!
//! The result is what the command wrote to standard output, then what it wrote to standard error;
//! the header `hapax-run-stdout-bytes` says where one ends, the status is the exit status.

use super::capture::Own;
use crate::cli::exit::Exit;
use crate::cli::render::{Screen, json_text};
use hapax_core::Blob;
use hapax_core::outcome::{Metadata, Outcome, OutcomeClass};
use hapax_core::reply::Replayed;
use serde_json::Map;

const CONTENT_TYPE: &str = "application/vnd.hapax.run";
const STDOUT_BYTES: &str = "hapax-run-stdout-bytes";
const SIGNALLED: &str = "hapax-run-signalled";

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ran {
    /// The exit status as a shell tells it.
    pub(super) status: u8,
    /// A signal ended it.
    pub(super) signalled: bool,
    /// What it wrote to standard output.
    pub(super) stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub(super) stderr: Vec<u8>,
}

impl Ran {
    /// The outcome to keep.
    pub(super) fn outcome(&self) -> Outcome {
        let class = match (self.signalled, self.status) {
            (true, _) => OutcomeClass::Error,
            (false, 0) => OutcomeClass::Success,
            (false, _) => OutcomeClass::Rejected,
        };
        let mut headers = vec![(STDOUT_BYTES.to_owned(), self.stdout.len().to_string())];
        if self.signalled {
            headers.push((SIGNALLED.to_owned(), "yes".to_owned()));
        }
        let metadata = Metadata {
            content_type: Some(CONTENT_TYPE.to_owned()),
            status: Some(self.status.into()),
            headers,
        };
        Outcome { class, result: Blob::from([&self.stdout[..], &self.stderr].concat()), metadata }
    }

    /// The same end without what was written, for a policy that keeps only small results.
    pub(super) fn without_output(&self) -> Self {
        let left_out = format!("[hapax: {} bytes left out]\n", self.stdout.len() + self.stderr.len());
        Self { stdout: Vec::new(), stderr: left_out.into_bytes(), ..self.clone() }
    }

    /// Reads an outcome back. One that somebody else kept (with `complete` or `resolve`) is all
    /// standard output, and its exit status follows from its class.
    pub(super) fn from_replayed(replayed: &Replayed) -> Self {
        let result = replayed.result.as_slice();
        let header = |name: &str| {
            let found = replayed.metadata.headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let stdout_bytes = header(STDOUT_BYTES).and_then(|text| text.parse().ok()).unwrap_or(result.len());
        let (stdout, stderr) = result.split_at(stdout_bytes.min(result.len()));
        let by_class = u8::from(replayed.class != OutcomeClass::Success);
        let status =
            replayed.metadata.status.and_then(|status| u8::try_from(status).ok()).unwrap_or(by_class);
        Self {
            status,
            signalled: header(SIGNALLED).is_some(),
            stdout: stdout.to_vec(),
            stderr: stderr.to_vec(),
        }
    }

    /// Writes what the command wrote, and ends as it ended.
    pub(super) fn show(&self, screen: Screen, reply: &str, attempt: u32) -> anyhow::Result<Exit> {
        if !screen.json {
            Own::Out.write(&self.stdout)?;
            Own::Err.write(&self.stderr)?;
        }
        self.ended(screen, reply, attempt)
    }

    /// Ends as the command ended, whose output was shown as it came; in JSON all is shown here.
    pub(super) fn ended(&self, screen: Screen, reply: &str, attempt: u32) -> anyhow::Result<Exit> {
        if screen.json {
            let mut object = Map::new();
            object.insert("reply".into(), reply.into());
            object.insert("attempt".into(), attempt.into());
            object.insert("outcome".into(), self.outcome().class.name().into());
            object.insert("exit_status".into(), self.status.into());
            json_text(&mut object, "stdout", &self.stdout);
            json_text(&mut object, "stderr", &self.stderr);
            screen.json(&object.into())?;
        }
        Ok(Exit::Command(self.status))
    }
}
