//! What a test cluster is made of, and each node's configuration as a person would write it.

use std::fmt::Write as _;
use std::path::Path;

/// A cluster to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Nodes: 1, 3, 5 or 7.
    pub nodes: usize,
    /// Data shards.
    pub shards: u32,
    /// Failure domains, one a node; none where empty.
    pub zones: Vec<&'static str>,
    /// `fjall` or `sled`.
    pub engine: &'static str,
    /// More configuration for every node, TOML.
    pub extra: String,
    /// Where each node listens; this machine's loopback where empty.
    pub hosts: Vec<String>,
    /// Environment of every node, beside what it inherits.
    pub environment: Vec<(&'static str, String)>,
}

impl Spec {
    /// So many nodes with 16 shards, the default engine, and nothing special.
    #[must_use]
    pub fn nodes(nodes: usize) -> Self {
        let (zones, hosts, environment) = (Vec::new(), Vec::new(), Vec::new());
        Self { nodes, shards: 16, zones, engine: "fjall", extra: String::new(), hosts, environment }
    }

    /// With so many shards.
    #[must_use]
    pub fn shards(self, shards: u32) -> Self {
        Self { shards, ..self }
    }

    /// With a failure domain for each node.
    #[must_use]
    pub fn zones(self, zones: &[&'static str]) -> Self {
        Self { zones: zones.to_vec(), ..self }
    }

    /// With an address for each node.
    #[must_use]
    pub fn hosts(self, hosts: Vec<String>) -> Self {
        Self { hosts, ..self }
    }

    /// Where node `i` listens.
    #[must_use]
    pub fn host(&self, i: usize) -> &str {
        self.hosts.get(i).map_or("127.0.0.1", String::as_str)
    }

    /// With an environment variable for every node.
    #[must_use]
    pub fn environment(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// With more configuration for every node.
    #[must_use]
    pub fn extra(self, toml: &str) -> Self {
        Self { extra: format!("{}{toml}\n", self.extra), ..self }
    }

    /// Node `i` (from 0) with its data under `data_dir` and ports counted from `base`.
    #[must_use]
    pub fn config(&self, i: usize, cluster: &str, base: u16, data_dir: &Path) -> String {
        let addr = |kind: usize, i: usize| format!("{}:{}", self.host(i), usize::from(base) + kind + i + 1);
        let mut text = format!(
            "[node]\nname = \"{}\"\ndata_dir = \"{}\"\nclient_listen = \"{}\"\n\
             peer_listen = \"{}\"\n\n[http]\nlisten = \"{}\"\n\n\
             [cluster]\nid = \"{cluster}\"\nshards = {}\n",
            name(i),
            data_dir.display(),
            addr(0, i),
            addr(10, i),
            addr(20, i),
            self.shards,
        );
        for peer in 0..self.nodes {
            let zone = self.zones.get(peer).copied().unwrap_or_default();
            let (peer_addr, client_addr) = (addr(10, peer), addr(0, peer));
            let name = name(peer);
            // Writing to a string cannot fail.
            let _infallible = write!(
                text,
                "\n[[cluster.nodes]]\nname = \"{name}\"\npeer = \"{peer_addr}\"\n\
                 client = \"{client_addr}\"\nzone = \"{zone}\"\n"
            );
        }
        let _infallible = write!(text, "\n[storage]\nengine = \"{}\"\n", self.engine);
        text.push_str(&self.extra);
        text
    }
}

/// Node `i`'s name, from 0.
#[must_use]
pub fn name(i: usize) -> String {
    format!("node-{}", i + 1)
}
