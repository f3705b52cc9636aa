//! The three ports, bound before anything else.

use crate::config::Config;
use anyhow::Context as _;
use hapax_raft::env::net::TcpListener;

/// Every port of a node, bound.
pub struct Ports {
    /// For clients.
    pub client: TcpListener,
    /// For the other nodes.
    pub peer: TcpListener,
    /// For metrics and health.
    pub http: TcpListener,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addr = |listener: &TcpListener| listener.local_addr().ok();
        let (client, peer, http) = (addr(&self.client), addr(&self.peer), addr(&self.http));
        f.debug_struct("Ports").field("client", &client).field("peer", &peer).field("http", &http).finish()
    }
}

impl Ports {
    /// Binds all of them.
    ///
    /// # Errors
    /// Names the field of the port that cannot be bound.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            client: bind("node.client_listen", &config.node.client_listen).await?,
            peer: bind("node.peer_listen", &config.node.peer_listen).await?,
            http: bind("http.listen", &config.http.listen).await?,
        })
    }
}

async fn bind(field: &str, address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{field}: cannot listen on {address}"))
}
