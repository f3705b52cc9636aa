//! What is said of a run to the history checker, and what it says of the run.

use crate::plan::Plan;
use crate::run::Verdict;
use crate::site::{Site, Struck};
use hapax_checker::history::{Fault, Header, History, Phase, PlannedFault};
use hapax_checker::{Options, check};
use hapax_tests::workload::recorder::policies;

/// Log time runs at most so much faster than a node's own clock, permille.
const RATE_PERMILLE: i64 = 1050;
/// What ticks and rounding add to or take from a span, ms.
const SLACK_MS: u64 = 20;
/// Clocks may drift apart for so long until a follower is told its leader's time again, ms.
const UNTOLD_MS: u64 = 1_500;
/// Operations that must have succeeded before, during and after the faults: without them a run shows
/// nothing. Few, since there are faults that leave a cluster without a quorum for long.
const SUCCESSES: [(Phase, u64); 3] = [(Phase::WarmUp, 10), (Phase::Faults, 1), (Phase::Healed, 10)];

/// The header of a plan's history.
///
/// # Errors
/// Never: the load's policies keep their rules.
pub fn header(plan: &Plan) -> anyhow::Result<Header> {
    let mut header = Header::new("a simulation", plan.seed);
    header.nodes = u32::try_from(plan.nodes)?;
    header.shards = plan.shards;
    header.policies = policies(plan.scale)?;
    let drift = plan.drifts.iter().copied().max().unwrap_or(0).max(0);
    let slowest = plan.drifts.iter().copied().min().unwrap_or(0).min(0);
    header.clock.rate_max = f64::from(i32::try_from(RATE_PERMILLE * (1000 + drift))?) / 1e6;
    let apart_ms = (drift - slowest).unsigned_abs() * UNTOLD_MS / 1000;
    header.clock.slack_ms = SLACK_MS + plan.tick_ms + apart_ms;
    header.expect.successes = SUCCESSES.into_iter().collect();
    Ok(header)
}

/// Adds to the history what is known of the run only at its end: its faults, but for those that could
/// not strike, and when log time may have jumped.
pub fn complete(history: &mut History, site: &Site<'_>) {
    history.header.clock.jumps = site.jumps();
    let struck = (0..).zip(&site.struck).filter(|(_, struck)| struck.skipped.is_none());
    for (id, struck) in struck {
        let planned = planned(id, struck);
        history.faults.push(fault(&planned, struck));
        history.header.planned.push(planned);
    }
}

fn planned(id: u32, struck: &Struck) -> PlannedFault {
    let fault = &struck.planned.fault;
    PlannedFault { id, kind: fault.kind().to_owned(), target: format!("{fault:?}") }
}

fn fault(planned: &PlannedFault, struck: &Struck) -> Fault {
    Fault {
        planned: Some(planned.id),
        kind: planned.kind.clone(),
        target: planned.target.clone(),
        at_us: struck.span_ms.map_or(struck.planned.at_ms, |(from, _)| from) * 1000,
        proved: struck.proved.is_some(),
        evidence: struck.proved.clone().unwrap_or_default(),
        healed_at_us: struck.span_ms.map(|(_, to)| to * 1000),
        served_again_us: None,
    }
}

/// What the checker says of the history.
pub fn judge(history: &History, verdict: &mut Verdict) {
    let began = cpu_ms();
    let judged = check(history, &Options::default());
    verdict.checked_ms = cpu_ms() - began;
    verdict.operations = judged.operations;
    verdict.addresses = judged.addresses;
    verdict.indefinite = judged.indefinite;
    verdict.replies = judged.replies;
    verdict.void.extend(judged.void);
    // Too many calls on one address of which nobody knows: nothing is wrong, and nothing shown.
    verdict.void.extend(judged.unknown.into_iter().map(|what| format!("undecided: {what}")));
    verdict.failures.extend(judged.violations.iter().map(|violation| {
        let (tier, rule, about) = (violation.tier.name(), violation.rule, &violation.about);
        format!("checker: {tier}: {rule}: {about}: {:?} {}", violation.operations, violation.what)
    }));
}

/// Ms of a processor that this process has used.
#[must_use]
pub fn cpu_ms() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(used.tv_sec * 1000 + used.tv_nsec / 1_000_000).unwrap_or(0)
}
