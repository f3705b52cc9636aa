//! Which node has which ports, directory and configuration.

use crate::config::{
    AnomalySection, ClusterSection, Config, Engine, HttpSection, LimitsSection, LogSection, NodeSection,
    PeerSection, StorageSection, TimingSection,
};
use anyhow::bail;
use hapax_core::PolicyTable;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many nodes: 1, 3, 5 or 7.
    pub nodes: u16,
    /// Where everything goes; absolute.
    pub dir: PathBuf,
    /// The port that the others are counted from; at most 65 500.
    pub base_port: u16,
    /// Data shards.
    pub shards: u32,
    /// The record store's engine.
    pub engine: Engine,
    /// Threads of each node: see [`Plan::share_of`].
    pub threads: u16,
}

/// The ports of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) client: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) http: SocketAddr,
}

impl Plan {
    /// Each node's share of a machine's cores, at least one: more threads would only wake one another.
    #[must_use]
    pub fn share_of(cores: usize, nodes: u16) -> u16 {
        u16::try_from(cores / usize::from(nodes.max(1))).unwrap_or(u16::MAX).clamp(1, 1024)
    }

    /// The nodes' numbers, from 1.
    pub(super) fn numbers(&self) -> std::ops::RangeInclusive<u16> {
        1..=self.nodes
    }

    pub(super) fn name(number: u16) -> String {
        format!("node-{number}")
    }

    /// The node's own directory.
    pub(super) fn node_dir(&self, number: u16) -> PathBuf {
        self.dir.join(Self::name(number))
    }

    pub(super) fn ports(&self, number: u16) -> Ports {
        let at = |offset: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, self.base_port + offset + number));
        Ports { client: at(0), peer: at(10), http: at(20) }
    }

    /// The node's configuration in this cluster.
    pub(super) fn config(&self, number: u16, cluster: &str) -> Config {
        let own = self.ports(number);
        let peer = |number: u16| PeerSection {
            name: Self::name(number),
            peer: self.ports(number).peer.to_string(),
            client: self.ports(number).client.to_string(),
            zone: String::new(),
        };
        Config {
            node: NodeSection {
                name: Self::name(number),
                data_dir: self.node_dir(number).join("data"),
                client_listen: own.client.to_string(),
                peer_listen: own.peer.to_string(),
                threads: Some(self.threads),
            },
            cluster: ClusterSection {
                id: cluster.to_owned(),
                shards: self.shards,
                replication: None,
                nodes: self.numbers().map(peer).collect(),
            },
            storage: StorageSection { engine: self.engine, ..StorageSection::default() },
            // All nodes stop at once here: the last ones find nobody to hand over to.
            timing: TimingSection { shutdown_ms: 2_000, ..TimingSection::default() },
            limits: LimitsSection::default(),
            http: HttpSection { listen: own.http.to_string(), ..HttpSection::default() },
            log: LogSection::default(),
            anomaly: AnomalySection::default(),
            policies: PolicyTable::default(),
        }
    }

    /// Whether every port is free, told by binding it.
    ///
    /// # Errors
    /// Names the ports that are not.
    pub(super) fn check_ports(&self) -> anyhow::Result<()> {
        let mut busy = Vec::new();
        for number in self.numbers() {
            let Ports { client, peer, http } = self.ports(number);
            for (what, address) in [("clients", client), ("peers", peer), ("HTTP", http)] {
                if let Err(error) = TcpListener::bind(address) {
                    busy.push(format!("port {} ({what} of {}): {error}", address.port(), Self::name(number)));
                }
            }
        }
        if !busy.is_empty() {
            bail!("{}; choose others with --base-port", busy.join("; "));
        }
        Ok(())
    }

    /// The nodes as `--cluster` takes them.
    pub(super) fn cluster_flag(&self) -> String {
        let clients: Vec<String> =
            self.numbers().map(|number| self.ports(number).client.port().to_string()).collect();
        format!("127.0.0.1:{}", clients.join(","))
    }

    /// What the user is told once the cluster serves.
    pub(super) fn welcome(&self) -> String {
        let cluster = match self.base_port {
            7400 if self.nodes == 3 => String::new(),
            _ => format!("  export HAPAX_CLUSTER={}\n", self.cluster_flag()),
        };
        let http = self.ports(1).http;
        format!(
            "ready: {} nodes, {} shards\n\ntry in another terminal:\n{cluster}  \
             hapax claim payments.charge order-991\n  \
             echo paid | hapax complete payments.charge order-991 --token TOKEN --result -\n  \
             hapax claim payments.charge order-991\n  \
             hapax run jobs.hello today -- echo hello\n  \
             hapax status\n  \
             curl -s http://{http}/metrics\n\n\
             (hapax is target/debug/hapax or target/release/hapax, or `cargo run --`)\nCtrl-C ends it; the data stays in {}",
            self.nodes,
            self.shards,
            self.dir.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(base_port: u16) -> Plan {
        let dir = PathBuf::from("/tmp/x");
        Plan { nodes: 3, dir, base_port, shards: 16, engine: Engine::Sled, threads: 2 }
    }

    #[test]
    fn a_node_gets_a_configuration_that_its_server_takes() {
        let config = plan(7400).config(2, "00112233445566778899aabbccddeeff");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config.to_toml()).unwrap();
        let layers = crate::config::Layers { file: Some(file.path().to_owned()), ..Default::default() };
        let loaded = crate::config::load(&layers).unwrap();
        assert_eq!(loaded.node.client_listen, "127.0.0.1:7402");
        assert_eq!(loaded.node.peer_listen, "127.0.0.1:7412");
        assert_eq!(loaded.http.listen, "127.0.0.1:7422");
        assert_eq!(loaded.cluster.nodes[2].peer, "127.0.0.1:7413");
        assert_eq!((loaded.replication(), loaded.storage.engine), (3, Engine::Sled));
        assert_eq!(loaded.node.threads, Some(2));
    }

    #[test]
    fn nodes_share_the_cores_and_each_has_one() {
        let shares = [(2, 3), (8, 3), (8, 1), (1, 7), (100_000, 1)];
        let expected = [1, 2, 8, 1, 1024];
        assert_eq!(shares.map(|(cores, nodes)| Plan::share_of(cores, nodes)), expected);
    }

    #[test]
    fn a_busy_port_is_named() {
        // Any free port, as the client port of the first node.
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let error = plan((port - 1).min(65_500)).check_ports();
        if port <= 65_500 {
            let text = error.unwrap_err().to_string();
            assert!(text.contains(&format!("port {port} (clients of node-1)")), "{text}");
        }
    }

    #[test]
    fn what_to_try_names_the_cluster_only_where_it_is_not_the_default() {
        assert!(!plan(7400).welcome().contains("HAPAX_CLUSTER"));
        assert!(plan(9400).welcome().contains("HAPAX_CLUSTER=127.0.0.1:9401,9402,9403"));
    }
}
