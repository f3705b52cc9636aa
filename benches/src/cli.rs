//! The command line.

mod curves;
mod peers;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser};
use hapax_bench::load::draw::Mix;
use hapax_bench::load::hapax::Hapax;
use hapax_bench::load::{self, Options};
use hapax_bench::servers::hapax::{Cluster, Plan};
use hapax_bench::servers::usage::Servers;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measure how fast Hapax is
///
/// Times are noisy on shared machines: compare within one run, and prefer ratios.
#[derive(Parser, Debug)]
#[command(name = "hapax-bench", version)]
pub(crate) enum Command {
    /// Load a cluster with callers that check what they are answered
    ///
    /// A fresh call claims a new key and completes it; a replay claims a completed key and must get the bytes that
    /// were kept; a duplicate claims a new key twice at once, of which one must be granted. Each request is an
    /// operation. Exit status 1 when an answer was wrong, 2 when the load could not be run.
    #[command(after_help = "\
Examples:
  hapax-bench load
      64 callers for 10 s on a three-node cluster of its own, from target/release/hapax
  hapax-bench load --workers 512 --replays 80 --json replays.json
  hapax-bench load --rate 5000 --workers 512
      an open loop: 5000 calls a second, timed from when each was to begin
  hapax-bench load --cluster 10.0.0.1:7401,10.0.0.2:7401
      on a cluster that runs")]
    Load(LoadArgs),
    /// Compare with the stores that people use for this today, side by side
    ///
    /// Starts Redis, PostgreSQL, etcd, NATS JetStream and Hapax in turn, each afresh and at the durability that people
    /// would need, and loads each with the same callers, which check what they are answered. Redis that syncs each
    /// second and NATS are marked as not durable. What is not installed is left out, with a note. Exit status 1 when
    /// an answer was wrong, 2 when a peer could not be run.
    #[command(after_help = "\
The drivers of the others are built with a feature that is off by default:
  cargo build --release -p hapax-bench --features peers
  apt-get install redis-server postgresql etcd-server nats-server

Examples:
  hapax-bench peers --json peers.json
  hapax-bench peers --only hapax,redis --workers 64 --rounds 1")]
    Peers(peers::PeersArgs),
    /// Measure how it scales: over callers, shards, sizes, replays, nodes, live records; restarts and failover
    ///
    /// One thing changes from point to point, and the rest stays: three nodes, as many shards as nodes, 20 % replays,
    /// 256-byte results. Each point of `workers`, `shards`, `value`, `replays` and `nodes` has a cluster of its own;
    /// `records` and `restart` share one that grows; `failover` kills the node that leads most shards, again and again.
    /// The callers check what they are answered. Tables go to standard output. Exit status 1 when an answer was wrong,
    /// 2 when a point could not be run.
    #[command(after_help = "\
Examples:
  hapax-bench curves --json curves.json --markdown curves.md --plots plots
      all of it; about half an hour and 8 GB of disk, most of it for ten million records
  hapax-bench curves --only workers,shards --seconds 8 --rounds 3
  hapax-bench curves --only records,restart --records 100000,1000000 --record-nodes 3
  hapax-bench curves --only failover --repeats 10")]
    Curves(curves::CurvesArgs),
}

#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    /// Nodes of a cluster that runs, host:port; one of its own is started where absent
    #[arg(long, value_name = "NODES", conflicts_with_all = ["program", "nodes", "shards", "dir"])]
    cluster: Option<String>,
    /// Processes of that cluster, to measure what they use
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "cluster")]
    pids: Vec<u32>,
    /// The server to start
    #[arg(long, value_name = "FILE", default_value = "target/release/hapax")]
    program: PathBuf,
    /// How many nodes to start: 1, 3, 5 or 7
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    nodes: u16,
    /// Shards of the cluster to start; the server's default where absent
    #[arg(long, value_name = "NUMBER")]
    shards: Option<u32>,
    /// Where the started cluster's data goes, and is removed from at the end; the system's temporary directory where
    /// absent
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Callers at once
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    workers: u32,
    /// Client handles that the callers share, each with connections of its own
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: u32,
    /// Begin so many calls a second, whatever the answers; as many as the callers can where absent
    #[arg(long, value_name = "CALLS", value_parser = positive)]
    rate: Option<f64>,
    /// Seconds that are measured
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = not_negative)]
    warm_up: f64,
    /// Percent of calls that ask for a completed key
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0, value_parser = not_negative)]
    replays: f64,
    /// Percent of calls that claim a new key twice at once
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = not_negative)]
    duplicates: f64,
    /// How uneven replays are: 0 takes all keys alike, 1 the nth 1/n as often as the first
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.0, value_parser = not_negative)]
    skew: f64,
    /// Size of each result, or FROM-TO
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = sizes)]
    value_bytes: RangeInclusive<usize>,
    /// Completed keys that are read back at the end
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    read_back: usize,
    /// Draws the calls
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How long a caller tries
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive)]
    timeout: f64,
    /// Also write the figures here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Say nothing while it runs
    #[arg(long)]
    quiet: bool,
}

impl Command {
    /// Runs it; false when an answer was wrong.
    pub(crate) async fn run(&self) -> Result<bool> {
        match self {
            Self::Load(args) => args.run().await,
            Self::Peers(args) => args.run().await,
            Self::Curves(args) => args.run().await,
        }
    }
}

impl LoadArgs {
    async fn run(&self) -> Result<bool> {
        if self.replays + self.duplicates > 100.0 {
            bail!("--replays and --duplicates are more than 100 % together");
        }
        if let Some(json) = &self.json {
            // Found out before the run, not after it.
            std::fs::write(json, "").with_context(|| format!("cannot write {}", json.display()))?;
        }
        let (cluster, nodes, servers) = match &self.cluster {
            Some(nodes) => (None, nodes.clone(), Servers::new(self.pids.clone())),
            None => {
                let cluster = Cluster::start(&self.plan()).await?;
                let (nodes, servers) = (cluster.nodes(), cluster.servers()?);
                (Some(cluster), nodes, servers)
            }
        };
        let mut stores = Vec::new();
        for _ in 0..self.clients {
            let timeout = Duration::from_secs_f64(self.timeout);
            let connected = Hapax::connect(&nodes, timeout).await;
            stores.push(connected.with_context(|| format!("cannot connect to {nodes}"))?);
        }
        let report = load::run(&stores, &servers, &self.options()).await?;
        drop((stores, cluster));
        if let Some(json) = &self.json {
            std::fs::write(json, serde_json::to_string_pretty(&report)? + "\n")
                .with_context(|| format!("cannot write {}", json.display()))?;
        }
        std::io::stdout().write_all(report.table().as_bytes())?;
        Ok(report.is_right())
    }

    fn plan(&self) -> Plan {
        Plan { program: self.program.clone(), nodes: self.nodes, shards: self.shards, dir: self.dir.clone() }
    }

    fn options(&self) -> Options {
        Options {
            workers: usize::try_from(self.workers).unwrap_or(usize::MAX),
            rate: self.rate,
            warm_up: Duration::from_secs_f64(self.warm_up),
            measured: Duration::from_secs_f64(self.seconds),
            mix: Mix { replays: self.replays, duplicates: self.duplicates, skew: self.skew },
            value_bytes: self.value_bytes.clone(),
            seed: self.seed,
            read_back: self.read_back,
            tell: !self.quiet,
        }
    }
}

/// Says why nothing was measured.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let _gone = writeln!(std::io::stderr(), "hapax-bench: {error:#}");
    ExitCode::from(2)
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number <= 1e9 => Ok(number),
        _ => Err("a number up to a thousand million".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    number(text).and_then(|number| if number > 0.0 { Ok(number) } else { Err("more than 0".to_owned()) })
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text).and_then(|number| if number >= 0.0 { Ok(number) } else { Err("0 or more".to_owned()) })
}

fn sizes(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) if from <= to && to <= hapax_core::limits::RESULT_BYTES => Ok(from..=to),
        _ => Err(format!("BYTES or FROM-TO, up to {}", hapax_core::limits::RESULT_BYTES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Command::command().debug_assert();
    }

    #[test]
    fn sizes_are_one_or_from_to() {
        assert_eq!(sizes("256"), Ok(256..=256));
        assert_eq!(sizes("0-4096"), Ok(0..=4096));
        for bad in ["", "x", "9-8", "1-999999999", "-1"] {
            assert!(sizes(bad).is_err(), "{bad}");
        }
        assert!(positive("0").is_err() && positive("inf").is_err() && not_negative("0").is_ok());
    }
}
