//! `hapax-bench`: how fast it is.

mod cli;

use clap::Parser as _;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let command = cli::Command::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::fail(&anyhow::Error::new(error)),
    };
    match runtime.block_on(run(&command)) {
        Ok(true) => ExitCode::SUCCESS,
        // The report has said what was wrong.
        Ok(false) => ExitCode::from(1),
        Err(error) => cli::fail(&error),
    }
}

/// An interrupt ends the run as an error does, so that everything it started ends too.
async fn run(command: &cli::Command) -> anyhow::Result<bool> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        done = command.run() => done,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("told to end"),
    }
}
