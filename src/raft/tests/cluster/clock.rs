//! A node's clocks, which a test sets wrong.

use hapax_raft::env::{BootId, Clock, Entropy, Env};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The machine's clocks, changed: the wall clock is off or stands still, the boot clock drifts.
pub(crate) struct TestClock {
    real: Env,
    /// What the machine's boot clock shows where this one shows nothing.
    booted_ms: AtomicU64,
    boots: AtomicU64,
    wall_offset_ms: AtomicI64,
    /// Where the wall clock stands still; 0 when it runs.
    wall_frozen_ms: AtomicU64,
    drift_permille: i64,
}

impl TestClock {
    pub(crate) fn new(drift_permille: i64) -> Arc<Self> {
        let real = Env::real();
        let booted_ms = AtomicU64::new(real.clock.boot_ms());
        Arc::new(Self {
            real,
            booted_ms,
            boots: AtomicU64::new(0),
            wall_offset_ms: AtomicI64::new(0),
            wall_frozen_ms: AtomicU64::new(0),
            drift_permille,
        })
    }

    /// The machine is switched off and on again.
    pub(crate) fn reboot(&self) {
        self.booted_ms.store(self.real.clock.boot_ms(), Ordering::Relaxed);
        self.boots.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the wall clock off by so much.
    pub(crate) fn set_wall_offset(&self, ms: i64) {
        self.wall_offset_ms.store(ms, Ordering::Relaxed);
    }

    /// From now on the wall clock stands still.
    pub(crate) fn freeze_wall(&self) {
        self.wall_frozen_ms.store(self.wall_ms(), Ordering::Relaxed);
    }

    /// A node's environment with this clock.
    pub(crate) fn env(self: &Arc<Self>) -> Env {
        let entropy: Arc<dyn Entropy> = Arc::clone(&self.real.entropy);
        Env { clock: Arc::clone(self) as Arc<dyn Clock>, entropy }
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        match self.wall_frozen_ms.load(Ordering::Relaxed) {
            0 => self.real.clock.wall_ms().saturating_add_signed(self.wall_offset_ms.load(Ordering::Relaxed)),
            frozen => frozen,
        }
    }

    fn boot_ms(&self) -> u64 {
        let elapsed = self.real.clock.boot_ms() - self.booted_ms.load(Ordering::Relaxed);
        elapsed * u64::try_from(1000 + self.drift_permille).unwrap() / 1000
    }

    fn boot_id(&self) -> Option<BootId> {
        Some(u128::from(self.boots.load(Ordering::Relaxed)).to_le_bytes())
    }
}
