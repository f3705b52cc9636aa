//! Clients that behave badly, and too many of them. They work on keys of their own, and where what they are
//! told can be judged it is: a dead token that is accepted fails the run.

use super::Field;
use crate::raw::{Raw, call, hello};
use crate::rng::Rng;
use crate::wait::until;
use crate::workload::Targets;
use anyhow::{Result, bail, ensure};
use hapax_client::{
    Address, Ask, ClaimReply, ClaimRequest, Client, ClientConfig, CompleteReply, Error, Metadata, Nonce,
    Outcome, OutcomeClass, ReleaseReply, RenewReply, Replied, Token, address, fingerprint,
};
use hapax_core::request::{ClaimAsk, CompleteAsk, GetAsk, ReleaseAsk, RenewAsk};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Connections of one abusive client.
const CONNECTIONS: usize = 12;
/// A node closes who does not greet within 2 s; other faults may hold it up meanwhile.
const CLOSES_WITHIN: Duration = Duration::from_secs(20);
/// How long an answer may take while other faults go on.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// How many times its peak a cluster must be offered, and how many are tried.
const OVERLOAD_TIMES: f64 = 5.0;
const OVERLOAD_AIM: f64 = 8.0;
const OVERLOAD_TRIES: u32 = 3;
/// How long a burst may take to be sent to every node, by ways that other faults may have cut.
const BURST_WITHIN: Duration = Duration::from_secs(20);
/// Gets that a slow reader asks for, and the bytes of each answer.
const UNREAD: usize = 400;
const UNREAD_WITHIN: Duration = Duration::from_secs(10);
const SLOW_READERS: u32 = 6;
/// Claims of one holder, each after the last one was lost.
const CLAIMS: u32 = 5;
const RESULT_BYTES: usize = 60_000;

impl Field {
    /// Where a node itself listens: whoever is to show what the node does must not meet the proxy.
    fn client_addr(&self, node: usize) -> String {
        self.fleet.direct()[node].clone()
    }

    async fn client(&self) -> Result<Client> {
        Ok(Client::connect(ClientConfig::new(self.fleet.seeds())).await?)
    }

    /// Several times what the nodes can take, beside the load and recorded with it, straight to the nodes: what
    /// waits in the proxy is not offered. No process is taken away meanwhile; all else goes on.
    pub(super) async fn overload(&self, rng: &mut Rng) -> Result<String> {
        let mut seats = Vec::new();
        for seat in &self.fleet.seats {
            seats.push(seat.lock().await);
        }
        for node in 0..self.fleet.len() {
            self.back(node).await?;
        }
        // The machine may have had something else to do than to send.
        let mut last = String::new();
        for _ in 0..OVERLOAD_TRIES {
            match self.surge(rng).await {
                Ok(told) => return Ok(format!("{told}; {}", self.burst().await?)),
                Err(error) => last = format!("{error:#}"),
            }
        }
        bail!("{last}")
    }

    /// On a slow machine all that a surge brings may be late before it is over any bound; frames with more calls for a
    /// shard than its queue takes never are.
    async fn burst(&self) -> Result<String> {
        let burst = self.load.overload(0, BURST_WITHIN).await;
        ensure!(
            burst.overloaded > 0,
            "of a burst over the bound of queues nothing was refused as overloaded: {burst:?}"
        );
        Ok(format!("of a burst, {} of {} refused as overloaded", burst.overloaded, burst.answered))
    }

    async fn surge(&self, rng: &mut Rng) -> Result<String> {
        let (known, span) = (*self.peak.lock(), rng.span(1500, 2500));
        let targets = Targets { nodes: self.fleet.direct(), shards: self.shards };
        let surge = self.load.surge(&targets, known * OVERLOAD_AIM, span).await;
        let (offered, goodput) = (surge.offered_rate(), surge.goodput());
        // A cluster that acknowledged more than ever before has shown that its peak was not known.
        let peak = known.max(goodput);
        *self.peak.lock() = peak;
        let times = offered / peak;
        let told = format!(
            "{offered:.0} calls a second offered for {:.1} s, {times:.1} times the peak of {peak:.0}; {} refused as \
             overloaded, {} as late; {goodput:.0} a second acknowledged meanwhile",
            surge.lasted.as_secs_f64(),
            surge.overloaded,
            surge.late,
        );
        ensure!(times >= OVERLOAD_TIMES, "{told}: not enough");
        ensure!(surge.overloaded + surge.late > 0, "{told}: nothing was refused");
        ensure!(surge.acknowledged > 0, "{told}: nothing was acknowledged");
        Ok(told)
    }

    pub(super) async fn half_frames(&self, rng: &mut Rng) -> Result<String> {
        let node = self.running(rng).await?;
        let mut closed = 0;
        let mut halves = Vec::new();
        for n in 0..CONNECTIONS {
            let Ok(mut raw) = Raw::connect(&self.client_addr(node)).await else { continue };
            let greeting = hello()?;
            let cut = 1 + rng.index(greeting.len() - 1);
            if raw.send(&greeting[..cut]).await.is_ok() {
                halves.push((n, raw));
            }
        }
        ensure!(!halves.is_empty(), "no connection was made");
        for (_, raw) in &mut halves {
            raw.closed(CLOSES_WITHIN).await?;
            closed += 1;
        }
        Ok(format!("{closed} half greetings to node {}, every connection was closed by the node", node + 1))
    }

    pub(super) async fn garbage(&self, rng: &mut Rng) -> Result<String> {
        let node = self.running(rng).await?;
        let peer = self.fleet.direct_peer(node);
        let mut closed = 0;
        for n in 0..CONNECTIONS {
            let to = if n % 2 == 0 { self.client_addr(node) } else { peer.clone() };
            let Ok(mut raw) = Raw::connect(&to).await else { continue };
            let bytes: Vec<u8> =
                (0..64 + rng.index(4000)).map(|_| u8::try_from(rng.below(256)).unwrap_or(0)).collect();
            // A node that closes at once is as it should be.
            let _closed_already = raw.send(&bytes).await;
            raw.closed(CLOSES_WITHIN).await?;
            closed += 1;
        }
        ensure!(closed > 0, "no connection was made");
        Ok(format!("{closed} connections with garbage to node {} were closed by it", node + 1))
    }

    pub(super) async fn slow_reader(&self, rng: &mut Rng) -> Result<String> {
        let (client, run) = (self.client().await?, rng.draw());
        let large = key(run, 0)?;
        let granted = claim_until_granted(&client, &large).await?;
        complete(&client, &large, granted, vec![7; RESULT_BYTES]).await?;
        // A node may be taken away by another fault before it answers.
        let mut last = String::new();
        for _ in 0..SLOW_READERS {
            match self.leave_unread(&large, rng).await {
                Ok(proof) => return Ok(proof),
                Err(error) => last = format!("{error:#}"),
            }
        }
        bail!("{last}")
    }

    async fn leave_unread(&self, large: &Address, rng: &mut Rng) -> Result<String> {
        let node = self.running(rng).await?;
        let (mut raw, _) = Raw::greeted(&self.client_addr(node)).await?;
        let get = GetAsk { address: large.clone(), fingerprint: Some(print()), wait_ms: 0, stale: false };
        let mut sent = 0;
        for id in 1..=UNREAD {
            if raw.send(&call(id as u64, 10_000, Ask::Get(get.clone()))?).await.is_err() {
                break;
            }
            sent += 1;
        }
        sleep(rng.span(1000, 3000)).await;
        let unread = until("answers that are not read", UNREAD_WITHIN, async || match raw.unread() {
            Ok(bytes) if bytes > RESULT_BYTES as u64 => Ok(bytes),
            Ok(bytes) => Err(format!("{bytes} bytes came")),
            Err(error) => Err(error.to_string()),
        });
        let unread = unread.await?;
        Ok(format!(
            "{sent} answers asked of node {}, of which {unread} bytes came and stood unread",
            node + 1
        ))
    }

    pub(super) async fn abandon(&self, rng: &mut Rng) -> Result<String> {
        let (run, mut sent) = (rng.draw(), 0);
        for n in 0..CONNECTIONS as u64 * 4 {
            let node = rng.index(self.fleet.len());
            let Ok((mut raw, _)) = Raw::greeted(&self.client_addr(node)).await else { continue };
            let mut nonce = [1; 16];
            nonce[..8].copy_from_slice(&rng.draw().to_le_bytes());
            let ask = Ask::Claim(ClaimAsk {
                address: key(run, n)?,
                fingerprint: Some(print()),
                fields: Vec::new().try_into()?,
                nonce: Nonce::try_from(nonce)?,
                lease_ms: Some(1000),
                wait_ms: 0,
                first_sent: None,
                label: None,
                trace: None,
                value: None,
            });
            sent += u64::from(raw.send(&call(1, 5000, ask)?).await.is_ok());
        }
        ensure!(sent > 0, "nothing was sent");
        Ok(format!("{sent} claims sent, and the connections closed before their answers"))
    }

    /// Holders that come back after somebody else has the key, with their old tokens.
    pub(super) async fn old_tokens(&self, rng: &mut Rng) -> Result<String> {
        let (client, run) = (self.client().await?, rng.draw());
        let mut fenced = 0;
        for n in 0..8 {
            let address = key(run, n)?;
            let old = claim_until_granted(&client, &address).await?;
            let released =
                persist(|| client.release(ReleaseAsk { address: address.clone(), token: old, reason: None }))
                    .await?;
            ensure!(matches!(released, ReleaseReply::Released), "a release: {released:?}");
            let new = claim_until_granted(&client, &address).await?;
            ensure!(new > old, "token {new} after {old}");
            let renewed = persist(|| {
                client.renew(RenewAsk {
                    address: address.clone(),
                    token: old,
                    seq: 9,
                    lease_ms: None,
                    checkpoint: None,
                    mark: true,
                })
            });
            let renewed = renewed.await?;
            ensure!(matches!(renewed, RenewReply::Fenced), "a dead token was renewed: {renewed:?}");
            let late = persist(|| client.complete(outcome(&address, old, b"late".to_vec())));
            let late = late.await?;
            ensure!(matches!(late, CompleteReply::Fenced), "a dead token completed: {late:?}");
            complete(&client, &address, new, b"new".to_vec()).await?;
            let late = persist(|| client.complete(outcome(&address, old, b"late".to_vec()))).await?;
            ensure!(matches!(late, CompleteReply::Fenced), "a dead token completed: {late:?}");
            fenced += 3;
        }
        Ok(format!("{fenced} verbs with dead tokens, all fenced"))
    }
}

fn key(run: u64, n: u64) -> Result<Address> {
    Ok(address("abuse", "abuse.any", format!("{run:x}-{n}"))?)
}

fn print() -> hapax_client::Fingerprint {
    fingerprint::bytes(b"abuse")
}

fn outcome(address: &Address, token: hapax_client::Token, result: Vec<u8>) -> CompleteAsk {
    let outcome =
        Outcome { class: OutcomeClass::Success, result: result.into(), metadata: Metadata::default() };
    CompleteAsk { address: address.clone(), token, outcome, retention_ms: None }
}

/// Calls until there is an answer that is no error; the faults beside it pass.
async fn persist<T, F: Future<Output = Result<Replied<T>, Error>>>(call: impl Fn() -> F) -> Result<T> {
    let deadline = Instant::now() + ANSWERED_WITHIN;
    loop {
        match call().await {
            Ok(replied) => return Ok(replied.reply),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn claim_until_granted(client: &Client, address: &Address) -> Result<Token> {
    for _ in 0..CLAIMS {
        let nonce = client.env().nonce()?;
        let claim = ClaimRequest::new(address.clone()).fingerprint(print()).nonce(nonce);
        match persist(|| client.claim(claim.clone())).await? {
            ClaimReply::Granted(granted) => return Ok(granted.token),
            // Its own grant was lost on the way, and lapsed before it was asked again.
            ClaimReply::Ended(_) => {}
            other => bail!("a claim of a key that nobody has was answered with {other:?}"),
        }
    }
    bail!("{CLAIMS} claims were granted, and lapsed before anybody heard of it")
}

async fn complete(client: &Client, address: &Address, token: Token, result: Vec<u8>) -> Result<()> {
    match persist(|| client.complete(outcome(address, token, result.clone()))).await? {
        CompleteReply::Completed(_) | CompleteReply::AlreadyCompleted => Ok(()),
        other => anyhow::bail!("a complete by the holder was answered with {other:?}"),
    }
}
