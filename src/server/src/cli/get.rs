//! `hapax get`: read one record.

use super::args::{Globals, Print, Target, ms};
use super::values;
use clap::Args;
use hapax_core::request::{Ask, GetAsk};
use std::time::Duration;

/// Read what is kept for a key
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  hapax get payments.charge order-991
  hapax get payments.charge order-991 --wait 30s
      held back while somebody runs it
  hapax get payments.charge order-991 --json | jq -r .state")]
pub(super) struct GetArgs {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    print: Print,
    /// How long to be held back while somebody runs it, at most 60s
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = values::duration)]
    wait: Duration,
    /// A completed record may be read from a follower, which may be behind
    #[arg(long)]
    stale: bool,
}

impl GetArgs {
    /// The request.
    pub(super) fn ask(&self, globals: &Globals) -> anyhow::Result<Ask> {
        Ok(Ask::Get(GetAsk {
            address: self.target.address(globals),
            fingerprint: self.print.given()?,
            wait_ms: ms(self.wait),
            stale: self.stale,
        }))
    }
}
