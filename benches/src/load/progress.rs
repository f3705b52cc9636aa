//! What has been done so far, told each second.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, interval_at};

/// Shared by all workers.
#[derive(Debug, Default)]
pub struct Progress {
    answered: AtomicU64,
    failed: AtomicU64,
    slowest_us: AtomicU64,
}

impl Progress {
    pub(super) fn answered(&self, took: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.slowest_us.fetch_max(us, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Operations answered so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Tells on standard error, each second, until dropped: on a terminal in one line.
    pub async fn tell(&self, whole: Duration) {
        let began = Instant::now();
        let mut seconds = interval_at(began + Duration::from_secs(1), Duration::from_secs(1));
        let in_place = std::io::stderr().is_terminal();
        let mut before = 0;
        loop {
            seconds.tick().await;
            let answered = self.count();
            let slowest_ms = self.slowest_us.swap(0, Ordering::Relaxed) / 1000;
            let line = format!(
                "{:>4} of {} s: {:>8} ops/s, slowest {slowest_ms} ms, {} errors",
                began.elapsed().as_secs(),
                whole.as_secs(),
                answered - before,
                self.failed.load(Ordering::Relaxed),
            );
            before = answered;
            let (start, end) = if in_place { ("\r\x1b[K", "") } else { ("", "\n") };
            // Whoever closed standard error does not want to know.
            let _gone = write!(std::io::stderr(), "{start}{line}{end}");
        }
    }

    /// Ends the line that [`Progress::tell`] wrote in place.
    pub fn end_line() {
        if std::io::stderr().is_terminal() {
            let _gone = writeln!(std::io::stderr());
        }
    }
}
