//! `hapax server`: one node.

use super::exit::Exit;
use super::render::Screen;
use crate::config::{self, Config, ConfigError, Flag, Layers};
use crate::server::World;
use clap::Args;
use std::path::PathBuf;

/// Run one node of a cluster
///
/// Every field of the configuration may come from the file, from the environment (node.data_dir is
/// HAPAX_NODE_DATA_DIR) or from a flag; the later one wins.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  hapax server --config /etc/hapax/node-1.toml
  hapax server --config node.toml --set timing.heartbeat_ms=50 --dump-config
      prints what would be used, as a file that can be fed back
  hapax server --config node.toml --check-config

SIGTERM and SIGINT stop the node gracefully: its leaderships are handed over first.")]
pub(super) struct ServerArgs {
    /// The configuration file, TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a field: cluster.shards=32; may be given more than once
    #[arg(long, value_name = "FIELD=VALUE", value_parser = setting)]
    set: Vec<Flag>,
    /// This node's name [node.name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where its data is kept [node.data_dir]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where clients are accepted [node.client_listen]
    #[arg(long, value_name = "IP:PORT")]
    client_listen: Option<String>,
    /// Where the other nodes are accepted [node.peer_listen]
    #[arg(long, value_name = "IP:PORT")]
    peer_listen: Option<String>,
    /// Where metrics and health are served [http.listen]
    #[arg(long, value_name = "IP:PORT")]
    http_listen: Option<String>,
    /// human or json [log.format]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug, trace, or directives [log.level]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Print the configuration that would be used, and end
    #[arg(long)]
    dump_config: bool,
    /// Check the configuration, and end
    #[arg(long, conflicts_with = "dump_config")]
    check_config: bool,
    /// Stop when standard input ends: whoever holds the other end of the pipe is gone
    #[arg(long, hide = true)]
    end_with_stdin: bool,
}

impl ServerArgs {
    /// Runs the node until it is told to stop; blocks.
    pub(super) fn run(&self, screen: Screen, world: impl FnOnce() -> World) -> anyhow::Result<Exit> {
        let config = match config::load(&self.layers()) {
            Ok(config) => config,
            Err(error) => return refuse(screen, &error),
        };
        if self.check_config {
            screen.out(b"the configuration is valid\n")?;
            return Ok(Exit::Ok);
        }
        if self.dump_config {
            screen.out(config.to_toml().as_bytes())?;
            return Ok(Exit::Ok);
        }
        crate::server::run(config, world(), self.end_with_stdin)?;
        Ok(Exit::Ok)
    }

    fn layers(&self) -> Layers {
        let named = [
            ("--name", "node.name", &self.name),
            ("--data-dir", "node.data_dir", &self.data_dir),
            ("--client-listen", "node.client_listen", &self.client_listen),
            ("--peer-listen", "node.peer_listen", &self.peer_listen),
            ("--http-listen", "http.listen", &self.http_listen),
            ("--log-format", "log.format", &self.log_format),
            ("--log-level", "log.level", &self.log_level),
        ];
        let named = named.into_iter().filter_map(|(name, path, value)| {
            Some(Flag { name: name.to_owned(), path: path.to_owned(), value: value.clone()? })
        });
        Layers {
            file: self.config.clone(),
            // A variable that is not UTF-8 cannot set a field, and must not stop a node.
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .filter(|(name, _)| name.starts_with("HAPAX_"))
                .collect(),
            flags: self.set.iter().cloned().chain(named).collect(),
        }
    }
}

fn refuse(screen: Screen, error: &ConfigError) -> anyhow::Result<Exit> {
    screen.err(&format!("configuration error\n{error}\n"))?;
    Ok(Exit::Usage)
}

fn setting(text: &str) -> Result<Flag, String> {
    let (path, value) = text.split_once('=').ok_or("not FIELD=VALUE")?;
    Ok(Flag { name: format!("--set {path}"), path: path.to_owned(), value: value.to_owned() })
}

impl Config {
    /// Variables that begin like this product's and set nothing: a spelling mistake, or somebody
    /// else's.
    #[must_use]
    pub fn unknown_variables() -> Vec<String> {
        const OF_COMMANDS: [&str; 2] = ["HAPAX_CLUSTER", "HAPAX_TENANT"];
        let known = Self::variables();
        let mut unknown: Vec<String> = std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| name.starts_with("HAPAX_"))
            .filter(|name| !known.contains(name) && !OF_COMMANDS.contains(&name.as_str()))
            .collect();
        unknown.sort();
        unknown
    }
}
