//! The clients of a run, on one simulated machine that no fault strikes.
//!
//! Most of the load is that of the whole-system tests, whose calls are recorded for the history
//! checker: every verb, each sent once. Beside it a few callers use the product's own client, with its
//! routing and its retries, and tell the oracle what they heard; they also find out when every shard
//! serves again.

use crate::clock::ClientClock;
use crate::entropy::Seeded;
use crate::host::client_addr;
use crate::network::SimNetwork;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::random::Random;
use crate::trace;
use hapax_checker::history::Header;
use hapax_client::env::Env;
use hapax_client::{ClaimReply, ClaimRequest, Client, ClientConfig, CompleteReply, ReleaseReply};
use hapax_core::request::{CompleteAsk, ReleaseAsk, RenewAsk};
use hapax_core::{Address, Blob, Metadata, Outcome, OutcomeClass, Token, Witness};
use hapax_tests::workload::{Recorder, Settings, Targets, Workload, WorkloadWorld, final_scan};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often clients look at what they are to do.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the scan of the workers' keys may take.
pub const SCAN_WITHIN: Duration = Duration::from_secs(60);

/// What the clients do at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They work.
    Work,
    /// They work, and touch new keys until every shard has written.
    Probe,
    /// They rest.
    Rest,
    /// They ask for every key that was acknowledged or granted.
    Scan,
}

/// What the clients and the run share.
#[derive(Debug)]
pub struct Load {
    /// What they do.
    pub phase: Cell<Phase>,
    /// What the workers asked and heard.
    pub recorder: Arc<Recorder>,
    /// What the callers were told.
    pub oracle: RefCell<Oracle>,
    /// Shards that acknowledged a write since this was last cleared.
    pub served: RefCell<BTreeSet<u32>>,
    /// Keys of the scan that were found as they must be.
    pub scanned: Cell<u64>,
    /// The scan of the callers' keys is over.
    pub scan_done: Cell<bool>,
    /// The scan of the workers' keys is over, or failed.
    pub final_scan: RefCell<Option<Result<u64, String>>>,
    /// Callers and workers that are in the middle of an operation; all workers count as one.
    pub busy: Cell<usize>,
}

impl Load {
    /// Nothing was done so far.
    #[must_use]
    pub fn new(header: Header) -> Rc<Self> {
        Rc::new(Self {
            recorder: Recorder::in_memory(header, Arc::new(order_us())),
            phase: Cell::new(Phase::Work),
            oracle: RefCell::default(),
            served: RefCell::default(),
            scanned: Cell::new(0),
            scan_done: Cell::new(false),
            final_scan: RefCell::new(None),
            busy: Cell::new(0),
        })
    }

    async fn until(&self, phases: &[Phase]) {
        while !phases.contains(&self.phase.get()) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
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

/// The time of the simulation, µs, rising with each reading: all clients run on one thread, so that
/// what comes before something else in the same millisecond is known.
fn order_us() -> impl Fn() -> u64 {
    let last = AtomicU64::new(0);
    move || {
        let now = turmoil::sim_elapsed().unwrap_or_default().as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX).max(last.load(Ordering::Relaxed) + 1);
        last.store(now, Ordering::Relaxed);
        now
    }
}

/// Runs the clients for ever.
pub async fn run(plan: Rc<Plan>, load: Rc<Load>) -> turmoil::Result {
    for number in 0..plan.callers {
        let caller = Caller::new(&plan, &load, number);
        tokio::task::spawn_local(caller.run());
    }
    work(&plan, &load).await;
    std::future::pending().await
}

/// The recorded load, from the beginning to its own scan.
async fn work(plan: &Plan, load: &Load) {
    let world = WorkloadWorld { network: Arc::new(SimNetwork), seed: plan.seed };
    let targets = Targets { nodes: (0..plan.nodes).map(client_addr).collect(), shards: plan.shards };
    let settings = Settings {
        workers: plan.workers,
        lanes: 2,
        live_keys: plan.live_keys,
        pause: Duration::from_millis(plan.pause_ms),
        ..Settings::simulated()
    };
    load.busy.set(load.busy.get() + 1);
    let workload = Workload::start(world.clone(), targets.clone(), settings, Arc::clone(&load.recorder));
    load.until(&[Phase::Rest, Phase::Scan]).await;
    workload.stop().await;
    load.busy.set(load.busy.get() - 1);
    load.until(&[Phase::Scan]).await;
    let scanned = final_scan(&world, &targets, &load.recorder, SCAN_WITHIN).await;
    *load.final_scan.borrow_mut() = Some(scanned.map_err(|error| format!("{error:#}")));
}

struct Caller {
    plan: Rc<Plan>,
    load: Rc<Load>,
    number: usize,
    random: Random,
    env: Env,
    made: u64,
}

impl Caller {
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
        let keys = self.load.oracle.borrow().kept();
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
