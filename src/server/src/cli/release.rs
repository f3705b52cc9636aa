//! `hapax release`: end a claim without an outcome.

use super::args::{Globals, Held, Target, reason};
use clap::Args;
use hapax_core::request::{Ask, ReleaseAsk};

/// End a claim without an outcome: nothing happened, the next claim may run it
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  hapax release payments.charge order-991 --token 8193 --reason 'the card network is down'")]
pub(super) struct ReleaseArgs {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    held: Held,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl ReleaseArgs {
    /// The request.
    pub(super) fn ask(&self, globals: &Globals) -> anyhow::Result<Ask> {
        Ok(Ask::Release(ReleaseAsk {
            address: self.target.address(globals),
            token: self.held.token,
            reason: self.reason.as_deref().map(reason).transpose()?,
        }))
    }
}
