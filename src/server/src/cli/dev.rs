//! `hapax dev`: a whole cluster on this machine.

use super::args::Globals;
use super::exit::Exit;
use super::render::Screen;
use crate::config::Engine;
use crate::dev::{self, Plan};
use clap::Args;
use std::path::PathBuf;

/// Start a whole cluster on this machine, for trying things out
///
/// Each node is a real process with a data directory of its own; one that dies is started again; all
/// end with this command.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Node i takes clients on port base+i, peers on base+10+i, HTTP (metrics, health) on base+20+i.

Examples:
  hapax dev
  hapax dev --nodes 5 --base-port 9400 --dir /tmp/five
  hapax dev --reset
      throws away what earlier runs have kept")]
pub(super) struct DevArgs {
    /// How many nodes: 1, 3, 5 or 7
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = nodes)]
    nodes: u16,
    /// Where data, configuration and logs go
    #[arg(long, value_name = "DIR", default_value = "hapax-dev")]
    dir: PathBuf,
    /// The port that the others are counted from
    #[arg(long, value_name = "PORT", default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1..=65_500))]
    base_port: u16,
    /// How many shards the keys are spread over; as many as nodes where absent
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1024))]
    shards: Option<u32>,
    /// The record store's engine: fjall or sled
    #[arg(long, value_name = "ENGINE", default_value = "fjall", value_parser = engine)]
    engine: Engine,
    /// Start empty: throw away what earlier runs have kept
    #[arg(long)]
    reset: bool,
}

impl DevArgs {
    /// Runs the cluster until the user ends it.
    pub(super) async fn run(&self, globals: &Globals, screen: Screen) -> anyhow::Result<Exit> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let plan = Plan {
            threads: Plan::share_of(cores, self.nodes),
            nodes: self.nodes,
            dir: std::path::absolute(&self.dir)?,
            base_port: self.base_port,
            shards: self.shards.unwrap_or_else(|| u32::from(self.nodes)),
            engine: self.engine,
        };
        let say = move |text: &str| {
            // A terminal that has gone away is no reason to end the cluster.
            let _gone = screen.err(&format!("{text}\n"));
        };
        dev::run(&plan, self.reset, globals.timeout, &say).await?;
        Ok(Exit::Ok)
    }
}

fn nodes(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(nodes @ (1 | 3 | 5 | 7)) => Ok(nodes),
        _ => Err("1, 3, 5 or 7".to_owned()),
    }
}

fn engine(text: &str) -> Result<Engine, String> {
    match text {
        "fjall" => Ok(Engine::Fjall),
        "sled" => Ok(Engine::Sled),
        _ => Err("fjall or sled".to_owned()),
    }
}
