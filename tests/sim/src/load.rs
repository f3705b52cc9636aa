//! The clients of a run: they claim, complete, release, renew and abandon, and tell the oracle.
//!
//! They use the product's own client, with its routing and its retries. All of them live on one
//! simulated machine, which no fault strikes.

use crate::clock::ClientClock;
use crate::entropy::Seeded;
use crate::host::client_addr;
use crate::network::SimNetwork;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::random::Random;
use crate::trace;
use hapax_client::env::Env;
use hapax_client::{ClaimReply, ClaimRequest, Client, ClientConfig, CompleteReply, ReleaseReply};
use hapax_core::request::{CompleteAsk, ReleaseAsk, RenewAsk};
use hapax_core::{Address, Blob, Metadata, Outcome, OutcomeClass, Token, Witness};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// What the clients do at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They work.
    Work,
    /// They work, and touch new keys until every shard has written.
    Probe,
    /// They rest.
    Rest,
    /// They ask for every acknowledged key.
    Scan,
}

/// What the clients and the run share.
#[derive(Debug)]
pub struct Load {
    /// What they do.
    pub phase: Cell<Phase>,
    /// What they were told.
    pub oracle: RefCell<Oracle>,
    /// Shards that acknowledged a write since this was last cleared.
    pub served: RefCell<BTreeSet<u32>>,
    /// Keys of the scan that were found as they must be.
    pub scanned: Cell<u64>,
    /// The scan is over.
    pub scan_done: Cell<bool>,
    /// Clients that are in the middle of an operation.
    pub busy: Cell<usize>,
    to_scan: RefCell<Option<Vec<String>>>,
}

impl Load {
    /// Nothing was done so far.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Work),
            oracle: RefCell::default(),
            served: RefCell::default(),
            scanned: Cell::new(0),
            scan_done: Cell::new(false),
            busy: Cell::new(0),
            to_scan: RefCell::new(None),
        })
    }

    fn heard(&self, witness: Option<Witness>, kind: &str) {
        self.oracle.borrow_mut().answered += 1;
        if let Some(witness) = witness {
            self.served.borrow_mut().insert(witness.shard);
            trace::note(&format!("{kind} {} {};", witness.shard, witness.index));
        }
    }

    fn failed(&self, error: &hapax_client::Error) {
        let mut oracle = self.oracle.borrow_mut();
        if error.is_definite() {
            oracle.refused += 1;
        } else {
            oracle.unknown += 1;
        }
        trace::note(error.code().name());
    }
}

/// Runs the clients for ever.
pub async fn run(plan: Rc<Plan>, load: Rc<Load>) -> turmoil::Result {
    for number in 0..plan.clients {
        let worker = Worker::new(&plan, &load, number);
        tokio::task::spawn_local(worker.run());
    }
    std::future::pending().await
}

struct Worker {
    plan: Rc<Plan>,
    load: Rc<Load>,
    number: usize,
    random: Random,
    env: Env,
    made: u64,
}

impl Worker {
    fn new(plan: &Rc<Plan>, load: &Rc<Load>, number: usize) -> Self {
        let mut random = Random::of(plan.seed ^ (number as u64) << 40, "client");
        let env = Env::new(ClientClock, Seeded::new(random.next_u64()), SimNetwork);
        Self { plan: Rc::clone(plan), load: Rc::clone(load), number, random, env, made: 0 }
    }

    async fn run(mut self) {
        let client = self.connect().await;
        loop {
            match self.load.phase.get() {
                Phase::Work => {
                    let key = format!("k{}", self.random.below(self.plan.keys));
                    self.busily(&client, &key).await;
                    self.think(self.plan.think_ms).await;
                }
                Phase::Probe => {
                    self.made += 1;
                    let key = format!("p{}-{}", self.number, self.made);
                    self.busily(&client, &key).await;
                    self.think(50).await;
                }
                Phase::Scan if self.number == 0 && !self.load.scan_done.get() => self.scan(&client).await,
                Phase::Scan | Phase::Rest => self.think(100).await,
            }
        }
    }

    async fn connect(&mut self) -> Client {
        loop {
            let mut config = ClientConfig::new((0..self.plan.nodes).map(client_addr));
            config.timeout = Duration::from_secs(self.random.between(2, 12));
            config.attempt_timeout = Duration::from_millis(self.random.between(400, 4000));
            match Client::connect_in(config, self.env.clone()).await {
                Ok(client) => return client,
                Err(_) => self.think(200).await,
            }
        }
    }

    async fn think(&mut self, up_to_ms: u64) {
        let pause = self.random.between(1, up_to_ms + 2);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    async fn busily(&mut self, client: &Client, key: &str) {
        self.load.busy.set(self.load.busy.get() + 1);
        self.operate(client, key).await;
        self.load.busy.set(self.load.busy.get() - 1);
    }

    async fn operate(&mut self, client: &Client, key: &str) {
        let Some(address) = address(key) else { return };
        let sent = self.load.oracle.borrow_mut().moment();
        let lease = Duration::from_millis(self.random.between(1000, 3000));
        let claimed = client.claim(claim_of(&address).lease(lease)).await;
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => return self.load.failed(&error),
        };
        self.load.heard(claimed.witness, "claim");
        match claimed.reply {
            ClaimReply::Granted(granted) => {
                self.load.oracle.borrow_mut().granted(key, granted.token, sent);
                self.hold(client, key, address, granted.token).await;
            }
            ClaimReply::Replayed(replayed) => {
                self.load.oracle.borrow_mut().replayed(key, &replayed.result);
            }
            _ => {}
        }
    }

    async fn hold(&mut self, client: &Client, key: &str, address: Address, token: Token) {
        match self.random.below(20) {
            0 => return,
            1 | 2 => {
                let released = client.release(ReleaseAsk { address, token, reason: None }).await;
                match released {
                    Ok(released) => self.load.heard(released.witness, released_as(&released.reply)),
                    Err(error) => self.load.failed(&error),
                }
                return;
            }
            3..=6 => {
                self.think(1500).await;
                self.renew(client, address.clone(), token).await;
            }
            _ => {}
        }
        self.complete(client, key, address, token).await;
    }

    async fn renew(&mut self, client: &Client, address: Address, token: Token) {
        let checkpoint = Some(Blob::from(format!("at {}", token.as_u64()).into_bytes()));
        let mark = self.random.permille(200);
        let ask = RenewAsk { address, token, seq: 1, lease_ms: Some(2000), checkpoint, mark };
        match client.renew(ask).await {
            Ok(renewed) => self.load.heard(renewed.witness, "renew"),
            Err(error) => self.load.failed(&error),
        }
    }

    async fn complete(&mut self, client: &Client, key: &str, address: Address, token: Token) {
        let length = [10, 60, 500, 4000][self.random.index(4)];
        let text = format!("{key} {} {:0length$}", token.as_u64(), self.random.below(1000));
        let result = Blob::from(text.into_bytes());
        let outcome =
            Outcome { class: OutcomeClass::Success, result: result.clone(), metadata: Metadata::default() };
        let sent = self.load.oracle.borrow_mut().completes(key, &result);
        let completed = client.complete(CompleteAsk { address, token, outcome, retention_ms: None }).await;
        let completed = match completed {
            Ok(completed) => completed,
            Err(error) => {
                if error.is_definite() {
                    self.load.oracle.borrow_mut().not_completed(key, &result);
                }
                return self.load.failed(&error);
            }
        };
        self.load.heard(completed.witness, "complete");
        let mut oracle = self.load.oracle.borrow_mut();
        match completed.reply {
            CompleteReply::Completed(_) | CompleteReply::AlreadyCompleted => {
                oracle.completed(key, token, &result, sent);
            }
            CompleteReply::Conflict | CompleteReply::Fenced | CompleteReply::Ignored => {
                oracle.not_completed(key, &result);
            }
        }
    }

    async fn scan(&mut self, client: &Client) {
        let keys = self.load.to_scan.borrow_mut().take();
        let keys = keys.unwrap_or_else(|| self.load.oracle.borrow().kept());
        for key in keys {
            let Some(address) = address(&key) else { continue };
            loop {
                match client.claim(claim_of(&address)).await {
                    Ok(claimed) => {
                        self.scanned(&key, claimed.reply);
                        break;
                    }
                    Err(_) => self.think(50).await,
                }
            }
        }
        self.load.scan_done.set(true);
    }

    fn scanned(&self, key: &str, reply: ClaimReply) {
        let mut oracle = self.load.oracle.borrow_mut();
        match reply {
            ClaimReply::Replayed(replayed) => {
                oracle.replayed(key, &replayed.result);
                self.load.scanned.set(self.load.scanned.get() + 1);
            }
            other => oracle.forgotten(key, &format!("{other:?}")),
        }
    }
}

fn released_as(reply: &ReleaseReply) -> &'static str {
    match reply {
        ReleaseReply::Released => "released",
        ReleaseReply::Fenced => "fenced",
        ReleaseReply::Ignored => "ignored",
    }
}

fn address(key: &str) -> Option<Address> {
    hapax_client::address("acme", "payments.charge", key).ok()
}

fn claim_of(address: &Address) -> ClaimRequest {
    ClaimRequest::new(address.clone()).fingerprint(hapax_client::fingerprint::bytes(b"the request"))
}
