//! One seed from its beginning to its verdict.
//!
//! Contract: warm up, faults, heal (of what showed no effect by then a little later); then every shard must
//! serve within 10 simulated seconds, every replica agree and purge its log within another 10 once the load
//! rests, and every acknowledged result be found. The history of the recorded load is judged by the history checker, all tiers. A fault
//! that was not shown to have had an effect makes the seed void. A panic anywhere is a failure.

use crate::load::{Load, Phase};
use crate::plan::Plan;
use crate::site::Site;
use crate::trace;
use crate::{entropy, judge};
use hapax_checker::history::{self, History};
use hapax_wire::status::{ShardRole, ShardStatus};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

/// How soon after the faults' end every shard must serve, ms.
const SERVE_WITHIN_MS: u64 = 10_000;
/// How much longer than the others a fault may stay that has shown no effect, ms.
const PROVE_WITHIN_MS: u64 = 15_000;
/// How soon after the load's end all replicas must agree, ms.
const AGREE_WITHIN_MS: u64 = 10_000;
/// How long clients may take to finish what they began, ms: their longest deadline and a little.
const REST_WITHIN_MS: u64 = 16_000;
/// How long the scans may take, ms.
const SCAN_WITHIN_MS: u64 = 120_000;
/// Whether replicas agree is looked at so often, ms: each tick divides it.
const LOOK_MS: u64 = 20;

/// What became of the faults of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    /// Planned.
    pub planned: u64,
    /// Shown to have had an effect.
    pub proved: u64,
    /// Could not strike: their node was down.
    pub skipped: u64,
}

/// The verdict on a seed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// What must not be.
    pub failures: Vec<String>,
    /// Faults that showed no effect.
    pub void: Vec<String>,
    /// What nodes complained of when they started or stopped.
    pub complaints: Vec<String>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// Where exact: every event.
    #[serde(skip)]
    pub events: Vec<(u64, String)>,
    /// What the recorded load asked and heard.
    #[serde(skip)]
    pub history: Option<History>,
    /// Simulated ms.
    pub simulated_ms: u64,
    /// Real ms.
    pub real_ms: u64,
    /// Ms of a processor, all of it.
    pub cpu_ms: u64,
    /// Ms of these in the checker.
    pub checked_ms: u64,
    /// From the heal until every shard served, ms.
    pub served_after_ms: u64,
    /// From the load's end until all replicas agreed, ms.
    pub agreed_after_ms: u64,
    /// Recorded operations.
    pub operations: u64,
    /// Their addresses.
    pub addresses: u64,
    /// Those of which nobody knows the effect.
    pub indefinite: u64,
    /// How often each kind of reply was recorded.
    pub replies: BTreeMap<String, u64>,
    /// Answered calls of the product's client.
    pub answered: u64,
    /// Calls refused as definite.
    pub refused: u64,
    /// Calls of which nobody knows.
    pub unknown: u64,
    /// Acknowledged completions.
    pub acknowledged: u64,
    /// Acknowledged completions that the scan found.
    pub scanned: u64,
    /// Processes that ended themselves.
    pub fatals: u64,
    /// Replicas out of service for good, as they must be after damage to their log.
    pub quarantined: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// How often the cluster came by the mistake that was put into it.
    pub reached: u64,
    /// What became of the faults.
    pub faults: BTreeMap<String, Kind>,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on the first panic of each thread is kept for its verdict, and not printed.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = format!("{info}");
        PANIC.with(|first| {
            if let Ok(mut first) = first.try_borrow_mut() {
                first.get_or_insert(text);
            }
        });
    }));
}

/// Runs a seed on a thread of its own.
#[must_use]
pub fn seed(seed: u64, seconds: u64, exact: bool) -> Verdict {
    let thread = std::thread::Builder::new().name(format!("seed-{seed}")).spawn(move || {
        // Before anything else: the first hash map of the thread draws its keys.
        entropy::own(seed);
        trace::begin(exact);
        let run = || Run::new(seed, seconds).map(Run::run);
        let failed = |why: String| Verdict { seed, failures: vec![why], ..Verdict::default() };
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => failed(format!("cannot begin: {error:#}")),
            Err(_) => {
                let text = PANIC.with(|first| first.borrow_mut().take()).unwrap_or_default();
                failed(format!("panicked: {text}"))
            }
        }
    });
    let joined = thread.map(std::thread::JoinHandle::join);
    match joined {
        Ok(Ok(verdict)) => verdict,
        _ => {
            Verdict { seed, failures: vec!["the thread of the seed failed".to_owned()], ..Verdict::default() }
        }
    }
}

#[cfg(feature = "seeded-bugs")]
fn reached() -> u64 {
    hapax_core::seeded::reached_here()
}

#[cfg(not(feature = "seeded-bugs"))]
fn reached() -> u64 {
    0
}

struct Run {
    plan: Rc<Plan>,
    load: Rc<Load>,
    site: Site<'static>,
    verdict: Verdict,
    began: Instant,
}

impl Run {
    fn new(seed: u64, seconds: u64) -> anyhow::Result<Self> {
        let plan = Rc::new(Plan::draw(seed, seconds));
        let load = Load::new(judge::header(&plan)?);
        let site = Site::build(&plan, &load);
        let verdict = Verdict { seed, ..Verdict::default() };
        Ok(Self { plan, load, site, verdict, began: Instant::now() })
    }

    fn run(mut self) -> Verdict {
        if let Err(error) = self.phases() {
            self.verdict.failures.push(format!("the simulation failed: {error:#}"));
        }
        self.sum_up()
    }

    fn phases(&mut self) -> anyhow::Result<()> {
        while self.site.now_ms() < self.plan.faults_from_ms {
            self.site.step()?;
        }
        if self.load.oracle.borrow().answered == 0 {
            self.fail("nothing was answered before the first fault");
        }
        self.load.recorder.set_phase(history::Phase::Faults);
        while self.site.now_ms() < self.plan.heal_at_ms {
            self.site.step()?;
        }
        if self.site.heal_proved() {
            self.wait(PROVE_WITHIN_MS, |run| !run.site.is_struck())?;
        }
        self.site.heal();
        let longer_ms = self.site.now_ms() - self.plan.heal_at_ms;
        self.load.served.borrow_mut().clear();
        self.load.phase.set(Phase::Probe);
        let shards = usize::try_from(self.plan.shards).unwrap_or(usize::MAX);
        let served = self.wait(SERVE_WITHIN_MS, |run| run.load.served.borrow().len() == shards)?;
        match served {
            Some(ms) => self.verdict.served_after_ms = ms,
            None => self.not_served(),
        }
        self.load.phase.set(Phase::Work);
        self.load.recorder.set_phase(history::Phase::Healed);
        while self.site.now_ms() < self.plan.end_ms + longer_ms {
            self.site.step()?;
        }
        self.load.phase.set(Phase::Rest);
        if self.wait(REST_WITHIN_MS, |run| run.load.busy.get() == 0)?.is_none() {
            self.fail("a client's call outlived its deadline");
        }
        let agree = |run: &Self| run.site.now_ms().is_multiple_of(LOOK_MS) && run.disagrees().is_none();
        match self.wait(AGREE_WITHIN_MS, agree)? {
            Some(ms) => self.verdict.agreed_after_ms = ms,
            None => {
                let why = self.disagrees().unwrap_or_default();
                self.fail(&format!("the replicas did not converge: {why}"));
            }
        }
        self.load.phase.set(Phase::Scan);
        let scanned = |run: &Self| run.load.scan_done.get() && run.load.final_scan.borrow().is_some();
        if self.wait(SCAN_WITHIN_MS, scanned)?.is_none() {
            self.fail("the scans did not end");
        }
        if let Some(Err(why)) = &*self.load.final_scan.borrow() {
            self.verdict.failures.push(format!("the final scan failed: {why}"));
        }
        Ok(())
    }

    /// Steps until something holds; how long that took, if it came true in time.
    fn wait(&mut self, within_ms: u64, holds: impl Fn(&Self) -> bool) -> anyhow::Result<Option<u64>> {
        let began = self.site.now_ms();
        while self.site.now_ms() < began + within_ms {
            if holds(self) {
                return Ok(Some(self.site.now_ms() - began));
            }
            self.site.step()?;
        }
        Ok(holds(self).then_some(within_ms))
    }

    fn fail(&mut self, text: &str) {
        self.verdict.failures.push(text.to_owned());
    }

    fn not_served(&mut self) {
        let served = self.load.served.borrow().clone();
        let missing: Vec<u32> = (0..self.plan.shards).filter(|shard| !served.contains(shard)).collect();
        let replicas = self.site.replicas();
        let shown = |shard: &u32| {
            let roles = replicas.iter().filter(|(_, status)| status.shard == *shard);
            let roles = roles.map(|(i, it)| format!("node-{} {:?} term {}", i + 1, it.role, it.term));
            format!("shard {shard}: {}", roles.collect::<Vec<_>>().join(", "))
        };
        let shown: Vec<String> = missing.iter().map(shown).collect();
        let starting: Vec<String> = (self.site.machines.iter())
            .filter(|machine| machine.node().is_none())
            .map(|machine| format!("{} does not serve ({:?})", machine.name, machine.end()))
            .collect();
        self.fail(&format!(
            "not served within {SERVE_WITHIN_MS} ms: {}; {}",
            shown.join("; "),
            starting.join(", ")
        ));
    }

    /// Why the replicas do not all agree, if they do not.
    fn disagrees(&self) -> Option<String> {
        let replicas = self.site.replicas();
        (0..self.plan.shards).find_map(|shard| self.shard_disagrees(shard, &replicas))
    }

    fn shard_disagrees(&self, shard: u32, replicas: &[(usize, ShardStatus)]) -> Option<String> {
        let of_shard = replicas.iter().filter(|(_, status)| status.shard == shard);
        let (stopped, running): (Vec<_>, Vec<_>) =
            of_shard.partition(|(_, status)| status.role == ShardRole::Stopped);
        // A damaged log keeps its replica out of service for good.
        let excused = stopped.iter().filter(|(i, _)| self.site.log_damaged && *i == self.plan.victim).count();
        if running.len() + excused != 3 {
            return Some(format!("shard {shard} has {} running replicas of 3", running.len()));
        }
        let same = |a: &ShardStatus, b: &ShardStatus| {
            (a.applied_index, a.digest, a.time) == (b.applied_index, b.digest, b.time)
        };
        let first = &running.first()?.1;
        if running.iter().any(|(_, status)| !same(status, first)) {
            let shown = running.iter().map(|(i, it)| format!("node-{} at {} ", i + 1, it.applied_index));
            return Some(format!("shard {shard} differs: {}", shown.collect::<String>()));
        }
        if !running.iter().any(|(_, status)| status.role == ShardRole::Leader) {
            return Some(format!("shard {shard} has no leader"));
        }
        let kept = self.plan.log_kept * 2 + 64;
        let late = running.iter().find(|(_, status)| status.purged_index + kept < status.applied_index);
        late.map(|(i, status)| {
            let (purged, applied) = (status.purged_index, status.applied_index);
            format!("shard {shard} on node-{} is purged to {purged} of {applied}", i + 1)
        })
    }

    fn sum_up(self) -> Verdict {
        let Self { load, site, mut verdict, began, .. } = self;
        let oracle = load.oracle.borrow();
        verdict.failures.extend(oracle.violations.iter().cloned());
        verdict.answered = oracle.answered;
        verdict.refused = oracle.refused;
        verdict.unknown = oracle.unknown;
        verdict.acknowledged = oracle.acknowledged;
        verdict.scanned = load.scanned.get();
        verdict.complaints.clone_from(&site.complaints);
        verdict.fatals = site.fatals.iter().sum();
        verdict.reached = reached();
        verdict.delivered = trace::ways().delivered();
        let stopped = |(_, status): &(usize, ShardStatus)| status.role == ShardRole::Stopped;
        verdict.quarantined = site.replicas().iter().filter(|it| stopped(it)).count() as u64;
        for struck in &site.struck {
            let kind = verdict.faults.entry(struck.planned.fault.kind().to_owned()).or_default();
            kind.planned += 1;
            kind.proved += u64::from(struck.proved.is_some());
            kind.skipped += u64::from(struck.skipped.is_some());
        }
        verdict.simulated_ms = site.now_ms();
        for status in site.replicas() {
            trace::note(&format!("{} {} {:?};", status.0, status.1.applied_index, status.1.digest));
        }
        let history = load.recorder.finish().map(|history| {
            history.map(|mut history| {
                judge::complete(&mut history, &site);
                history
            })
        });
        drop(site);
        verdict.hash = trace::hash();
        verdict.events = trace::events();
        if let Ok(Some(history)) = history {
            judge::judge(&history, &mut verdict);
            verdict.history = Some(history);
        } else {
            verdict.failures.push("there is no history".to_owned());
        }
        verdict.cpu_ms = judge::cpu_ms();
        verdict.real_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        verdict
    }
}
