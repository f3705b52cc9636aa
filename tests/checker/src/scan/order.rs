//! S9, S13: the log's order and its time agree with each other and with real time.

use crate::history::{Basis, ClockBounds, History, Operation, Reply, Witness};
use crate::report::Report;
use crate::violation::{Tier, Violation, brief};
use std::collections::HashMap;

/// An operation that says where it was answered.
#[derive(Clone, Copy)]
struct Told<'h> {
    operation: &'h Operation,
    witness: Witness,
    returned_us: u64,
}

pub(super) fn scan(history: &History, report: &mut Report) {
    let mut shards: HashMap<u32, Vec<Told<'_>>> = HashMap::new();
    let mut homes: HashMap<&str, Told<'_>> = HashMap::new();
    for operation in &history.operations {
        let (Some(witness), Some(returned_us)) = (operation.witness, operation.return_us) else { continue };
        let told = Told { operation, witness, returned_us };
        shards.entry(witness.shard).or_default().push(told);
        if let Some(address) = operation.call.address() {
            let home = homes.entry(address.as_str()).or_insert(told);
            if home.witness.shard != witness.shard {
                report.add(violation("S9 shard", home, &told, "one address in two shards"));
            }
        }
    }
    for told in shards.values_mut() {
        told.sort_by_key(|told| (told.witness.index, told.witness.position, told.operation.id));
        scan_log(told, report);
        scan_rate(&history.header.clock, told, report);
        told.sort_by_key(|told| told.operation.invoke_us);
        scan_real_time(told, report);
    }
}

/// By index: log time never falls, one entry has one log time, one position holds one command.
fn scan_log(told: &[Told<'_>], report: &mut Report) {
    let mut latest: Option<Told<'_>> = None;
    let mut command: Option<Told<'_>> = None;
    for this in told {
        if let Some(before) = latest {
            let (a, b) = (before.witness, this.witness);
            if b.log_time_ms < a.log_time_ms {
                report.add(violation("S13 log time", &before, this, "log time goes back along the log"));
            } else if a.index == b.index && a.log_time_ms != b.log_time_ms {
                report.add(violation("S13 log time", &before, this, "one entry with two log times"));
            }
        }
        latest = Some(*this);
        if this.witness.basis != Basis::Applied {
            continue;
        }
        if let Some(before) = command {
            let (a, b) = (before.witness, this.witness);
            if (a.index, a.position) == (b.index, b.position) {
                report.add(violation("S9 one position", &before, this, "one position holds two commands"));
            }
        }
        command = Some(*this);
    }
}

/// What is sent after an answer came stands behind it in the log, and not at an earlier log time.
fn scan_real_time(told: &[Told<'_>], report: &mut Report) {
    let mut by_return: Vec<&Told<'_>> = told.iter().collect();
    by_return.sort_by_key(|told| told.returned_us);
    let mut returned = by_return.into_iter().peekable();
    let mut furthest: Option<Told<'_>> = None;
    for this in told {
        while let Some(done) = returned.next_if(|done| done.returned_us < this.operation.invoke_us) {
            let is_further = |last: Told<'_>| rank(&last.witness) < rank(&done.witness);
            if furthest.is_none_or(is_further) {
                furthest = Some(*done);
            }
        }
        let Some(before) = furthest.filter(|_| this.witness.basis != Basis::Stale) else { continue };
        // An entry is made before any of its commands is answered, so a later command is in a later one.
        let (a, b) = (before.witness, this.witness);
        let applied = b.basis == Basis::Applied;
        if b.index < a.index || (applied && b.index == a.index && !is_error(&before) && !is_error(this)) {
            report.add(violation(
                "S9 real time",
                &before,
                this,
                "answered from before what had been answered",
            ));
        } else if b.log_time_ms < a.log_time_ms {
            report.add(violation("S13 log time", &before, this, "log time went back in real time"));
        }
    }
}

fn rank(witness: &Witness) -> (u64, u64) {
    (witness.index, witness.log_time_ms)
}

fn is_error(told: &Told<'_>) -> bool {
    matches!(told.operation.reply, Reply::Error { .. })
}

/// Log time runs no faster than its bounds allow. Each applied entry was stamped while its calls were
/// under way.
fn scan_rate(clock: &ClockBounds, told: &[Told<'_>], report: &mut Report) {
    let applied =
        |told: &&Told<'_>| told.witness.basis == Basis::Applied && told.operation.call.verb() != "list";
    // The operation that allows the least to all that follow it in the log.
    let mut tightest: Option<(f64, Told<'_>)> = None;
    for this in told.iter().filter(applied) {
        let shard = Some(this.witness.shard);
        if let Some((_, before)) = tightest {
            let passed_ms = this.returned_us.saturating_sub(before.operation.invoke_us).div_ceil(1000);
            let in_window = clock.jumps.iter().filter(|window| {
                let mine = window.shard.is_none() || window.shard == shard;
                mine && window.from_us <= this.returned_us && window.to_us >= before.operation.invoke_us
            });
            let jumped: u64 = in_window.map(|window| window.by_ms).sum();
            let moved = this.witness.log_time_ms.saturating_sub(before.witness.log_time_ms);
            let most = scaled(passed_ms, clock.rate_max) + as_f64(clock.slack_ms + jumped);
            if as_f64(moved) > most {
                report.add(violation("S13 rate", &before, this, "log time ran too fast"));
            }
        }
        let start =
            as_f64(this.witness.log_time_ms) - clock.rate_max * as_f64(this.operation.invoke_us) / 1000.0;
        let crosses = tightest.is_some_and(|(_, before)| {
            clock.jumps.iter().any(|window| {
                window.from_us <= this.operation.invoke_us && window.to_us >= before.operation.invoke_us
            })
        });
        if crosses || tightest.is_none_or(|(least, _)| start < least) {
            tightest = Some((start, *this));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are well below 2^52")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn scaled(ms: u64, rate: f64) -> f64 {
    as_f64(ms) * rate
}

fn violation(rule: &'static str, before: &Told<'_>, this: &Told<'_>, what: &str) -> Violation {
    Violation {
        tier: Tier::Scan,
        rule,
        about: format!("shard {}", this.witness.shard),
        operations: vec![before.operation.id, this.operation.id],
        what: format!("{what}: {}, then {}", brief(before.operation), brief(this.operation)),
    }
}
