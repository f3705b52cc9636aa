//! `hapax renew`: extend a claim, move its recovery point, set its mark.

use super::args::{Globals, Held, Target, ms};
use super::{input, values};
use clap::Args;
use hapax_core::request::{Ask, RenewAsk};
use hapax_core::{Blob, limits};
use std::path::PathBuf;
use std::time::Duration;

/// Extend a claim's lease, keep a checkpoint, set the no-return mark
///
/// After the mark a lapse leaves the record in doubt: nobody runs it again until it is resolved.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  hapax renew reports.build 2026-11 --token 8193
  hapax renew reports.build 2026-11 --token 8193 --checkpoint progress.json
      whoever takes over after a crash gets this checkpoint with the grant
  hapax renew payments.charge order-991 --token 8193 --mark
      from here on the effect may have happened")]
pub(super) struct RenewArgs {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    held: Held,
    /// The lease from now; the policy's where absent
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    lease: Option<Duration>,
    /// Rises with each renewal of a token, so that a delayed copy changes nothing; the milliseconds since
    /// 1970 where absent
    #[arg(long, value_name = "NUMBER")]
    seq: Option<u64>,
    /// The new recovery point, from a file or '-', at most 4 KiB; an empty one clears it
    #[arg(long, value_name = "FILE|-")]
    checkpoint: Option<PathBuf>,
    /// Say that from here on the effect may have happened
    #[arg(long)]
    mark: bool,
}

impl RenewArgs {
    /// The request; `now_ms` is the sequence number where none was given.
    pub(super) fn ask(&self, globals: &Globals, now_ms: u64) -> anyhow::Result<Ask> {
        let checkpoint = match &self.checkpoint {
            Some(path) => Some(Blob::from(input::read(path, limits::CHECKPOINT_BYTES, "--checkpoint")?)),
            None => None,
        };
        Ok(Ask::Renew(RenewAsk {
            address: self.target.address(globals),
            token: self.held.token,
            seq: self.seq.unwrap_or(now_ms),
            lease_ms: self.lease.map(ms),
            checkpoint,
            mark: self.mark,
        }))
    }
}
