//! Chaos on real node processes; see `hapax_tests::chaos`.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use hapax_tests::chaos::{Kind, Mix, Options, run, wires};
use hapax_tests::write_note;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The exit status of a run that is void.
const VOID: u8 = 3;

/// Breaks a cluster of three real nodes in every way of the matrix, under a checked load
///
/// Faults overlap, follow a schedule that the seed draws, and each must be proved to have taken effect.
/// Afterwards every node must be back, every shard must serve within 10 s, replicas must agree, every
/// acknowledged result is read back from every node, and the checker judges the whole history. Exit status 0 only
/// if nothing went wrong; 3 if nothing did but the run proves nothing, since a fault of the plan had no effect.
#[derive(Parser, Debug)]
#[command(after_help = "\
Examples:
  cargo run --release -p hapax-tests --bin chaos -- --minutes 5
      the whole matrix, 180 faults or so, and a table of them
  chaos --minutes 60 --seed 7
      a soak; the same seed draws the same schedule
  chaos --mix network,clock --faults 40 --minutes 1
  chaos --list-faults
      what there is, and what proves each

The nodes are run by `hapax-under-test`, which must stand beside this program:
  cargo build --release -p hapax-tests --bins

A run is not exact: which node leads when a fault strikes depends on the machine. A failed run keeps
the nodes' logs and the faults as they were done, and says where.")]
struct Arguments {
    /// How long faults go on, in minutes; healing and reading back come on top
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// What draws the schedule
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Groups of faults: process, network, packets, clock, disk, damage, clients; all by default
    #[arg(long, value_delimiter = ',', value_parser = mix)]
    mix: Vec<Mix>,
    /// How many faults; 36 a minute by default, and at least one of each kind
    #[arg(long)]
    faults: Option<usize>,
    /// Keep the history here, for `hapax-check`, also when all went well
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Where a failed run keeps what explains it
    #[arg(long, default_value = "chaos-failed")]
    keep: PathBuf,
    /// List the kinds of faults, and end
    #[arg(long)]
    list_faults: bool,
}

fn mix(text: &str) -> Result<Mix, String> {
    let found = Mix::ALL.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, mix)| mix).ok_or_else(|| {
        let names: Vec<&str> = Mix::ALL.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

/// The groups of faults to be done, and why packets are left out, if they are. Where they are not, this program goes on
/// in a network of its own.
fn mixes(asked: &[Mix]) -> Result<(Vec<Mix>, Option<String>)> {
    let mut mixes = if asked.is_empty() { Mix::ALL.map(|(_, mix)| mix).to_vec() } else { asked.to_vec() };
    if !mixes.contains(&Mix::Packets) || wires::is_entered() {
        return Ok((mixes, None));
    }
    let Some(why) = wires::missing() else { return Err(wires::enter()) };
    mixes.retain(|mix| *mix != Mix::Packets);
    ensure!(!mixes.is_empty(), "a run can have no network of its own here: {why}");
    Ok((mixes, Some(why)))
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list_faults {
        for kind in Kind::ALL {
            write_note(&format!(
                "{:20} {}\n{:20}   proved by: {}",
                kind.name(),
                kind.does(),
                "",
                kind.proof()
            ));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe()?.with_file_name("hapax-under-test");
    ensure!(
        program.exists(),
        "{} is not there: cargo build --release -p hapax-tests --bins",
        program.display()
    );
    let span = Duration::try_from_secs_f64(arguments.minutes * 60.0).context("--minutes")?;
    let (mixes, unwired) = mixes(&arguments.mix)?;
    let a_minute = usize::try_from(span.as_secs() * 36 / 60)?;
    let faults = arguments.faults.unwrap_or(a_minute.max(Kind::ALL.len()));
    let options = Options {
        program,
        seed: arguments.seed,
        span,
        faults,
        mixes,
        unwired,
        keep: arguments.keep,
        history: arguments.history,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(run(&options))?;
    write_note(&report.text());
    if report.wrong.is_empty() && !report.is_void {
        return Ok(ExitCode::SUCCESS);
    }
    let again: Vec<String> = std::env::args().collect();
    let dir = options.keep.display();
    write_note(&format!(
        "Kept in {dir}: history, logs, faults as they were done.\nThe same schedule: {} (seed {})\nJudge again: \
         hapax-check {dir}/history.jsonl",
        again.join(" "),
        options.seed
    ));
    Ok(if report.is_void { ExitCode::from(VOID) } else { ExitCode::FAILURE })
}
