//! The links to all peers of a node.

use crate::config::{NodeConfig, PeerConfig};
use crate::ids::NodeId;
use crate::peer::connection::Introduction;
use crate::peer::link::PeerLink;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// One link a peer; this node itself has none.
pub struct Links {
    links: HashMap<NodeId, Arc<PeerLink>>,
    addrs: HashMap<NodeId, PeerConfig>,
    me: Introduction,
}

impl Links {
    /// Links to every node of `members` but this one; addresses come from the configuration by name.
    #[must_use]
    pub fn new(config: &NodeConfig, members: &[(NodeId, String)]) -> Arc<Self> {
        let me = Introduction { cluster: config.cluster, node: config.node, name: config.name.clone() };
        let mut links = HashMap::new();
        let mut addrs = HashMap::new();
        for (node, name) in members {
            let Some(peer) = config.peers.iter().find(|peer| peer.name == *name) else { continue };
            addrs.insert(*node, peer.clone());
            if *node != config.node {
                let (link, keeper) = PeerLink::new(
                    *node,
                    peer.peer_addr.clone(),
                    me.clone(),
                    config.limits.peer_queue_bytes,
                    Duration::from_millis(config.timing.connect_ms),
                );
                tokio::spawn(keeper);
                links.insert(*node, link);
            }
        }
        Arc::new(Self { links, addrs, me })
    }

    /// The link to a node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&Arc<PeerLink>> {
        self.links.get(&node)
    }

    /// All links.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PeerLink>> {
        self.links.values()
    }

    /// What the configuration says of a node.
    #[must_use]
    pub fn config_of(&self, node: NodeId) -> Option<&PeerConfig> {
        self.addrs.get(&node)
    }

    /// How this node introduces itself.
    #[must_use]
    pub fn me(&self) -> &Introduction {
        &self.me
    }
}
