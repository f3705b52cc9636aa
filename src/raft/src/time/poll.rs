//! Keeps the readings of the peers' wall clocks fresh.

use crate::context::Context;
use crate::stop::Stopping;
use futures_util::future::join_all;
use hapax_wire::peer::{Clock, PeerBody};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often every peer is asked; well below the time for which a reading counts.
const EVERY: Duration = Duration::from_millis(1_000);

/// Asks until `stop`.
pub async fn run(context: Arc<Context>, mut stop: Stopping) {
    loop {
        join_all(context.links.iter().map(|link| async {
            let sent_boot_ms = context.env.clock.boot_ms();
            if let Ok(PeerBody::ClockReply(reply)) = link.ask(Clock::default(), 32, EVERY).await {
                let now = context.env.clock.boot_ms();
                context.readings.lock().note(link.peer(), reply.wall_ms, sent_boot_ms, now);
            }
        }))
        .await;
        tokio::select! {
            () = sleep(EVERY) => {}
            () = stop.wait() => return,
        }
    }
}
