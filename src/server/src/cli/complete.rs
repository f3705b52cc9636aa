//! `hapax complete`: end a claim with an outcome.

use super::args::{About, Globals, Held, Target, outcome_class};
use clap::Args;
use hapax_core::OutcomeClass;
use hapax_core::request::{Ask, CompleteAsk};

/// End a claim with an outcome, which every later claim is answered with
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  hapax complete payments.charge order-991 --token 8193 --result receipt.json --content-type application/json
  echo declined | hapax complete payments.charge order-991 --token 8193 --outcome rejected --result -
      a definite refusal: as final as a success
  hapax complete payments.charge order-991 --token 8193 --outcome error
      an unexpected failure: kept for a short while only")]
pub(super) struct CompleteArgs {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    held: Held,
    /// How it ended: success, rejected or error
    #[arg(long, value_name = "CLASS", default_value = "success", value_parser = outcome_class)]
    outcome: OutcomeClass,
    #[command(flatten)]
    about: About,
}

impl CompleteArgs {
    /// The request.
    pub(super) fn ask(&self, globals: &Globals) -> anyhow::Result<Ask> {
        Ok(Ask::Complete(CompleteAsk {
            address: self.target.address(globals),
            token: self.held.token,
            outcome: self.about.outcome(self.outcome)?,
            retention_ms: self.about.retention_ms(),
        }))
    }
}
