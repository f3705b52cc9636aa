//! `instruction-counts`: whether the state machine and the codecs take as many instructions as the table has.

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use hapax_bench::counts::{self, table};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// The table, and how a caller names it.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instruction-counts.txt");

/// Count the instructions of the micro benchmarks, and compare them with the table in benches/instruction-counts.txt
///
/// Needs valgrind. Exit status 1 when a case is outside of the tolerance, 2 when nothing could be counted.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// Write the table anew instead of comparing
    #[arg(long, conflicts_with = "print")]
    write: bool,
    /// Print what is counted, compare nothing; works with every profile
    #[arg(long)]
    print: bool,
    /// Run one case, to be counted from outside
    #[arg(long, hide = true, value_name = "CASE")]
    case: Option<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _gone = writeln!(std::io::stderr(), "instruction-counts: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Says whether all is as the table has it.
fn run(arguments: &Arguments) -> Result<bool> {
    if let Some(case) = &arguments.case {
        return counts::run_case(case).map(|()| true);
    }
    if !arguments.print {
        refuse_other_builds()?;
    }
    let program = std::env::current_exe().context("where this program is")?;
    let counted = counts::count_all(&program, &["--case"])?;
    let mut out = std::io::stdout().lock();
    if arguments.print {
        out.write_all(table::text(&counted).as_bytes())?;
        return Ok(true);
    }
    if arguments.write {
        std::fs::write(TABLE, table::text(&counted)).context(TABLE)?;
        writeln!(out, "{} cases, written to {TABLE}", counted.len())?;
        return Ok(true);
    }
    let expected = table::parse(&std::fs::read_to_string(Path::new(TABLE)).context(TABLE)?)?;
    let told = table::differences(&expected, &counted);
    for line in &told {
        writeln!(out, "{line}")?;
    }
    let tolerance = table::TOLERANCE_PERCENT;
    writeln!(
        out,
        "{} cases, {} outside of {tolerance} % or with other allocations",
        counted.len(),
        told.len()
    )?;
    if !told.is_empty() {
        writeln!(
            out,
            "Where that is meant: target/debug/instruction-counts --write, and say why in the commit."
        )?;
    }
    Ok(told.is_empty())
}

/// The table is of one target and one profile.
fn refuse_other_builds() -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the table is of x86-64; --print counts here");
    }
    if !cfg!(debug_assertions) {
        bail!("the table is of the profile of development; --print counts this build");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
