//! `hapax claim`: ask for the right to run.

use super::args::{Globals, Print, Target, ms};
use super::values;
use clap::Args;
use hapax_core::request::{Ask, ClaimAsk};
use hapax_core::{Fields, Label, LogTime, Money, Nonce, Reply, Trace};
use std::time::Duration;

/// Ask for the right to run an operation for a key
///
/// The first caller is granted and gets a token; everybody else is told what became of it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  hapax claim payments.charge order-991
      exit status 0: run it, then complete it with the token; 10: it ran before, the result is printed
  hapax claim payments.charge order-991 --body request.json --lease 1m --value 12.34EUR
  hapax claim payments.charge order-991 --wait 30s
      held back while somebody else runs it, and answered with what that gave")]
pub(super) struct ClaimArgs {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    print: Print,
    /// Names this logical call, 32 hex digits: a retry with the same one gets the same grant back. Random
    /// where absent
    #[arg(long, value_name = "HEX", value_parser = values::nonce)]
    nonce: Option<Nonce>,
    /// How long the claim is held without renewal; the policy's where absent
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    lease: Option<Duration>,
    /// How long to be held back while somebody else runs it, at most 60s
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = values::duration)]
    wait: Duration,
    /// When this request was first sent, ms since 1970: one from before anything that is remembered is too old
    /// and is not run (exit status 18)
    #[arg(long, value_name = "MS")]
    first_sent: Option<u64>,
    /// The value at stake, for the estimate of what was prevented: 12.34EUR
    #[arg(long, value_name = "AMOUNT", value_parser = values::money)]
    value: Option<Money>,
    /// Free text for operators
    #[arg(long, value_name = "TEXT", value_parser = label)]
    label: Option<Label>,
    /// The trace parent of the caller
    #[arg(long, value_name = "TRACEPARENT", value_parser = trace)]
    trace: Option<Trace>,
}

impl ClaimArgs {
    /// The request; `fresh` is the nonce where none was given.
    pub(super) fn ask(&self, globals: &Globals, fresh: Nonce) -> anyhow::Result<Ask> {
        Ok(Ask::Claim(ClaimAsk {
            address: self.target.address(globals),
            fingerprint: Some(self.print.to_claim()?),
            fields: Fields::default(),
            nonce: self.nonce.unwrap_or(fresh),
            lease_ms: self.lease.map(ms),
            wait_ms: ms(self.wait),
            first_sent: self.first_sent.map(LogTime),
            label: self.label.clone(),
            trace: self.trace.clone(),
            value: self.value,
        }))
    }

    /// What a person may want to do next.
    pub(super) fn next(&self, reply: &Reply) -> Option<String> {
        let operation = self.target.operation.as_str();
        let key = self.target.key.as_bytes().escape_ascii();
        match reply {
            Reply::Granted(it) if !it.token.is_none() => Some(format!(
                "run it, then: hapax complete {operation} {key} --token {} --outcome success --result FILE",
                it.token
            )),
            Reply::InFlight(_) => Some(format!("hapax claim {operation} {key} --wait 30s")),
            Reply::InDoubt(it) => Some(format!(
                "find out whether it happened, then: hapax resolve {operation} {key} --token {} \
                 (--complete success --result FILE | --release) --reason TEXT",
                it.token
            )),
            _ => None,
        }
    }
}

fn label(text: &str) -> Result<Label, String> {
    Label::new(text).map_err(|invalid| invalid.to_string())
}

fn trace(text: &str) -> Result<Trace, String> {
    Trace::new(text).map_err(|invalid| invalid.to_string())
}
