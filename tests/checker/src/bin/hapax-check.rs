//! `hapax-check`: judges recorded histories.

use anyhow::Context;
use clap::Parser;
use hapax_checker::{Options, Verdict, check, history};
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Judge recorded histories of a Hapax cluster by the protocol.
///
/// Each FILE holds one history as JSON lines: a header, operations, faults, logs, an end. Three tiers run
/// over it: linear scanners, a replay in the order of the witnesses, and a blind search for a
/// linearization of each address. A file is accepted only if all of them are content, nothing was left
/// undecided, every planned fault was proved, every phase reached its minimum, every expected kind of
/// reply was seen, and every acknowledged key was read from every node at the end.
///
/// Exits with 0 if all files are accepted, 1 if one is rejected, 2 if one cannot be read.
#[derive(Debug, Parser)]
#[command(name = "hapax-check", version)]
struct Arguments {
    /// Histories to judge.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON object a file instead of text.
    #[arg(long)]
    json: bool,
    /// Leave out the linear scanners.
    #[arg(long)]
    no_scan: bool,
    /// Leave out the replay in the order of the witnesses.
    #[arg(long)]
    no_witness: bool,
    /// Leave out the blind search.
    #[arg(long)]
    no_blind: bool,
    /// Accept a history without a final scan of every acknowledged key.
    #[arg(long)]
    no_final_scan: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let options = Options {
        scan: !arguments.no_scan,
        witness: !arguments.no_witness,
        blind: !arguments.no_blind,
        final_scan: !arguments.no_final_scan,
    };
    let mut code = 0;
    let mut out = std::io::stdout().lock();
    for file in &arguments.files {
        match judge(file, &options) {
            Ok(verdict) => {
                code = code.max(u8::from(!verdict.is_accepted()));
                let shown =
                    if arguments.json { serde_json::to_string(&verdict)? } else { verdict.to_string() };
                writeln!(out, "{shown}")?;
            }
            Err(error) => {
                code = 2;
                writeln!(std::io::stderr(), "{error:#}")?;
            }
        }
    }
    Ok(ExitCode::from(code))
}

fn judge(path: &Path, options: &Options) -> anyhow::Result<Verdict> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let history =
        history::read(BufReader::with_capacity(1 << 20, file)).with_context(|| path.display().to_string())?;
    Ok(check(&history, options))
}
