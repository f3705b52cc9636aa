//! Cables pulled and packets lost, below TCP: for runs whose nodes have interfaces of their own.

use super::Field;
use crate::chaos::wires::Wires;
use crate::rng::Rng;
use crate::wait::until;
use anyhow::{Result, ensure};
use std::time::Duration;
use tokio::time::sleep;

/// How long it may take until TCP has sent something again.
const SHOWS_WITHIN: Duration = Duration::from_secs(30);
/// What was on its way when a cable was pulled has arrived or is lost after this.
const SETTLE: Duration = Duration::from_millis(50);

impl Field {
    /// The node's process is left alone meanwhile: a new one has nothing to send again.
    pub(super) async fn cable_pulled(&self, rng: &mut Rng) -> Result<String> {
        let (node, _seat) = self.seat(rng).await?;
        let (span, again) = (rng.span(300, 5000), Wires::sent_again(node)?);
        Wires::pull(node)?;
        let pulled = pulled(node, span, again).await;
        Wires::plug(node)?;
        let again = pulled?;
        until("the carrier to be back", SHOWS_WITHIN, async || match Wires::has_carrier(node) {
            Ok(true) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await?;
        Ok(format!(
            "node {}: no carrier for {span:?}, 0 packets, {again} segments sent again into it",
            node + 1
        ))
    }

    pub(super) async fn packets_dropped(&self, rng: &mut Rng) -> Result<String> {
        let (node, _seat) = self.seat(rng).await?;
        let (percent, span, again) = (2 + rng.below(24), rng.span(500, 5000), Wires::sent_again(node)?);
        Wires::lose(node, percent)?;
        sleep(span).await;
        let lost = until("packets to be dropped, and sent again", SHOWS_WITHIN, async || {
            match (Wires::lost(node), Wires::sent_again(node)) {
                (Ok(lost), Ok(now)) if lost > 0 && now > again => Ok(now - again),
                other => Err(format!("{other:?}")),
            }
        });
        let lost = lost.await;
        let dropped = Wires::keep(node)?;
        let again = lost?;
        Ok(format!("node {}: {dropped} packets dropped, {percent} %, {again} segments sent again", node + 1))
    }
}

/// What a pulled cable shows: no carrier, no packet, and TCP that tries again.
async fn pulled(node: usize, span: Duration, again: u64) -> Result<u64> {
    sleep(SETTLE).await;
    let before = Wires::packets(node)?;
    ensure!(!Wires::has_carrier(node)?, "the node still sees a carrier");
    sleep(span.saturating_sub(SETTLE)).await;
    let tried = until("segments to be sent again", SHOWS_WITHIN, async || match Wires::sent_again(node) {
        Ok(now) if now > again => Ok(now - again),
        other => Err(format!("{other:?}")),
    });
    let tried = tried.await?;
    let packets = Wires::packets(node)? - before;
    ensure!(packets == 0, "{packets} packets went over a cable that was pulled");
    Ok(tried)
}
