//! What happens to the bytes that go one way, and what has happened so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// What is ordered for the bytes of one direction; faults of different kinds add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// So many faults hold all bytes; none pass while it is above 0.
    pub cuts: u32,
    /// Bytes come later by this.
    pub delay: Duration,
    /// At most so many bytes a second pass on each connection; 0 is no bound.
    pub bytes_per_second: u64,
    /// The end of a stream is not told while this is set.
    pub swallows_close: bool,
}

/// One direction between two places, whatever connections it runs over.
#[derive(Debug)]
pub struct Direction {
    rule: watch::Sender<Rule>,
    arrived: AtomicU64,
    passed: AtomicU64,
    delayed: AtomicU64,
    slowed: AtomicU64,
    swallowed: AtomicU64,
}

impl Default for Direction {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            rule: watch::Sender::new(Rule::default()),
            arrived: zero(),
            passed: zero(),
            delayed: zero(),
            slowed: zero(),
            swallowed: zero(),
        }
    }
}

impl Direction {
    /// Changes what is ordered.
    pub fn change(&self, change: impl FnOnce(&mut Rule)) {
        self.rule.send_modify(change);
    }

    /// What is ordered.
    #[must_use]
    pub fn rule(&self) -> Rule {
        *self.rule.borrow()
    }

    /// Bytes that came to the proxy.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    /// Bytes that it handed on.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Acquire)
    }

    /// Bytes that were delayed.
    #[must_use]
    pub fn delayed(&self) -> u64 {
        self.delayed.load(Ordering::Acquire)
    }

    /// Bytes that were slowed down.
    #[must_use]
    pub fn slowed(&self) -> u64 {
        self.slowed.load(Ordering::Acquire)
    }

    /// Ends of streams that came while they were not told.
    #[must_use]
    pub fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::Acquire)
    }

    pub(super) fn note_arrived(&self, bytes: usize) {
        self.arrived.fetch_add(bytes as u64, Ordering::AcqRel);
    }

    /// The end of a stream came.
    pub(super) fn note_end(&self) {
        if self.rule().swallows_close {
            self.swallowed.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn note_passed(&self, bytes: usize) {
        self.passed.fetch_add(bytes as u64, Ordering::AcqRel);
    }

    /// Keeps bytes that arrived at `at` for as long as they are delayed and slowed.
    pub(super) async fn hold(&self, at: Instant, bytes: usize) {
        let now = self.rule();
        if !now.delay.is_zero() {
            self.delayed.fetch_add(bytes as u64, Ordering::AcqRel);
            sleep_until(at + now.delay).await;
        }
        if now.bytes_per_second > 0 {
            self.slowed.fetch_add(bytes as u64, Ordering::AcqRel);
            sleep(Duration::from_secs_f64(bytes as f64 / now.bytes_per_second as f64)).await;
        }
    }

    /// Waits until no cut stands.
    pub(super) async fn open(&self) {
        let mut rule = self.rule.subscribe();
        // The sender lives as long as this.
        let _passes = rule.wait_for(|rule| rule.cuts == 0).await;
    }

    /// Whether no cut stands.
    pub(super) fn is_open(&self) -> bool {
        self.rule.borrow().cuts == 0
    }

    /// Holds the end of a stream until it may be told.
    pub(super) async fn hold_close(&self) {
        let mut rule = self.rule.subscribe();
        let _told = rule.wait_for(|rule| rule.cuts == 0 && !rule.swallows_close).await;
    }
}
