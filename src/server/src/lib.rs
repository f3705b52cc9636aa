//! The node and the `hapax` binary: configuration, command line, client port, metrics, placement,
//! and the cluster for trying things out.
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | the command line: one file a command, stable output and exit statuses |
//! | [`config`] | file, environment and flags as one checked configuration |
//! | [`server`] | one node from its start to its graceful end |
//! | [`listen`] | the client port |
//! | [`http`] | metrics and health over HTTP |
//! | [`metrics`] | what is counted |
//! | [`anomaly`] | when a share of operations is unlike its own history |
//! | [`placement`] | which nodes keep which shard |
//! | [`dev`] | a whole cluster on one machine |

pub mod anomaly;
pub mod cli;
pub mod config;
pub mod dev;
pub mod http;
pub mod listen;
pub mod metrics;
pub mod placement;
pub mod server;

use std::process::ExitCode;

/// The `hapax` program: does what the arguments of this process say.
#[must_use]
pub fn main() -> ExitCode {
    cli::run(std::env::args_os()).into()
}
