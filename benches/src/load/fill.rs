//! Keys by number instead of time: a store that holds so many completed ones before anything is measured.
//!
//! Contract: ends when as many keys are completed as asked for, those of earlier runs on the same [`Work`] among them; a
//! few more than that only where more are there already. Calls that fail are made up for with further keys, as long as
//! some succeed. Answers are checked as in every run; nothing is remembered of a key that its number does not tell.

use super::progress::Progress;
use super::run::{Options, begin_all};
use super::store::Store;
use super::tally::Tally;
use super::work::Work;
use super::worker::Schedule;
use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::{Instant, interval_at};

/// Longer than any fill takes.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Between two tellings of how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What a fill has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Keys that it completed.
    pub keys: u64,
    /// How long it took.
    pub took: Duration,
    /// How many answers broke the rules.
    pub wrong: u64,
    /// The first few of them.
    pub wrong_examples: Vec<String>,
}

/// Claims and completes new keys until the store holds `keys` completed ones; `tell` hears now and then how many there
/// are. Of the options, the workers, the seed and the mix count; the mix should have no replays.
///
/// # Errors
/// When a worker fails, or when no call succeeds any more; then with one of the errors.
pub async fn fill<S: Store>(
    stores: &[S],
    options: &Options,
    work: &Arc<Work>,
    keys: u64,
    mut tell: impl FnMut(u64),
) -> Result<Filled> {
    let (began, before) = (Instant::now(), work.count());
    let mut all = Tally::default();
    let mut options = options.clone();
    while work.count() < keys {
        let count = work.count();
        all.merge(calls(stores, &options, work, keys - count, &mut tell).await?);
        if work.count() == count {
            let why = all.errors().keys().next().map(|code| all.error_text(code).to_owned());
            bail!("no key could be completed any more, {count} are: {}", why.unwrap_or_default());
        }
        // A caller's name belongs to one call.
        options.seed = options.seed.wrapping_add(1);
    }
    let (wrong, examples) = all.wrongs();
    let wrong_examples = examples.to_vec();
    Ok(Filled { keys: work.count() - before, took: began.elapsed(), wrong, wrong_examples })
}

/// Makes so many calls.
async fn calls<S: Store>(
    stores: &[S],
    options: &Options,
    work: &Arc<Work>,
    calls: u64,
    tell: &mut impl FnMut(u64),
) -> Result<Tally> {
    let begin = Instant::now();
    let end = begin + NEVER;
    let turns = AtomicU64::new(0);
    let schedule =
        Arc::new(Schedule { begin, measured_from: begin, end, every: None, calls: Some(calls), turns });
    let workers = begin_all(stores, options, work, &schedule, &Arc::new(Progress::default()))?;
    let mut done = std::pin::pin!(workers.collect());
    let mut ticks = interval_at(begin + TELL_EVERY, TELL_EVERY);
    loop {
        tokio::select! {
            tally = &mut done => return tally,
            _ = ticks.tick() => tell(work.count()),
        }
    }
}
