//! Many workers that ask for the same keys at the same time and do not give up.
//!
//! Each key is taken by `copies` workers one right after the other, so that they ask together. A
//! worker keeps its nonce for as long as it cannot know what became of its call; after a
//! **definite** error it takes a new one. So an error that was called definite and had an effect
//! after all leaves a claim that nobody holds, and the load does not end.

use crate::cluster::TestCluster;
use crate::ledger::Ledger;
use anyhow::{Context as _, Result, bail};
use hapax_client::{
    ClaimReply, ClaimRequest, Client, ClientConfig, CompleteReply, Error, ErrorCode, Metadata, Nonce,
    Outcome, OutcomeClass, Token,
};
use hapax_core::request::CompleteAsk;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Longer than any of these tests: a claim never lapses here.
const LEASE: Duration = Duration::from_secs(1800);
/// How long a patient worker waits for another's result before it asks again, and an impatient one.
const WAITS: [Duration; 2] = [Duration::from_secs(20), Duration::from_millis(100)];
/// How long a call of an impatient worker may take, retries included: less than an election.
const IMPATIENCE: Duration = Duration::from_millis(400);
/// Clients that the workers share, one half of them impatient.
const CLIENTS: usize = 8;
/// The pause after an error.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls that may still be taken after a load was ended early; more than there are workers.
const LEEWAY: u32 = 1000;

/// A load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Keys, numbered from 0.
    pub keys: u32,
    /// Callers for each key.
    pub copies: u32,
    /// Workers.
    pub workers: u32,
    /// How long it may take in all.
    pub within: Duration,
}

/// A client, and how long it waits for another's result.
#[derive(Clone, Debug)]
pub struct Caller {
    client: Client,
    wait: Duration,
}

impl Caller {
    /// Clients of a cluster. One half has time for every retry; the other gives up during an election,
    /// so that errors, definite and not, reach the workers.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn of(cluster: &TestCluster) -> Result<Vec<Self>> {
        let mut callers = Vec::new();
        for n in 0..CLIENTS {
            let client = Client::connect(ClientConfig::from_list(&cluster.seeds())).await?;
            let client = if n % 2 == 0 { client } else { client.within(IMPATIENCE) };
            callers.push(Self { client, wait: WAITS[n % 2] });
        }
        Ok(callers)
    }
}

/// How far a load has come.
#[derive(Debug)]
pub struct Progress {
    taken: AtomicU32,
    /// Rounded up to whole keys: where the load ends early.
    over: AtomicU32,
    done: AtomicU32,
    errors: AtomicU32,
    /// Read by each call while it runs.
    gate: RwLock<()>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            taken: AtomicU32::new(0),
            over: AtomicU32::new(u32::MAX),
            done: AtomicU32::new(0),
            errors: AtomicU32::new(0),
            gate: RwLock::default(),
        }
    }
}

impl Progress {
    /// Ends the load early: keys that were begun are finished, by all their callers.
    pub fn no_more(&self, copies: u32) {
        let taken = self.taken.load(Ordering::Acquire);
        // Somebody may take a call meanwhile; a whole key more is room for all workers' next ones.
        let over = (taken + LEEWAY).div_ceil(copies) * copies;
        self.over.store(over, Ordering::Release);
    }

    /// Waits until every call that was begun has ended; the next ones begin when this is dropped.
    pub async fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// Calls that ended with a result.
    #[must_use]
    pub fn done(&self) -> u32 {
        self.done.load(Ordering::Acquire)
    }

    /// Errors that the client handed to a worker, after its own retries.
    #[must_use]
    pub fn errors(&self) -> u32 {
        self.errors.load(Ordering::Acquire)
    }
}

impl Load {
    /// Calls in all.
    #[must_use]
    pub fn calls(&self) -> u32 {
        self.keys * self.copies
    }

    /// Runs to the end; the workers are spread over the callers.
    ///
    /// # Errors
    /// When it does not end in time, or a worker fails; breaches of the contract are in the ledger.
    pub async fn run(self, callers: Vec<Caller>, ledger: Arc<Ledger>, progress: Arc<Progress>) -> Result<()> {
        let deadline = Instant::now() + self.within;
        let mut workers = JoinSet::new();
        for (_, caller) in (0..self.workers).zip(callers.iter().cycle()) {
            workers.spawn(work(self, caller.clone(), Arc::clone(&ledger), Arc::clone(&progress)));
        }
        while let Some(ended) = timeout_at(deadline, workers.join_next()).await.with_context(|| {
            format!("the load did not end: {} of {} calls are done", progress.done(), self.calls())
        })? {
            ended??;
        }
        Ok(())
    }
}

async fn work(load: Load, caller: Caller, ledger: Arc<Ledger>, progress: Arc<Progress>) -> Result<()> {
    loop {
        let _runs = progress.gate.read().await;
        let call = progress.taken.fetch_add(1, Ordering::AcqRel);
        if call >= load.calls().min(progress.over.load(Ordering::Acquire)) {
            return Ok(());
        }
        once(call / load.copies, &caller, &ledger, &progress).await?;
        progress.done.fetch_add(1, Ordering::AcqRel);
    }
}

/// One logical call, until its key's result is known.
async fn once(key: u32, caller: &Caller, ledger: &Ledger, progress: &Progress) -> Result<()> {
    let client = &caller.client;
    let mut nonce = client.env().nonce()?;
    // Whether an earlier call under this nonce may have had its effect.
    let mut in_doubt = false;
    loop {
        match claim(key, nonce, caller, ledger).await? {
            Ok(ClaimReply::Granted(granted)) => {
                let result = result_of(key, granted.token);
                ledger.granted(key, granted.token.as_u64(), &result);
                return complete(key, granted.token, result, client, ledger, progress).await;
            }
            Ok(ClaimReply::Replayed(replayed)) => {
                ledger.replayed(key, replayed.result.as_slice());
                return Ok(());
            }
            Ok(ClaimReply::InFlight(_)) => {}
            Ok(other) => {
                ledger.breach(format!("key {key}: a claim was answered with {other:?}"));
                return Ok(());
            }
            Err(error) => {
                passing(&error)?;
                progress.errors.fetch_add(1, Ordering::AcqRel);
                in_doubt |= !error.is_definite();
                if !in_doubt {
                    nonce = client.env().nonce()?;
                }
                sleep(PAUSE).await;
            }
        }
    }
}

async fn claim(
    key: u32,
    nonce: Nonce,
    caller: &Caller,
    ledger: &Ledger,
) -> Result<Result<ClaimReply, Error>> {
    let request = ClaimRequest::new(ledger.address(key)?)
        .fingerprint(Ledger::fingerprint(key))
        .nonce(nonce)
        .lease(LEASE)
        .wait(caller.wait);
    Ok(caller.client.claim(request).await.map(|replied| replied.reply))
}

async fn complete(
    key: u32,
    token: Token,
    result: Vec<u8>,
    client: &Client,
    ledger: &Ledger,
    progress: &Progress,
) -> Result<()> {
    let metadata = Metadata { content_type: Some("text/plain".to_owned()), ..Metadata::default() };
    let outcome = Outcome { class: OutcomeClass::Success, result: result.into(), metadata };
    let ask = CompleteAsk { address: ledger.address(key)?, token, outcome, retention_ms: None };
    loop {
        match client.complete(ask.clone()).await.map(|replied| replied.reply) {
            Ok(CompleteReply::Completed(_) | CompleteReply::AlreadyCompleted) => {
                ledger.acknowledged(key);
                return Ok(());
            }
            Ok(other) => {
                ledger.breach(format!("key {key}: a complete was answered with {other:?}"));
                return Ok(());
            }
            Err(error) => {
                passing(&error)?;
                progress.errors.fetch_add(1, Ordering::AcqRel);
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether faults of nodes may cause the error; another one would never go away.
fn passing(error: &Error) -> Result<()> {
    match error.code() {
        ErrorCode::Unavailable | ErrorCode::Deadline | ErrorCode::NotLeader | ErrorCode::Overloaded => Ok(()),
        _ => bail!("a call was refused: {error}"),
    }
}

/// A result that no other grant would offer; some are large.
fn result_of(key: u32, token: Token) -> Vec<u8> {
    let length = match key {
        key if key.is_multiple_of(1000) => 100_000,
        key if key.is_multiple_of(100) => 5000,
        _ => 0,
    };
    let mut result = format!("key-{key} under {token};").into_bytes();
    let filler = key.to_le_bytes();
    result.extend(filler.iter().copied().cycle().take(length));
    result
}
