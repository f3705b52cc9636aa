//! All tiers over one history, and what comes of it.

use crate::history::{History, Phase, Policy, Reply};
use crate::index::Index;
use crate::report::Report;
use crate::violation::{Tier, Violation};
use crate::{blind, scan, witness};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

/// Which tiers run, and what a run must have.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The linear scanners.
    pub scan: bool,
    /// The replay in the order of the witnesses.
    pub witness: bool,
    /// The search that trusts no order.
    pub blind: bool,
    /// Whether a history without a final scan of every acknowledged key is void.
    pub final_scan: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { scan: true, witness: true, blind: true, final_scan: true }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// What made the history.
    pub run: String,
    /// Its seed.
    pub seed: u64,
    /// How many operations there were.
    pub operations: u64,
    /// On how many addresses.
    pub addresses: u64,
    /// How many of them nobody knows the effect of.
    pub indefinite: u64,
    /// How many addresses had an acknowledged outcome, and how many of those the final scan read from
    /// every node.
    pub acknowledged: u64,
    /// See `acknowledged`.
    pub scanned: u64,
    /// The first violations of each rule.
    pub violations: Vec<Violation>,
    /// How many violations there were, by tier and rule.
    pub counts: BTreeMap<String, u64>,
    /// What could not be decided.
    pub unknown: Vec<String>,
    /// Why the run proves nothing, if it does not.
    pub void: Vec<String>,
    /// Milliseconds that each tier took.
    pub took_ms: BTreeMap<&'static str, f64>,
    /// How often each reply kind was seen; errors by their code.
    pub replies: BTreeMap<String, u64>,
}

impl Verdict {
    /// Whether the history is accepted: nothing wrong, nothing undecided, nothing missing.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.violations.is_empty() && self.unknown.is_empty() && self.void.is_empty()
    }

    /// The tiers that found something wrong.
    #[must_use]
    pub fn tiers(&self) -> BTreeSet<Tier> {
        self.violations.iter().map(|violation| violation.tier).collect()
    }
}

/// Judges a history.
#[must_use]
pub fn check(history: &History, options: &Options) -> Verdict {
    let defaults = Policy::default();
    let mut verdict = Verdict {
        run: history.header.run.clone(),
        seed: history.header.seed,
        operations: history.operations.len() as u64,
        ..Verdict::default()
    };
    let mut report = Report::default();
    let index = verdict.timed("index", || Index::new(history, &defaults));
    verdict.addresses = index.groups.len() as u64;
    if options.scan {
        let scanned = verdict.timed("scan", || scan::check(&index, &mut report));
        (verdict.acknowledged, verdict.scanned) = (scanned.acknowledged, scanned.scanned);
        if options.final_scan && !scanned.was_made() {
            verdict.void.push("there was no final scan".to_owned());
        } else if let (true, Some(missed)) = (options.final_scan, &scanned.missed) {
            let count = scanned.acknowledged - scanned.scanned;
            verdict.void.push(format!("the final scan did not read {count} keys from every node: {missed}"));
        }
    }
    if options.witness {
        verdict.timed("witness", || {
            witness::check(&index, &mut report);
            witness::logs::check(&history.logs, &mut report);
        });
    }
    if options.blind {
        verdict.timed("blind", || blind::check(&index, &mut report));
    }
    verdict.count_replies(history);
    verdict.check_void(history);
    let name = |((tier, rule), count)| (format!("{}: {rule}", Tier::name(tier)), count);
    verdict.counts = report.counts.into_iter().map(name).collect();
    verdict.violations = report.violations;
    verdict.unknown = report.unknown;
    verdict
}

impl Verdict {
    fn timed<T>(&mut self, tier: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.took_ms.insert(tier, start.elapsed().as_secs_f64() * 1000.0);
        done
    }

    fn count_replies(&mut self, history: &History) {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
        for operation in &history.operations {
            self.indefinite += u64::from(operation.is_indefinite());
            match operation.reply {
                Reply::Error { code, .. } => *codes.entry(code.name()).or_default() += 1,
                _ => *kinds.entry(operation.reply.kind()).or_default() += 1,
            }
        }
        self.replies = kinds.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect();
        self.replies.extend(codes.into_iter().map(|(code, count)| (format!("error:{code}"), count)));
    }

    /// A run that proves nothing fails like one that proves a lie.
    fn check_void(&mut self, history: &History) {
        let header = &history.header;
        for planned in &header.planned {
            let of_plan = |fault: &&crate::history::Fault| fault.planned == Some(planned.id);
            match history.faults.iter().find(of_plan) {
                None => self.void.push(format!("fault {} ({}) was not injected", planned.id, planned.kind)),
                Some(fault) if !fault.proved => {
                    self.void.push(format!("fault {} ({}) was not proved", planned.id, planned.kind));
                }
                Some(_) => (),
            }
        }
        let mut successes: BTreeMap<Phase, u64> = BTreeMap::new();
        for operation in history.operations.iter().filter(|operation| operation.is_success()) {
            *successes.entry(operation.phase).or_default() += 1;
        }
        for (phase, least) in &header.expect.successes {
            let seen = successes.get(phase).copied().unwrap_or_default();
            if seen < *least {
                let phase = phase.name();
                self.void.push(format!("phase {phase}: {seen} operations succeeded, {least} are the least"));
            }
        }
        for kind in &header.expect.replies {
            if !self.replies.contains_key(kind) {
                self.void.push(format!("no reply of kind {kind} was seen"));
            }
        }
        let mut ids: Vec<u64> = history.operations.iter().map(|operation| operation.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            self.void.push("two operations have one id".to_owned());
        }
        if history.operations.iter().any(|operation| {
            operation.return_us.is_some_and(|returned| returned < operation.invoke_us)
                || (operation.is_success() && operation.return_us.is_none())
                || (operation.is_success()
                    && operation.witness.is_none()
                    && !is_of_no_record(&operation.reply))
        }) {
            self.void.push("an answer without its time or its witness".to_owned());
        }
    }
}

/// A shadow of a refusal that no record was needed for: it comes from no log.
fn is_of_no_record(reply: &Reply) -> bool {
    let Reply::Granted(granted) = reply else { return false };
    granted.token == 0 && matches!(granted.shadow_of.as_deref(), Some(Reply::Error { .. }))
}

/// A summary, then one line for each finding.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_accepted() { "accepted" } else { "REJECTED" };
        writeln!(f, "{word}: {} (seed {})", self.run, self.seed)?;
        writeln!(
            f,
            "{} operations on {} addresses, {} with an unknown effect; {} of {} acknowledged keys scanned",
            self.operations, self.addresses, self.indefinite, self.scanned, self.acknowledged
        )?;
        let took: Vec<_> = self.took_ms.iter().map(|(tier, ms)| format!("{tier} {ms:.1} ms")).collect();
        writeln!(f, "took: {}", took.join(", "))?;
        for (rule, count) in &self.counts {
            writeln!(f, "{count:>8}  {rule}")?;
        }
        for void in &self.void {
            writeln!(f, "void: {void}")?;
        }
        for unknown in &self.unknown {
            writeln!(f, "unknown: {unknown}")?;
        }
        for violation in &self.violations {
            let (tier, rule, about) = (violation.tier.name(), violation.rule, &violation.about);
            writeln!(f, "{tier}: {rule}: {about}: {:?} {}", violation.operations, violation.what)?;
        }
        Ok(())
    }
}
