//! Many seeds on a few threads, with progress, a summary and a ledger.

use crate::run::{Kind, Verdict};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
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
    cpu_ms: u64,
    checked_ms: u64,
    operations: u64,
    indefinite: u64,
    replies: BTreeMap<String, u64>,
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
    faults: BTreeMap<String, Kind>,
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

/// A seed in a process of its own: what libraries count for the whole process, tokio's task numbers
/// among them, begins anew with it, and a process that aborts fails its seed alone.
fn one(seed: u64, seconds: u64, twice: bool) -> Verdict {
    let how = How { exact: twice, ..How::default() };
    let mut verdict = child(seed, seconds, how);
    if twice {
        let again = child(seed, seconds, how);
        let whole = |it: &Verdict| (it.hash, it.simulated_ms, it.failures.clone(), it.void.clone());
        let is_same = whole(&again) == whole(&verdict);
        // What a seed finds is asked elsewhere.
        (verdict.failures, verdict.void) = (Vec::new(), Vec::new());
        if !is_same {
            let text = format!("not the same again: {:x} and {:x}", verdict.hash, again.hash);
            verdict.failures.push(text);
            verdict.failures.extend(first_difference(seed, seconds));
        }
    }
    verdict
}

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct How<'a> {
    /// Every byte counts for the trace.
    pub exact: bool,
    /// Where the events go.
    pub events: Option<&'a Path>,
    /// The mistake that is put into its cluster.
    #[cfg(feature = "seeded-bugs")]
    pub bug: Option<&'a str>,
}

/// Runs a seed in a process of its own.
pub fn child(seed: u64, seconds: u64, how: How<'_>) -> Verdict {
    let failed = |why: String| Verdict { seed, failures: vec![why], ..Verdict::default() };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return failed(format!("cannot find this program: {error}")),
    };
    let mut command = Command::new(program);
    command.arg("one").arg(seed.to_string()).arg("--seconds").arg(seconds.to_string());
    if how.exact {
        command.arg("--exact");
    }
    if let Some(path) = how.events {
        command.arg("--events").arg(path);
    }
    #[cfg(feature = "seeded-bugs")]
    if let Some(bug) = how.bug {
        command.env(hapax_core::seeded::VARIABLE, bug);
    }
    match command.stderr(Stdio::inherit()).output() {
        Ok(output) => serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            failed(format!("the process of the seed ended: {}: {error}", output.status))
        }),
        Err(error) => failed(format!("the process of the seed did not start: {error}")),
    }
}

/// Where two runs of a seed part.
fn first_difference(seed: u64, seconds: u64) -> Vec<String> {
    let path =
        |part: u32| std::env::temp_dir().join(format!("hapax-sim-{}-{seed}-{part}", std::process::id()));
    let texts = [1, 2].map(|part| {
        let path = path(part);
        let mut how = How { exact: true, ..How::default() };
        how.events = Some(&path);
        let _verdict = child(seed, seconds, how);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        // It is scratch; what cannot be removed is left.
        let _removed = std::fs::remove_file(&path);
        text
    });
    let [one, other] = &texts;
    let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    differs.map(|(one, other)| vec![format!("first:  {one}"), format!("second: {other}")]).unwrap_or_default()
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
        self.cpu_ms += verdict.cpu_ms;
        self.checked_ms += verdict.checked_ms;
        self.operations += verdict.operations;
        self.indefinite += verdict.indefinite;
        for (kind, count) in &verdict.replies {
            *self.replies.entry(kind.clone()).or_default() += count;
        }
        self.answered += verdict.answered;
        self.unknown += verdict.unknown;
        self.refused += verdict.refused;
        self.acknowledged += verdict.acknowledged;
        self.scanned += verdict.scanned;
        self.fatals += verdict.fatals;
        self.quarantined += verdict.quarantined;
        self.delivered += verdict.delivered;
        for (name, kind) in &verdict.faults {
            let sum = self.faults.entry(name.clone()).or_default();
            sum.planned += kind.planned;
            sum.proved += kind.proved;
            sum.skipped += kind.skipped;
        }
        for void in &verdict.void {
            say(&format!("void: seed {}: {void}", verdict.seed));
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
            "{:>6.0} s: {} seeds, {:.2} simulated hours, {} void, {} failed, {:.2} CPU-s a seed, {} operations judged",
            elapsed.as_secs_f64(),
            self.seeds,
            self.simulated_ms as f64 / 3_600_000.0,
            self.void,
            self.failed.len(),
            self.cpu_ms as f64 / 1000.0 / self.seeds.max(1) as f64,
            self.operations,
        )
    }

    /// Whether a seed proves nothing, or there was none.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.seeds == 0 || self.void > 0
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
            "recorded: {} operations, {} with an unknown effect; replies: {:?}",
            self.operations, self.indefinite, self.replies
        ));
        say(&format!(
            "callers: {} answered, {} refused as definite, {} unknown; {} completions acknowledged, {} found again",
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
        let each = |ms: f64| ms / 1000.0 / self.seeds.max(1) as f64;
        say(&format!(
            "{:.2} CPU-s a seed, {:.2} s of it in the checker; failed: {:?}",
            each(self.cpu_ms as f64),
            each(self.checked_ms as f64),
            self.failed
        ));
    }
}
