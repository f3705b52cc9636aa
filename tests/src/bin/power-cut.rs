//! Cuts the power of a whole cluster again and again, and reads back what was acknowledged.
//!
//! `power-cut --cuts 200 --seed 7` ends with status 0 when nothing was lost, 1 when something was or
//! the run has shown nothing, 77 where this process may not mount.

use anyhow::{Context as _, Result};
use clap::Parser;
use hapax_tests::power::{self, Options, Report, run};
use serde_json::json;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Where mounting is not permitted; what test programs call skipped.
const NOT_PERMITTED: u8 = 77;
/// Set for the process that has mounts of its own, which go with it.
const OWN_MOUNTS: &str = "POWER_CUT_OWN_MOUNTS";

/// Cuts the power of a whole cluster again and again, and reads back what was acknowledged.
#[derive(Debug, Parser)]
struct Arguments {
    /// Cuts.
    #[arg(long, default_value_t = 200)]
    cuts: u32,
    /// No cut begins after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// What the cuts are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `fjall` or `sled`.
    #[arg(long, default_value = "fjall")]
    engine: String,
    /// Where the disks of a failed run are kept.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// The disks only say that they flush: the run must fail.
    #[arg(long)]
    disks_lie: bool,
    /// One line for each cut.
    #[arg(long)]
    tell: bool,
    /// The figures as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    // A node is this program too, so that one build makes both, and since its record store has a pace of its own.
    if std::env::args_os().nth(1).is_some_and(|first| first == "server") {
        return hapax_server::cli::run_in(std::env::args_os(), power::world).into();
    }
    let arguments = Arguments::parse();
    if std::env::var_os(OWN_MOUNTS).is_none() {
        return in_own_mounts();
    }
    match cut(&arguments) {
        Ok(report) => {
            tell(&report, arguments.json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            hapax_tests::note!("FAILED (seed {}): {error:#}", arguments.seed);
            ExitCode::FAILURE
        }
    }
}

/// Runs this program again where its mounts are its own and end with it, however it ends.
fn in_own_mounts() -> ExitCode {
    let permitted = Command::new("unshare").args(["--mount", "--propagation", "private", "true"]).output();
    let has_fuse = std::path::Path::new("/dev/fuse").exists();
    if !has_fuse || !permitted.is_ok_and(|output| output.status.success()) {
        hapax_tests::note!("not run: this process may not mount a file system");
        return ExitCode::from(NOT_PERMITTED);
    }
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private", "--"]).args(std::env::current_exe().ok());
    let error = again.args(std::env::args_os().skip(1)).env(OWN_MOUNTS, "1").exec();
    hapax_tests::note!("cannot start: {error}");
    ExitCode::FAILURE
}

fn cut(arguments: &Arguments) -> Result<Report> {
    let engine = match arguments.engine.as_str() {
        "fjall" => "fjall",
        "sled" => "sled",
        other => anyhow::bail!("no such engine: {other}"),
    };
    let options = Options {
        program: std::env::current_exe()?,
        cuts: arguments.cuts,
        within: arguments.seconds.map(Duration::from_secs),
        seed: arguments.seed,
        engine,
        keep: arguments.keep.clone(),
        disks_lie: arguments.disks_lie,
        tell: arguments.tell,
    };
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(run(&options))
}

fn tell(report: &Report, as_json: bool) {
    let seconds = report.took.as_secs_f64();
    let a_cut = seconds / f64::from(report.cuts.max(1));
    if as_json {
        let figures = json!({
            "cuts": report.cuts, "acknowledged": report.acknowledged, "lost": 0,
            "read_back": report.read_back, "replicas_compared": report.compared,
            "cuts_with_bytes_behind": report.cuts_with_lag, "files_behind": report.files_behind,
            "bytes_behind": report.bytes_behind, "cuts_with_pages_dropped": report.cuts_with_drops,
            "pages_unflushed": report.taken.unflushed, "pages_dropped": report.taken.dropped,
            "pages_torn": report.taken.torn, "errors": report.errors, "seconds": seconds,
            "seconds_a_cut": a_cut, "seconds_starting": report.starting.as_secs_f64(),
        });
        return hapax_tests::note!("{figures}");
    }
    hapax_tests::note!(
        "{} cuts in {seconds:.0} s ({a_cut:.1} s each, {:.1} s of it until all are ready): 0 of {} \
         acknowledged results lost",
        report.cuts,
        report.starting.as_secs_f64() / f64::from(report.cuts.max(1)),
        report.acknowledged,
    );
    hapax_tests::note!(
        "{} results read back, {} replicas compared, {} errors reached the callers",
        report.read_back,
        report.compared,
        report.errors
    );
    hapax_tests::note!(
        "{} cuts took {} bytes of {} files that no sync had reached; {} took pages from the disks' \
         caches: {} of {} dropped, {} torn",
        report.cuts_with_lag,
        report.bytes_behind,
        report.files_behind,
        report.cuts_with_drops,
        report.taken.dropped,
        report.taken.unflushed,
        report.taken.torn
    );
}
