//! One seed, shown: its plan, its faults, and what the nodes log, by simulated time.

use crate::plan::Plan;
use crate::{run, trace};
use hapax_checker::history::{self, History};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;

/// The time of the simulation.
struct SimTime;

impl FormatTime for SimTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        match turmoil::sim_elapsed() {
            Some(elapsed) => write!(writer, "{:>8} ms", elapsed.as_millis()),
            None => write!(writer, "{:>11}", ""),
        }
    }
}

/// Runs the seed, and keeps its history where asked, for `hapax-check`. `RUST_LOG` says what of the logs is shown; by default what nodes usually log.
///
/// # Errors
/// When the logs cannot be shown or the history cannot be written.
#[expect(clippy::print_stdout, reason = "what the program says")]
pub fn replay(seed: u64, seconds: u64, history: Option<&Path>) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("warn,hapax_server=info,hapax_raft=info,hapax_store=info,sim=info,node=info,turmoil::sim=info,openraft=off")
    });
    let shown = tracing_subscriber::fmt::layer().with_timer(SimTime).with_ansi(false).with_filter(filter);
    tracing::subscriber::set_global_default(
        tracing_subscriber::registry().with(trace::Watch { exact: false }).with(shown),
    )?;
    println!("{}", serde_json::to_string_pretty(&Plan::draw(seed, seconds))?);
    let verdict = run::seed(seed, seconds, false);
    println!("{}", serde_json::to_string_pretty(&verdict)?);
    if let (Some(path), Some(history)) = (history, &verdict.history) {
        write(history, path)?;
    }
    Ok(if verdict.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(history: &History, path: &Path) -> anyhow::Result<()> {
    let mut writer = history::Writer::new(BufWriter::new(File::create(path)?), &history.header)?;
    history.operations.iter().try_for_each(|operation| writer.operation(operation))?;
    history.faults.iter().try_for_each(|fault| writer.fault(fault))?;
    writer.end()?;
    Ok(())
}
