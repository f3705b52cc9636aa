//! `hapax run`: run a command once per key, in the whole cluster.
//!
//! Contract: the claim is marked before the command starts, so a crash of this process, of the
//! command's machine or of the network leaves the key *in doubt*: it is told, and never silently
//! run again. The command runs only while the lease is held: when it is lost, the command is
//! killed. What it wrote and its exit status are the result, and every later run writes and ends
//! the same.
//!
//! Outcome classes: exit status 0 is a success; another one is a rejection, as final as a success;
//! a command ended by a signal is an error, kept for a short while. A command that cannot be
//! started is released: nothing happened.

mod capture;
mod child;
mod lease;
mod result;
#[cfg(test)]
mod tests;

use super::args::{Globals, Target, ms};
use super::exit::Exit;
use super::render::Screen;
use super::session::Session;
use super::values;
use capture::Streams;
use clap::Args;
use hapax_client::{ClaimReply, ClaimRequest, CompleteReply};
use hapax_core::reply::Granted;
use hapax_core::request::{CompleteAsk, ReleaseAsk};
use hapax_core::{Address, Answer, ErrorCode, Money, Outcome, Reason, Reply, Token};
use lease::{Lease, Lost};
use result::Ran;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

/// A wait without an end, as long as a clock can hold.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Run a command once per key, in the whole cluster
///
/// The first run claims the key and runs the command; runs at the same time wait for it; every later
/// one writes what it wrote and ends with its exit status.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  hapax run jobs.nightly \"$(date +%F)\" -- /usr/local/bin/nightly-backup
      from cron on every machine: one of them runs it
  hapax run migrations 0042 --lease 5m -- psql -f 0042.sql

The arguments of the command are the fingerprint: another command under the same key is a mismatch.
Exit status 0 is kept as a success, any other as a rejection: both are final. A command ended by a
signal is kept as an error for a short while. What is kept of each stream ends after 127 KiB, with a
marker.
A run that crashed leaves the key in doubt (exit status 12): find out what it did, then
  hapax resolve OPERATION KEY --token TOKEN (--complete success | --release) --reason TEXT
When the lease is lost (exit status 15), the command is killed.")]
pub(super) struct RunArgs {
    #[command(flatten)]
    target: Target,
    /// How long the claim outlives a crash of this run; it is renewed while the command runs
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = values::duration)]
    lease: Duration,
    /// How long to wait while another run is at it; for ever where absent
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    wait: Option<Duration>,
    /// The value at stake, for the estimate of what was prevented: 12.34EUR
    #[arg(long, value_name = "AMOUNT", value_parser = values::money)]
    value: Option<Money>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// Why a granted run did not start its command.
enum NotStarted {
    /// The claim was gone before the mark: ask again.
    Lost,
    /// It cannot be started.
    Failed(anyhow::Error),
}

impl RunArgs {
    /// Claims, runs, completes; or replays.
    pub(super) async fn run(&self, globals: &Globals, screen: Screen) -> anyhow::Result<Exit> {
        let session = Session::open(globals).await?;
        let address = self.target.address(globals);
        loop {
            let claim = ClaimRequest::new(address.clone())
                .fingerprint(hapax_client::fingerprint::bytes(&self.command_bytes()))
                .lease(self.lease)
                .wait(self.wait.unwrap_or(FOR_EVER));
            let claim = match self.value {
                Some(value) => claim.value(value),
                None => claim,
            };
            let replied = session.client().claim(claim).await?;
            let granted = match replied.reply {
                ClaimReply::Granted(granted) => granted,
                ClaimReply::Replayed(replayed) => {
                    return Ran::from_replayed(&replayed).show(screen, "replayed", replayed.attempt);
                }
                reply => {
                    let answer = Answer { reply: reply.into(), witness: replied.witness };
                    screen.answer(&answer, self.next(&answer.reply).as_deref())?;
                    return Ok(Exit::of(&answer));
                }
            };
            match self.granted(&session, screen, &address, &granted).await {
                Ok(exit) => return Ok(exit),
                Err(NotStarted::Lost) => {}
                Err(NotStarted::Failed(error)) => return Err(error),
            }
        }
    }

    async fn granted(
        &self,
        session: &Session,
        screen: Screen,
        address: &Address,
        granted: &Granted,
    ) -> Result<Exit, NotStarted> {
        let failed = NotStarted::Failed;
        let token = granted.token;
        let lease = match Lease::begin(session.client(), address, token, ms(self.lease)).await {
            Ok(lease) => lease,
            Err(Lost::Fenced) => return Err(NotStarted::Lost),
            Err(Lost::Error(error)) => {
                self.release(session, address, token, "could not set the mark").await;
                return Err(failed(error.into()));
            }
        };
        let child = match child::start(&self.command) {
            Ok(child) => child,
            Err(error) => {
                self.release(session, address, token, "the command could not be started").await;
                let name = self.command.first().map(|name| name.to_string_lossy().into_owned());
                let text = format!("cannot start {}: {error}", name.unwrap_or_default());
                return Err(failed(anyhow::anyhow!(text)));
            }
        };
        let streams = if screen.json { Streams::Kept } else { Streams::Shown };
        let ended =
            child::attend(child, streams, lease.hold()).await.map_err(|error| failed(error.into()))?;
        let Some(ran) = ended else {
            let text = "the lease was lost: the command was killed, and the key is in doubt or taken over";
            screen.err(&format!("hapax: {text}\n")).map_err(|error| failed(error.into()))?;
            return Ok(Exit::Fenced);
        };
        self.complete(session, screen, address, granted, &ran).await.map_err(failed)
    }

    /// Keeps the result; when it is too large for the policy, keeps how it ended without it.
    async fn complete(
        &self,
        session: &Session,
        screen: Screen,
        address: &Address,
        granted: &Granted,
        ran: &Ran,
    ) -> anyhow::Result<Exit> {
        let complete = |outcome: Outcome| CompleteAsk {
            address: address.clone(),
            token: granted.token,
            outcome,
            retention_ms: None,
        };
        let mut replied = session.client().complete(complete(ran.outcome())).await;
        if replied.as_ref().is_err_and(|error| error.code() == ErrorCode::TooLarge && error.is_definite()) {
            replied = session.client().complete(complete(ran.without_output().outcome())).await;
        }
        let lost = match replied.map(|replied| replied.reply) {
            Ok(CompleteReply::Completed(_) | CompleteReply::AlreadyCompleted | CompleteReply::Ignored) => {
                return ran.ended(screen, "granted", granted.attempt);
            }
            Ok(CompleteReply::Fenced) => (Exit::Fenced, "the token was fenced".to_owned()),
            Ok(CompleteReply::Conflict) => (Exit::Conflict, "another outcome is kept".to_owned()),
            Err(error) => (Exit::Error, error.to_string()),
        };
        let (exit, why) = lost;
        screen.err(&format!(
            "hapax: the command ran (exit status {}), but its result could not be kept: {why}\n",
            ran.status
        ))?;
        Ok(exit)
    }

    async fn release(&self, session: &Session, address: &Address, token: Token, why: &str) {
        let release = ReleaseAsk { address: address.clone(), token, reason: Reason::new(why).ok() };
        if let Err(error) = session.client().release(release).await {
            tracing::warn!(%error, "the claim could not be released; it ends with its lease");
        }
    }

    /// The arguments as one string of bytes; none of them can hold a zero byte.
    fn command_bytes(&self) -> Vec<u8> {
        self.command.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect()
    }

    fn next(&self, reply: &Reply) -> Option<String> {
        let (operation, key) = (self.target.operation.as_str(), self.target.key.as_bytes().escape_ascii());
        match reply {
            Reply::InDoubt(it) => Some(format!(
                "an earlier run crashed or lost its lease; find out what it did, then: hapax resolve {operation} \
                 {key} --token {} (--complete success | --release) --reason TEXT",
                it.token
            )),
            Reply::Mismatch(_) => Some("this key was used for another command; use another key".to_owned()),
            _ => None,
        }
    }
}
