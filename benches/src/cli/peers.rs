//! `hapax-bench peers`.

use super::{not_negative, positive, sizes};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use hapax_bench::load::Options;
use hapax_bench::load::draw::Mix;
use hapax_bench::peers::{self, Peer, Plan};
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct PeersArgs {
    /// Callers at once, one run for each number
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "64,512",
        value_parser = clap::value_parser!(u32).range(1..=65_535))]
    workers: Vec<u32>,
    /// Seconds that are measured in each run
    #[arg(long, value_name = "SECONDS", default_value_t = 8.0, value_parser = positive)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = not_negative)]
    warm_up: f64,
    /// How often each peer has its turn
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Which peers; all where absent
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = peer)]
    only: Vec<Peer>,
    /// Percent of calls that ask for a completed key
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0, value_parser = not_negative)]
    replays: f64,
    /// Percent of calls that claim a new key twice at once
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = not_negative)]
    duplicates: f64,
    /// Size of each result, or FROM-TO
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = sizes)]
    value_bytes: RangeInclusive<usize>,
    /// Hapax's server
    #[arg(long, value_name = "FILE", default_value = "target/release/hapax")]
    program: PathBuf,
    /// Where all data goes, and is removed from at the end; the system's temporary directory where absent. It must be
    /// on the disk that is to be measured, not in memory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also write the rows here, one for each run
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl PeersArgs {
    pub(crate) async fn run(&self) -> Result<bool> {
        if self.replays + self.duplicates > 100.0 {
            bail!("--replays and --duplicates are more than 100 % together");
        }
        if let Some(json) = &self.json {
            // Found out before the run, not after it.
            std::fs::write(json, "").with_context(|| format!("cannot write {}", json.display()))?;
        }
        let tell = |line: &str| {
            // Whoever closed standard error does not want to know.
            let _gone = writeln!(std::io::stderr(), "{line}");
        };
        let comparison = peers::run(&self.plan(), tell).await?;
        if let Some(json) = &self.json {
            std::fs::write(json, serde_json::to_string_pretty(&comparison.rows)? + "\n")
                .with_context(|| format!("cannot write {}", json.display()))?;
        }
        std::io::stdout().write_all(comparison.table().as_bytes())?;
        if !comparison.failures.is_empty() || comparison.rows.is_empty() {
            bail!("not every peer could be run");
        }
        Ok(comparison.wrong.is_empty())
    }

    fn plan(&self) -> Plan {
        let load = Options {
            workers: 0,
            rate: None,
            warm_up: Duration::from_secs_f64(self.warm_up),
            measured: Duration::from_secs_f64(self.seconds),
            mix: Mix { replays: self.replays, duplicates: self.duplicates, skew: 0.0 },
            value_bytes: self.value_bytes.clone(),
            seed: 1,
            read_back: 1000,
            tell: false,
        };
        let workers = self.workers.iter().map(|workers| usize::try_from(*workers).unwrap_or(usize::MAX));
        Plan {
            peers: if self.only.is_empty() { Peer::ALL.to_vec() } else { self.only.clone() },
            workers: workers.collect(),
            rounds: self.rounds,
            program: self.program.clone(),
            dir: self.dir.clone(),
            load,
        }
    }
}

fn peer(name: &str) -> Result<Peer, String> {
    let names = || Peer::ALL.map(Peer::name).join(", ");
    Peer::ALL.into_iter().find(|peer| peer.name() == name).ok_or_else(|| format!("one of {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_chosen_by_name() {
        for one in Peer::ALL {
            assert_eq!(peer(one.name()), Ok(one));
        }
        assert!(peer("memcached").unwrap_err().contains("redis-everysec, postgres"));
    }
}
