//! Wall clocks of one node at a time: a majority with the right time is left, as the protocol's clocks need.
//! No node is killed together with all others meanwhile, since after such a cold start a jump is allowed.

use super::Field;
use crate::inject::Clock;
use crate::rng::Rng;
use crate::wait::until;
use anyhow::Result;
use std::time::Duration;
use tokio::time::sleep;

/// How long a node may take to read its clock; another fault may take it away meanwhile.
const READ_WITHIN: Duration = Duration::from_secs(90);

impl Field {
    pub(super) async fn clock_jump(&self, rng: &mut Rng, sign: i64) -> Result<String> {
        let offset_ms = sign * (1000_i64 << rng.below(12)).min(3_600_000);
        self.wrong_clock(rng, Clock { offset_ms, ..Clock::default() }).await
    }

    pub(super) async fn clock_drift(&self, rng: &mut Rng) -> Result<String> {
        let drift = [-200, -50, 50, 200][rng.index(4)];
        let frozen = rng.below(3) == 0;
        self.wrong_clock(rng, Clock { offset_ms: 0, drift, frozen }).await
    }

    async fn wrong_clock(&self, rng: &mut Rng, clock: Clock) -> Result<String> {
        let (_clocks, node) = (self.fleet.clocks.write().await, self.running(rng).await?);
        let before = self.fleet.counts(node).wrong_times;
        self.fleet.order(node, |orders| orders.clock = clock)?;
        sleep(rng.span(1000, 6000)).await;
        let read = until("a wrong time to be read", READ_WITHIN, async || {
            let read = self.fleet.counts(node).wrong_times - before;
            if read > 0 { Ok(read) } else { Err("none was".to_owned()) }
        });
        let read = read.await;
        self.fleet.order(node, |orders| orders.clock = Clock::default())?;
        let how = if clock.frozen {
            "stood still".to_owned()
        } else if clock.drift != 0 {
            format!("was off by {} in a thousand", clock.drift)
        } else {
            format!("was off by {} ms", clock.offset_ms)
        };
        Ok(format!("the clock of node {} {how}, and was read {} times", node + 1, read?))
    }
}
