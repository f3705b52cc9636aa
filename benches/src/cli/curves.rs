//! `hapax-bench curves`.

use super::{not_negative, positive};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use hapax_bench::curves::report::Measured;
use hapax_bench::curves::{self, Plan, Topic, plot};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct CurvesArgs {
    /// Which curves; all where absent
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = topic)]
    only: Vec<Topic>,
    /// Seconds that are measured at each point
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0, value_parser = positive)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = not_negative)]
    warm_up: f64,
    /// How often each point is measured; tables and plots show the middle one
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// failover: how often a leader is killed at each number of shards
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// records, restart: live records at which they are measured
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "100000,1000000,10000000",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    records: Vec<u64>,
    /// records, restart: nodes that hold them: 1, 3, 5 or 7
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    record_nodes: u16,
    /// restart: seconds of load right before all nodes are killed
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', default_value = "1,4,16", value_parser = positive)]
    bursts: Vec<f64>,
    /// The server
    #[arg(long, value_name = "FILE", default_value = "target/release/hapax")]
    program: PathBuf,
    /// Where all data goes, and is removed from at the end; the system's temporary directory where absent. It must be
    /// on the disk that is to be measured, not in memory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also write every point of every round here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the tables here
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also draw each curve into this directory, as NAME.svg
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

impl CurvesArgs {
    pub(crate) async fn run(&self) -> Result<bool> {
        // Found out before the run, not after it.
        self.keep(&Measured::default())?;
        let tell = |line: &str| {
            // Whoever closed standard error does not want to know.
            let _gone = writeln!(std::io::stderr(), "{line}");
        };
        let measured = Box::pin(curves::run(&self.plan(), tell, |so_far| self.keep(so_far))).await?;
        std::io::stdout().write_all(measured.markdown().as_bytes())?;
        if !measured.wrong.is_empty() {
            return Ok(false);
        }
        if !measured.failures.is_empty() {
            bail!("not every point could be run");
        }
        Ok(true)
    }

    /// Writes what there is.
    fn keep(&self, measured: &Measured) -> Result<()> {
        if let Some(json) = &self.json {
            write(json, &(serde_json::to_string_pretty(&measured.json())? + "\n"))?;
        }
        if let Some(markdown) = &self.markdown {
            write(markdown, &measured.markdown())?;
        }
        if let Some(plots) = &self.plots {
            std::fs::create_dir_all(plots).with_context(|| format!("cannot make {}", plots.display()))?;
            for curve in &measured.curves {
                write(&plots.join(format!("{}.svg", curve.shape.name)), &plot::svg(curve)?)?;
            }
        }
        Ok(())
    }

    fn plan(&self) -> Plan {
        let mut records = self.records.clone();
        records.sort_unstable();
        Plan {
            topics: if self.only.is_empty() { Topic::ALL.to_vec() } else { self.only.clone() },
            measured: Duration::from_secs_f64(self.seconds),
            warm_up: Duration::from_secs_f64(self.warm_up),
            rounds: self.rounds,
            repeats: self.repeats,
            records,
            record_nodes: self.record_nodes,
            bursts: self.bursts.clone(),
            program: self.program.clone(),
            dir: self.dir.clone(),
        }
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn topic(name: &str) -> Result<Topic, String> {
    let names = || Topic::ALL.map(Topic::name).join(", ");
    Topic::ALL.into_iter().find(|topic| topic.name() == name).ok_or_else(|| format!("one of {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_chosen_by_name() {
        for one in Topic::ALL {
            assert_eq!(topic(one.name()), Ok(one));
        }
        assert!(topic("latency").unwrap_err().contains("workers, shards, value"));
    }
}
