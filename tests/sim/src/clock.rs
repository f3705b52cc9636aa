//! A machine's clocks, which a plan sets wrong.
//!
//! Contract: both follow the time of the simulation. The boot clock drifts and begins anew with
//! each loss of power; the wall clock drifts with it, is stepped, and may stand still. Timers do not
//! drift: they are the simulation's own.

use hapax_raft::env::{BootId, Clock};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// The wall clocks' first reading, ms since 1970: a round time in 2026.
const EPOCH_MS: u64 = 1_780_000_000_000;
/// What a boot clock shows at the beginning.
const BOOTED_MS: u64 = 5_000;
/// The wall clock runs.
const RUNNING: u64 = 0;

/// The clocks of one machine.
#[derive(Debug)]
pub struct SimClock {
    drift_permille: i64,
    /// When it was switched on, ms of the simulation.
    booted_at_ms: AtomicU64,
    /// How often that was.
    boots: AtomicU64,
    wall_offset_ms: AtomicI64,
    /// Where the wall clock stands still, or [`RUNNING`].
    wall_frozen_ms: AtomicU64,
    /// The last time seen, for readings outside of the simulation.
    seen_ms: AtomicU64,
}

impl SimClock {
    /// Clocks that run by so much faster than they should.
    #[must_use]
    pub fn new(drift_permille: i64) -> Self {
        Self {
            drift_permille,
            booted_at_ms: AtomicU64::new(0),
            boots: AtomicU64::new(0),
            wall_offset_ms: AtomicI64::new(0),
            wall_frozen_ms: AtomicU64::new(RUNNING),
            seen_ms: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        match turmoil::sim_elapsed() {
            Some(elapsed) => {
                let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
                self.seen_ms.store(now, Ordering::Relaxed);
                now
            }
            None => self.seen_ms.load(Ordering::Relaxed),
        }
    }

    fn drifted(&self, ms: u64) -> u64 {
        let extra = i64::try_from(ms).unwrap_or(i64::MAX) / 1000 * self.drift_permille
            + i64::try_from(ms % 1000).unwrap_or(0) * self.drift_permille / 1000;
        ms.saturating_add_signed(extra)
    }

    /// The machine lost power at `now` and was switched on again.
    pub fn reboot(&self, now: Duration) {
        self.boots.fetch_add(1, Ordering::Relaxed);
        self.booted_at_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Steps the wall clock.
    pub fn step_wall(&self, ms: i64) {
        self.wall_offset_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Stops the wall clock where it stands at `now`, or lets it run on with the right time.
    pub fn freeze_wall(&self, frozen: bool, now: Duration) {
        let at = if frozen { self.wall_at(now) } else { RUNNING };
        self.wall_frozen_ms.store(at, Ordering::Relaxed);
    }

    /// How far the wall clock is off at `now`, ms; drift is not counted.
    #[must_use]
    pub fn off_ms(&self, now: Duration) -> u64 {
        self.wall_at(now).abs_diff(self.right_ms(now))
    }

    fn right_ms(&self, now: Duration) -> u64 {
        EPOCH_MS + self.drifted(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    fn wall_at(&self, now: Duration) -> u64 {
        match self.wall_frozen_ms.load(Ordering::Relaxed) {
            RUNNING => self.right_ms(now).saturating_add_signed(self.wall_offset_ms.load(Ordering::Relaxed)),
            frozen => frozen,
        }
    }

    /// Puts the wall clock right again.
    pub fn right_wall(&self) {
        self.wall_offset_ms.store(0, Ordering::Relaxed);
        self.wall_frozen_ms.store(RUNNING, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.wall_at(Duration::from_millis(self.now_ms()))
    }

    fn boot_ms(&self) -> u64 {
        let since = self.now_ms().saturating_sub(self.booted_at_ms.load(Ordering::Relaxed));
        BOOTED_MS + self.drifted(since)
    }

    fn boot_id(&self) -> Option<BootId> {
        Some(u128::from(self.boots.load(Ordering::Relaxed)).to_le_bytes())
    }
}

/// A client's clock: right, and never suspended.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientClock;

impl hapax_client::env::Clock for ClientClock {
    fn wall_ms(&self) -> u64 {
        EPOCH_MS + self.boot_ms()
    }

    fn boot_ms(&self) -> u64 {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}
