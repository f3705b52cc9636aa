//! A NATS cluster of this run's own: three nodes with JetStream, defaults otherwise.

use super::process::{End, Process, find, free_ports};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

/// The program.
pub const PROGRAM: &str = "nats-server";
/// How many nodes.
pub const NODES: usize = 3;

/// Starts one in a directory; tells the nodes' ports for clients too.
///
/// # Errors
/// When it is not installed or cannot be run.
pub fn start(dir: &Path) -> Result<Vec<(Process, u16)>> {
    let program = find(PROGRAM).context("nats-server is not installed")?;
    let ports = free_ports(2 * NODES)?;
    let (clients, peers) = ports.split_at(NODES);
    let routes: Vec<_> = peers.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let mut nodes = Vec::new();
    for (n, (client, peer)) in clients.iter().zip(peers).enumerate() {
        let mut command = Command::new(&program);
        command.args(["--name", &format!("n{n}"), "--addr", "127.0.0.1", "--port", &client.to_string()]);
        command.args(["--jetstream", "--store_dir"]).arg(dir.join(format!("n{n}")));
        command.args(["--cluster_name", "bench", "--cluster", &format!("nats://127.0.0.1:{peer}")]);
        command.args(["--routes", &routes.join(",")]);
        nodes.push((Process::start(command, &dir.join(format!("said-{n}")), End::Kill)?, *client));
    }
    Ok(nodes)
}
