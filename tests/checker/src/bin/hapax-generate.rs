//! `hapax-generate`: writes generated histories, to measure the checker by.

use anyhow::Context;
use clap::Parser;
use hapax_checker::generate::Plan;
use hapax_checker::history::Writer;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

/// Write a history that a cluster which keeps the protocol could have given.
///
/// The same seed and size give the same file.
#[derive(Debug, Parser)]
#[command(name = "hapax-generate", version)]
struct Arguments {
    /// Where to.
    file: PathBuf,
    /// At least so many operations; the scan at the end comes on top.
    #[arg(long, default_value_t = 100_000)]
    operations: u64,
    /// The seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many clients call at a time.
    #[arg(long, default_value_t = 48)]
    clients: u32,
    /// How many addresses are in use at a time.
    #[arg(long, default_value_t = 600)]
    addresses: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let plan = Plan {
        clients: arguments.clients.max(1),
        addresses: arguments.addresses.max(1),
        ..Plan::new(arguments.seed, arguments.operations)
    };
    let file = File::create(&arguments.file).with_context(|| arguments.file.display().to_string())?;
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file), &plan.header())?;
    let mut result = Ok(());
    plan.run(&mut |operation| {
        if result.is_ok() {
            result = writer.operation(&operation);
        }
    });
    result.and_then(|()| writer.end().map(drop)).context("cannot be written")
}
