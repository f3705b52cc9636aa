//! The orders as the process under test follows them.

use super::desk::{Counts, Desk, Orders};
use parking_lot::{Condvar, Mutex};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often orders are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Orders and counts of this process.
#[derive(Debug)]
pub struct Faults {
    desk: Desk,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) orders: Orders,
    /// When these orders were read: a drift counts from here.
    pub(super) since: Instant,
    pub(super) counts: Counts,
    reported: Counts,
}

impl Faults {
    /// Follows the orders in a directory, from now on.
    #[must_use]
    pub fn start(dir: &Path) -> Arc<Self> {
        let desk = Desk::new(dir);
        let (orders, counts) = (desk.orders(), desk.counts());
        let state = State { orders, since: Instant::now(), counts, reported: counts };
        let faults = Arc::new(Self { desk, state: Mutex::new(state), changed: Condvar::new() });
        faults.look();
        let watched = Arc::downgrade(&faults);
        std::thread::spawn(move || watch(&watched));
        faults
    }

    /// Takes new orders over, and reports what was counted.
    fn look(&self) {
        let orders = self.desk.orders();
        let mut state = self.state.lock();
        if orders.number != state.counts.number {
            if orders.clock != state.orders.clock {
                state.since = Instant::now();
            }
            state.orders = orders;
            state.counts.number = orders.number;
            self.changed.notify_all();
        }
        if state.counts != state.reported {
            self.report(&mut state);
        }
    }

    fn report(&self, state: &mut State) {
        // A directory that is gone has nobody who reads the counts either.
        let _gone = self.desk.report(&state.counts);
        state.reported = state.counts;
    }

    /// Looks at the orders and counts.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock())
    }

    /// Like [`Faults::with`]; the counts are on disk before it returns, since the process may end now.
    pub(super) fn with_reported(&self, look: impl FnOnce(&mut State) -> bool) -> bool {
        let mut state = self.state.lock();
        let injected = look(&mut state);
        if injected {
            self.report(&mut state);
        }
        injected
    }

    /// Holds the caller for as long as the disk is to be stalled, then for as long as it is to be slow.
    pub(super) fn hold(&self, is_sync: bool) {
        let mut state = self.state.lock();
        if state.orders.disk.stalled {
            state.counts.stalled += 1;
            while state.orders.disk.stalled {
                self.changed.wait(&mut state);
            }
        }
        let slow_ms = state.orders.disk.slow_ms;
        if is_sync && slow_ms > 0 {
            state.counts.slow += 1;
            let until = Instant::now() + Duration::from_millis(slow_ms);
            while !self.changed.wait_until(&mut state, until).timed_out() {}
        }
    }

    /// Waits a moment, or until the orders change.
    fn pause(&self) {
        let mut state = self.state.lock();
        self.changed.wait_for(&mut state, LOOK_EVERY);
    }
}

fn watch(faults: &Weak<Faults>) {
    while let Some(faults) = faults.upgrade() {
        faults.look();
        faults.pause();
    }
}
