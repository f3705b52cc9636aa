//! `hapax resolve`: decide a claim in doubt.

use super::args::{About, Globals, Held, Target, outcome_class, reason};
use clap::{ArgGroup, Args};
use hapax_core::OutcomeClass;
use hapax_core::request::{Ask, ResolveAsk};

/// Decide a claim in doubt, once you have found out what happened
#[derive(Args, Clone, Debug)]
#[command(
    group(ArgGroup::new("verdict").required(true).args(["complete", "release"])),
    after_help = "\
Examples:
  hapax list payments.charge --state in_doubt
  hapax resolve payments.charge order-991 --token 8193 --complete success --result receipt.json \\
      --reason 'found in the ledger of the card network'
  hapax resolve payments.charge order-991 --token 8193 --release --reason 'never reached the card network'"
)]
pub(super) struct ResolveArgs {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    held: Held,
    /// It happened, and ended so: success, rejected or error
    #[arg(long, value_name = "CLASS", value_parser = outcome_class)]
    complete: Option<OutcomeClass>,
    /// It did not happen: the next claim may run it
    #[arg(long, conflicts_with_all = ["result", "content_type", "status", "header", "retention"])]
    release: bool,
    #[command(flatten)]
    about: About,
    /// Why; kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl ResolveArgs {
    /// The request.
    pub(super) fn ask(&self, globals: &Globals) -> anyhow::Result<Ask> {
        Ok(Ask::Resolve(ResolveAsk {
            address: self.target.address(globals),
            token: self.held.token,
            outcome: self.complete.map(|class| self.about.outcome(class)).transpose()?,
            retention_ms: self.about.retention_ms(),
            reason: reason(&self.reason)?,
        }))
    }
}
