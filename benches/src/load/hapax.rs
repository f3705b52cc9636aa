//! Hapax as a store under load, through its own client.

use super::store::{Claimed, Failure, Store};
use bytes::Bytes;
use hapax_client::{ClaimReply, ClaimRequest, Client, ClientConfig, CompleteReply, Error, fingerprint};
use hapax_core::request::CompleteAsk;
use hapax_core::{Address, Blob, Metadata, Nonce, Outcome, OutcomeClass, Token};
use std::time::Duration;

/// Under which tenant and operation all keys are.
const TENANT: &str = "bench/load";
const OPERATION: &str = "payments.charge";

/// A cluster.
#[derive(Clone)]
pub struct Hapax {
    client: Client,
}

impl Hapax {
    /// Connects to any of the nodes: `host:port,…`.
    ///
    /// # Errors
    /// When none answers.
    pub async fn connect(nodes: &str, timeout: Duration) -> Result<Self, Error> {
        let mut config = ClientConfig::from_list(nodes);
        "hapax-bench".clone_into(&mut config.name);
        config.timeout = timeout;
        Ok(Self { client: Client::connect(config).await? })
    }

    /// How many shards it has.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.client.table().shards.len()
    }

    /// On which of them a key is.
    ///
    /// # Errors
    /// When it cannot be a key.
    pub fn shard_of(&self, key: &str) -> Result<usize, Failure> {
        let shards = u32::try_from(self.shards()).unwrap_or(u32::MAX);
        Ok(address(key)?.shard(shards) as usize)
    }
}

fn address(key: &str) -> Result<Address, Failure> {
    hapax_client::address(TENANT, OPERATION, key)
        .map_err(|invalid| Failure { code: "invalid".to_owned(), text: invalid.to_string() })
}

fn failure(error: &Error) -> Failure {
    let doubt = if error.is_definite() { "" } else { " (indefinite)" };
    Failure { code: format!("{}{doubt}", error.code().name()), text: error.to_string() }
}

impl Store for Hapax {
    type Token = Token;

    async fn claim(&self, key: &str, caller: [u8; 16]) -> Result<Claimed<Token>, Failure> {
        let request = ClaimRequest::new(address(key)?).fingerprint(fingerprint::bytes(key.as_bytes()));
        let request = match Nonce::try_from(caller) {
            Ok(nonce) => request.nonce(nonce),
            Err(invalid) => {
                return Err(Failure { code: "invalid".to_owned(), text: invalid.to_string() });
            }
        };
        Ok(match self.client.claim(request).await.map_err(|error| failure(&error))?.reply {
            ClaimReply::Granted(granted) => Claimed::Granted(granted.token),
            ClaimReply::InFlight(_) => Claimed::Running,
            ClaimReply::Replayed(replayed) => {
                Claimed::Done(Bytes::copy_from_slice(replayed.result.as_slice()))
            }
            other => Claimed::Other(format!("{other:?}")),
        })
    }

    async fn complete(&self, key: &str, token: Token, result: Bytes) -> Result<bool, Failure> {
        let outcome = Outcome {
            class: OutcomeClass::Success,
            result: Blob::from(result),
            metadata: Metadata::default(),
        };
        let ask = CompleteAsk { address: address(key)?, token, outcome, retention_ms: None };
        let reply = self.client.complete(ask).await.map_err(|error| failure(&error))?.reply;
        // A copy of a lost reply's request finds what the first one kept.
        Ok(matches!(reply, CompleteReply::Completed(_) | CompleteReply::AlreadyCompleted))
    }
}
