//! Callers at once on one client: each claims and completes, one call after the other.

use super::node::{Node, Respond};
use crate::micro::commands::{address, fingerprint, nonce, outcome};
use anyhow::{Result, ensure};
use hapax_client::{ClaimReply, ClaimRequest, Client, ClientConfig, CompleteReply};
use hapax_core::reply::{CompletedReply, Granted};
use hapax_core::request::CompleteAsk;
use hapax_core::{Address, Ask, LogTime, Reply, Token};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Calls that one caller makes in a round: a claim and its completion.
pub const CALLS: u64 = 2;

const LEASE_MS: u64 = 30_000;

/// A client with its callers on this thread, and the node on another.
pub struct Callers {
    // Dropped in this order.
    client: Client,
    runtime: Runtime,
    node: Node,
    addresses: Vec<Address>,
    calls: u64,
}

impl Callers {
    /// So many callers, against a node that grants every claim and keeps every result.
    ///
    /// # Errors
    /// The node does not start, or does not let the client in.
    pub fn open(callers: u64) -> Result<Self> {
        Self::open_with(callers, respond)
    }

    fn open_with(callers: u64, respond: Respond) -> Result<Self> {
        let node = Node::start(respond)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(Client::connect(ClientConfig::new([node.addr()])))?;
        Ok(Self { client, runtime, node, addresses: (0..callers).map(address).collect(), calls: 0 })
    }

    /// Lets every caller make so many rounds, all of them at once, and says how long that took.
    ///
    /// # Errors
    /// A call failed, or got an answer that is not its own.
    pub fn run(&mut self, rounds: u64) -> Result<Duration> {
        let first = self.calls;
        self.calls += rounds * self.addresses.len() as u64;
        self.runtime.block_on(async {
            let begun = Instant::now();
            let mut callers = JoinSet::new();
            for (address, number) in self.addresses.iter().zip(0..) {
                let first = first + number * rounds;
                callers.spawn(call(self.client.clone(), address.clone(), first + 1..=first + rounds));
            }
            while let Some(ended) = callers.join_next().await {
                ended??;
            }
            Ok(begun.elapsed())
        })
    }

    /// Ends the client and the node.
    ///
    /// # Errors
    /// The node could not read something, or a call was made more than once.
    pub fn finish(self) -> Result<()> {
        let Self { client, runtime, node, calls, .. } = self;
        let counters = client.counters();
        ensure!(counters.calls == calls * CALLS && counters.retries == 0, "{calls} rounds with {counters:?}");
        drop((client, runtime));
        node.stop()
    }
}

/// One caller. Each round has a number, by which the answers are told apart.
async fn call(client: Client, address: Address, rounds: impl Iterator<Item = u64>) -> Result<()> {
    for round in rounds {
        let claim = ClaimRequest::new(address.clone()).fingerprint(fingerprint()).nonce(nonce(round));
        let token = match client.claim(claim).await?.reply {
            ClaimReply::Granted(granted) => granted.token,
            other => anyhow::bail!("round {round} was not granted: {other:?}"),
        };
        ensure!(Some(token) == token_of(round), "round {round} was granted {token}");
        let complete =
            CompleteAsk { address: address.clone(), token, outcome: outcome(), retention_ms: None };
        let kept = client.complete(complete).await?.reply;
        ensure!(kept == CompleteReply::Completed(completed(token)), "round {round} was answered {kept:?}");
    }
    Ok(())
}

/// The token of the claim that has a round's number in its nonce.
fn token_of(round: u64) -> Option<Token> {
    Token::of_grant(0, round, 0)
}

/// What the completion under a token is answered, and no other.
fn completed(token: Token) -> CompletedReply {
    CompletedReply { late: false, expires_at: LogTime(token.as_u64()) }
}

fn respond(ask: &Ask) -> Reply {
    match ask {
        Ask::Claim(claim) => Reply::Granted(Granted {
            token: claim
                .nonce
                .as_bytes()
                .first_chunk()
                .and_then(|round| token_of(u64::from_le_bytes(*round)))
                .unwrap_or_default(),
            attempt: 1,
            lease_ms: LEASE_MS,
            lease_left_ms: LEASE_MS,
            checkpoint: None,
            takeover: false,
            prior_mark: false,
            recovered: false,
            shadow_of: None,
        }),
        Ask::Complete(complete) => Reply::Completed(completed(complete.token)),
        _ => Reply::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_gets_its_own_answers() {
        let mut callers = Callers::open(20).unwrap();
        callers.run(1).unwrap();
        callers.run(30).unwrap();
        callers.finish().unwrap();
    }

    #[test]
    fn an_answer_of_another_call_is_an_error() {
        let stale = |ask: &Ask| match ask {
            Ask::Claim(_) => respond(ask),
            _ => Reply::Completed(completed(Token::NONE)),
        };
        assert!(Callers::open_with(2, stale).unwrap().run(1).is_err());
        let same = |ask: &Ask| match respond(ask) {
            Reply::Granted(granted) => Reply::Granted(Granted { token: Token::from(7 << 12), ..granted }),
            other => other,
        };
        assert!(Callers::open_with(2, same).unwrap().run(1).is_err());
    }
}
