//! `hapax forget`: drop what is kept.

use super::args::{Globals, Target, reason, token};
use clap::Args;
use hapax_core::Token;
use hapax_core::command::ForgetMode;
use hapax_core::request::{Ask, ForgetAsk, GetAsk};

/// Drop what is kept for a key
///
/// Without --reset the payload goes and the memory that it ran stays: it will not run again.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  hapax forget payments.charge order-991 --reason 'erasure request 4711'
  hapax forget payments.charge order-991 --reset --reason 'test data'
      drops everything: the next claim runs it again")]
pub(super) struct ForgetArgs {
    #[command(flatten)]
    pub(super) target: Target,
    /// Acts only if this is the record's last token; read from the record where absent
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub(super) token: Option<Token>,
    /// Drop the memory that it ran too, so that it may run again
    #[arg(long)]
    reset: bool,
    /// Also a running claim
    #[arg(long)]
    force: bool,
    /// Why; kept in the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl ForgetArgs {
    /// The read that finds the last token.
    pub(super) fn look(&self, globals: &Globals) -> Ask {
        Ask::Get(GetAsk {
            address: self.target.address(globals),
            fingerprint: None,
            wait_ms: 0,
            stale: false,
        })
    }

    /// The request.
    pub(super) fn ask(&self, globals: &Globals, token: Token) -> anyhow::Result<Ask> {
        Ok(Ask::Forget(ForgetAsk {
            address: self.target.address(globals),
            token,
            mode: if self.reset { ForgetMode::Reset } else { ForgetMode::Erase },
            force: self.force,
            reason: reason(&self.reason)?,
        }))
    }
}
