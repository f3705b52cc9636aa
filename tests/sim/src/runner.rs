//! Many seeds on a few threads, with progress, a summary and a ledger.

use crate::run::{self, Kind, Verdict};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What is to be run.
#[derive(Debug)]
pub struct Work {
    /// The first seed.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
    /// Threads.
    pub jobs: usize,
    /// Simulated seconds of load.
    pub seconds: u64,
    /// No seed is begun after so long.
    pub budget: Option<Duration>,
    /// Each seed is run twice, and must give the same trace.
    pub twice: bool,
    /// Where each verdict is kept.
    pub ledger: Option<File>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Of those, failed.
    pub failed: Vec<u64>,
    /// Of those, void.
    pub void: u64,
    simulated_ms: u64,
    real_ms: u64,
    answered: u64,
    unknown: u64,
    refused: u64,
    acknowledged: u64,
    scanned: u64,
    fatals: u64,
    quarantined: u64,
    delivered: u64,
    served_after_ms: Vec<u64>,
    agreed_after_ms: Vec<u64>,
    faults: BTreeMap<&'static str, Kind>,
}

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

/// Runs all of it, telling of progress and failures as they come.
///
/// # Errors
/// When the ledger cannot be written.
pub fn run(mut work: Work) -> anyhow::Result<Summary> {
    let began = Instant::now();
    let next = AtomicU64::new(work.from);
    let (tell, told) = mpsc::channel::<Verdict>();
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        for _ in 0..work.jobs {
            let (tell, next) = (tell.clone(), &next);
            let (to, seconds, budget, twice) = (work.to, work.seconds, work.budget, work.twice);
            scope.spawn(move || {
                while budget.is_none_or(|budget| began.elapsed() < budget) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to || tell.send(one(seed, seconds, twice)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let mut shown = Instant::now();
        for verdict in told {
            if let Some(ledger) = &mut work.ledger {
                writeln!(ledger, "{}", serde_json::to_string(&verdict)?)?;
            }
            summary.add(&verdict, work.seconds);
            if shown.elapsed() > PROGRESS {
                shown = Instant::now();
                say(&summary.line(began.elapsed()));
            }
        }
        anyhow::Ok(())
    })?;
    say(&summary.line(began.elapsed()));
    Ok(summary)
}

fn one(seed: u64, seconds: u64, twice: bool) -> Verdict {
    let mut verdict = run::seed(seed, seconds, twice);
    let events = std::mem::take(&mut verdict.events);
    if twice {
        let again = run::seed(seed, seconds, true);
        if (again.hash, again.simulated_ms) != (verdict.hash, verdict.simulated_ms) {
            let text = format!("not the same again: {:x} and {:x}", verdict.hash, again.hash);
            verdict.failures.push(text);
            let differs = events.iter().zip(&again.events).find(|(one, other)| one.0 != other.0);
            if events.len() != again.events.len() {
                let text = format!("{} and {} events", events.len(), again.events.len());
                verdict.failures.push(text);
            }
            if let Some((one, other)) = differs {
                verdict.failures.push(format!("first:  {}", one.1));
                verdict.failures.push(format!("second: {}", other.1));
            }
        }
    }
    verdict
}

#[expect(clippy::print_stdout, reason = "what the program says")]
fn say(text: &str) {
    println!("{text}");
}

impl Summary {
    fn add(&mut self, verdict: &Verdict, seconds: u64) {
        self.seeds += 1;
        self.void += u64::from(!verdict.void.is_empty());
        self.simulated_ms += verdict.simulated_ms;
        self.real_ms += verdict.real_ms;
        self.answered += verdict.answered;
        self.unknown += verdict.unknown;
        self.refused += verdict.refused;
        self.acknowledged += verdict.acknowledged;
        self.scanned += verdict.scanned;
        self.fatals += verdict.fatals;
        self.quarantined += verdict.quarantined;
        self.delivered += verdict.delivered;
        for (name, kind) in &verdict.faults {
            let sum = self.faults.entry(name).or_default();
            sum.planned += kind.planned;
            sum.proved += kind.proved;
            sum.skipped += kind.skipped;
        }
        if verdict.failures.is_empty() {
            self.served_after_ms.push(verdict.served_after_ms);
            self.agreed_after_ms.push(verdict.agreed_after_ms);
            return;
        }
        self.failed.push(verdict.seed);
        say(&format!("FAILED seed {}: {}", verdict.seed, verdict.failures.join("\n  ")));
        for complaint in &verdict.complaints {
            say(&format!("  {complaint}"));
        }
        let seed = verdict.seed;
        say(&format!("  again: cd tests/sim && cargo run --release -- replay {seed} --seconds {seconds}"));
    }

    fn line(&self, elapsed: Duration) -> String {
        format!(
            "{:>6.0} s: {} seeds, {} failed, {} void, {:.2} simulated hours, {} calls answered",
            elapsed.as_secs_f64(),
            self.seeds,
            self.failed.len(),
            self.void,
            self.simulated_ms as f64 / 3_600_000.0,
            self.answered,
        )
    }

    /// Says what came of it.
    pub fn tell(&mut self) {
        let worst = |spans: &mut Vec<u64>| {
            spans.sort_unstable();
            let at = |part: usize| {
                spans.get((spans.len() * part / 100).min(spans.len().saturating_sub(1))).copied()
            };
            (at(50).unwrap_or(0), at(99).unwrap_or(0), spans.last().copied().unwrap_or(0))
        };
        let served = worst(&mut self.served_after_ms);
        let agreed = worst(&mut self.agreed_after_ms);
        say(&format!(
            "calls: {} answered, {} refused as definite, {} unknown; {} completions acknowledged, {} found again",
            self.answered, self.refused, self.unknown, self.acknowledged, self.scanned
        ));
        say(&format!(
            "{} messages delivered; {} processes ended themselves; {} replicas quarantined",
            self.delivered, self.fatals, self.quarantined
        ));
        say(&format!(
            "every shard served after the heal, ms: p50 {} p99 {} worst {}",
            served.0, served.1, served.2
        ));
        say(&format!(
            "all replicas agreed after the load, ms: p50 {} p99 {} worst {}",
            agreed.0, agreed.1, agreed.2
        ));
        say(&format!("{:<24}{:>9}{:>9}{:>9}", "fault", "planned", "proved", "skipped"));
        for (name, kind) in &self.faults {
            say(&format!("{name:<24}{:>9}{:>9}{:>9}", kind.planned, kind.proved, kind.skipped));
        }
        let each = self.real_ms as f64 / self.seeds.max(1) as f64;
        say(&format!("{each:.0} ms a seed; failed: {:?}", self.failed));
    }
}
