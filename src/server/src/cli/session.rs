//! A connection to the cluster for one command.

use super::args::Globals;
use super::render::Shown;
use hapax_client::{Client, ClientConfig};
use hapax_core::{Answer, Ask, Nonce, Request};

/// A client with the command's options.
pub(super) struct Session {
    client: Client,
}

impl Session {
    /// Connects to any of the nodes.
    pub(super) async fn open(globals: &Globals) -> Result<Self, hapax_client::Error> {
        let mut config = ClientConfig::new(globals.cluster.0.clone());
        "hapax command line".clone_into(&mut config.name);
        config.timeout = globals.timeout;
        config.attempt_timeout = config.attempt_timeout.min(globals.timeout);
        Ok(Self { client: Client::connect(config).await? })
    }

    /// Sends a request; an error reply is an error.
    pub(super) async fn call(&self, ask: Ask) -> Result<Answer, hapax_client::Error> {
        self.client.call(Request { not_after: None, ask }).await
    }

    /// A nonce for a new logical call.
    pub(super) fn nonce(&self) -> Result<Nonce, hapax_client::Error> {
        self.client.env().nonce()
    }

    /// Milliseconds since 1970.
    pub(super) fn wall_ms(&self) -> u64 {
        self.client.env().wall_ms()
    }

    /// Data shards of the cluster.
    pub(super) fn shards(&self) -> u32 {
        u32::try_from(self.client.table().shards.len()).unwrap_or(u32::MAX)
    }

    /// The client itself.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

/// A client's error as it is shown.
pub(super) fn shown(error: &hapax_client::Error) -> Shown<'_> {
    Shown { code: error.code(), definite: error.is_definite(), text: error.text(), field: error.field() }
}
