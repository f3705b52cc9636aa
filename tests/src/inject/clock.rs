//! A wall clock that is wrong as ordered. The boot clock is the machine's: no kernel steps it.

use super::faults::Faults;
use hapax_raft::env::{BootId, Clock};
use std::sync::Arc;
use std::time::Instant;

pub(super) struct WrongClock {
    real: Arc<dyn Clock>,
    faults: Arc<Faults>,
}

impl WrongClock {
    pub(super) fn new(real: Arc<dyn Clock>, faults: Arc<Faults>) -> Self {
        Self { real, faults }
    }
}

impl Clock for WrongClock {
    fn wall_ms(&self) -> u64 {
        let real = self.real.wall_ms();
        self.faults.with(|state| {
            let order = state.orders.clock;
            if order == super::desk::Clock::default() {
                return real;
            }
            state.counts.wrong_times += 1;
            let elapsed = Instant::now().saturating_duration_since(state.since);
            let elapsed = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
            let gained = if order.frozen { -elapsed } else { elapsed.saturating_mul(order.drift) / 1000 };
            real.saturating_add_signed(order.offset_ms.saturating_add(gained))
        })
    }

    fn boot_ms(&self) -> u64 {
        self.real.boot_ms()
    }

    fn boot_id(&self) -> Option<BootId> {
        self.real.boot_id()
    }
}
