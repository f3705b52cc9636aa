//! An etcd cluster of this run's own: three nodes, defaults otherwise.

use super::process::{End, Process, find, free_ports};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

/// The program.
pub const PROGRAM: &str = "etcd";
/// How many nodes.
pub const NODES: usize = 3;

/// Starts one in a directory; tells the nodes' ports for clients too.
///
/// # Errors
/// When it is not installed or cannot be run.
pub fn start(dir: &Path) -> Result<Vec<(Process, u16)>> {
    let program = find(PROGRAM).context("etcd is not installed")?;
    let ports = free_ports(2 * NODES)?;
    let (clients, peers) = ports.split_at(NODES);
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let members: Vec<_> = peers.iter().enumerate().map(|(n, port)| format!("n{n}={}", url(*port))).collect();
    let mut nodes = Vec::new();
    for (n, (client, peer)) in clients.iter().zip(peers).enumerate() {
        let mut command = Command::new(&program);
        command.args(["--name", &format!("n{n}"), "--data-dir"]).arg(dir.join(format!("n{n}")));
        command.args(["--listen-client-urls", &url(*client), "--advertise-client-urls", &url(*client)]);
        command.args(["--listen-peer-urls", &url(*peer), "--initial-advertise-peer-urls", &url(*peer)]);
        command.args(["--initial-cluster", &members.join(","), "--initial-cluster-state", "new"]);
        command.args(["--initial-cluster-token", &format!("bench-{}", peers[0])]);
        command.args(["--logger", "zap", "--log-level", "warn"]);
        nodes.push((Process::start(command, &dir.join(format!("said-{n}")), End::Kill)?, *client));
    }
    Ok(nodes)
}
