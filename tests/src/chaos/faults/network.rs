//! The network between nodes, and between clients and nodes.

use super::Field;
use crate::chaos::network::{Network, Place, Traffic, Way};
use crate::chaos::watch::leader_above;
use crate::rng::Rng;
use crate::wait::until;
use anyhow::{Context as _, Result, bail, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What was under way when a cut began has passed after this.
const SETTLE: Duration = Duration::from_millis(250);
/// How long the other side of a proof may take to show: bytes that come, a connection that is made again.
const SHOWS_WITHIN: Duration = Duration::from_secs(30);
/// The ends of a killed process's connections come at once, where it had any.
const UNTOLD_WITHIN: Duration = Duration::from_secs(3);
/// How long links are tried until one delivers late.
const LATE_WITHIN: Duration = Duration::from_secs(120);
/// How many leaders are cut off until one is replaced meanwhile.
const LEADERS_CUT: u32 = 5;

impl Field {
    /// Cuts some directions for at least `span`, until bytes were held; none may pass meanwhile.
    async fn cut(&self, ways: &[Way], span: Duration) -> Result<String> {
        let network = &self.fleet.network;
        network.cut(ways);
        sleep(SETTLE).await;
        let before = network.traffic(ways);
        sleep(span.saturating_sub(SETTLE)).await;
        let came = until("bytes to be held by a cut", SHOWS_WITHIN, async || {
            let held = network.traffic(ways).arrived - before.arrived;
            if held > 0 { Ok(held) } else { Err("none came".to_owned()) }
        });
        let came = came.await;
        let passed = network.traffic(ways).passed - before.passed;
        network.mend(ways);
        ensure!(passed == 0, "{passed} bytes passed a cut");
        Ok(format!("{} bytes came in {span:?}, 0 passed", came?))
    }

    /// Lets a rule of some directions stand for at least `span`, until some bytes met it; says how many.
    async fn touched(&self, ways: &[Way], span: Duration, of: fn(&Traffic) -> u64) -> Result<u64> {
        let met = || of(&self.fleet.network.traffic(ways));
        let before = met();
        sleep(span).await;
        until("bytes to meet a fault", SHOWS_WITHIN, async || match met() - before {
            0 => Err("none did".to_owned()),
            bytes => Ok(bytes),
        })
        .await
    }

    pub(super) async fn split(&self, rng: &mut Rng) -> Result<String> {
        let node = self.running(rng).await?;
        let held = self.cut(&self.fleet.network.around(node), rng.span(300, 5000)).await?;
        Ok(format!("node {}: {held}", node + 1))
    }

    pub(super) async fn split_leader(&self, rng: &mut Rng) -> Result<String> {
        // The others may lack a quorum because of another fault, and elect nobody in time.
        for _ in 0..LEADERS_CUT {
            let (node, shard, term) = self.any_leader(rng).await?;
            let (ways, span) = (self.fleet.network.around(node), rng.span(2500, 6000));
            let elected = leader_above(&self.fleet, shard, term, span * 2);
            let (held, elected) = tokio::join!(self.cut(&ways, span), elected);
            let (held, Ok((next, now))) = (held?, elected) else { continue };
            let led = format!("node {} leads shard {shard} in term {now} after {term}", next + 1);
            return Ok(format!("node {}: {held}; {led}", node + 1));
        }
        bail!("no leader that was cut off was replaced")
    }

    pub(super) async fn one_way(&self, rng: &mut Rng, out: bool) -> Result<String> {
        let (node, network) = (self.running(rng).await?, &self.fleet.network);
        let (cut, open) = (network.from(node), network.to(node));
        let (cut, open) = if out { (cut, open) } else { (open, cut) };
        let before = network.traffic(&open).arrived;
        let held = self.cut(&cut, rng.span(300, 5000)).await?;
        let other = network.traffic(&open).arrived - before;
        Ok(format!("node {}: {held}; {other} bytes the other way", node + 1))
    }

    pub(super) async fn ring(&self, rng: &mut Rng) -> Result<String> {
        let nodes = self.fleet.len();
        let forward = |from: usize, to: usize| (from + 1) % nodes == to;
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        let against = pairs.filter(|(from, to)| from != to && !forward(*from, *to));
        let ways: Vec<Way> = against.map(|(from, to)| (Place::Node(from), Place::Node(to))).collect();
        self.cut(&ways, rng.span(500, 4000)).await
    }

    pub(super) async fn flap(&self, rng: &mut Rng) -> Result<String> {
        let (node, times) = (self.running(rng).await?, 4 + rng.below(6));
        let ways = self.fleet.network.around(node);
        let mut last = String::new();
        for _ in 0..times {
            last = self.cut(&ways, rng.span(100, 600)).await?;
            sleep(rng.span(50, 400)).await;
        }
        Ok(format!("node {}: {times} cuts, of the last {last}", node + 1))
    }

    pub(super) async fn client_cut(&self, rng: &mut Rng) -> Result<String> {
        let (node, which) = (self.running(rng).await?, rng.below(3));
        let [to, from] = Network::clients_of(node);
        let ways = match which {
            0 => vec![to],
            1 => vec![from],
            _ => vec![to, from],
        };
        let held = self.cut(&ways, rng.span(300, 4000)).await?;
        Ok(format!("clients and node {}, {} of 2 ways: {held}", node + 1, ways.len()))
    }

    pub(super) async fn delay(&self, rng: &mut Rng) -> Result<String> {
        let (node, network, by) = (self.running(rng).await?, &self.fleet.network, rng.span(10, 150));
        let ways = network.around(node);
        network.change(&ways, |rule| rule.delay += by);
        let delayed = self.touched(&ways, rng.span(500, 5000), |traffic| traffic.delayed).await;
        network.change(&ways, |rule| rule.delay = rule.delay.saturating_sub(by));
        let delayed = delayed?;
        Ok(format!("{delayed} bytes around node {} came {by:?} later", node + 1))
    }

    pub(super) async fn loss(&self, rng: &mut Rng) -> Result<String> {
        let (node, network) = (self.running(rng).await?, &self.fleet.network);
        let made = || network.links_of(node).map(|link| link.counts().connections()).sum::<u64>();
        let (before, mut broken) = (made(), 0);
        for _ in 0..3 + rng.below(8) {
            for link in network.links_of(node) {
                if rng.coin() {
                    broken += link.reset();
                }
            }
            sleep(rng.span(50, 500)).await;
        }
        // A node that was just starting, or is overloaded, may have had none to break.
        let again = until("connections to be broken and made again", SHOWS_WITHIN, async || {
            if broken == 0 {
                broken = network.links_of(node).map(|link| link.reset()).sum();
            }
            let again = made() - before;
            if broken > 0 && again > 0 { Ok(again) } else { Err(format!("{broken} broken, {again} made")) }
        });
        let again = again.await?;
        Ok(format!("node {}: {broken} connections reset, {} made", node + 1, again))
    }

    pub(super) async fn slow_link(&self, rng: &mut Rng) -> Result<String> {
        let (node, network) = (self.running(rng).await?, &self.fleet.network);
        let (ways, rate) = (network.around(node), 20_000 + rng.below(180_000));
        network.change(&ways, |rule| rule.bytes_per_second = rate);
        let slowed = self.touched(&ways, rng.span(500, 5000), |traffic| traffic.slowed).await;
        network.change(&ways, |rule| rule.bytes_per_second = 0);
        let slowed = slowed?;
        Ok(format!("{slowed} bytes around node {} at {rate} a second", node + 1))
    }

    /// A node that was just starting, or had been cut off, may have no connection that ends: it is killed again then.
    pub(super) async fn half_open(&self, rng: &mut Rng) -> Result<String> {
        let ((node, _seat), network) = (self.seat(rng).await?, &self.fleet.network);
        let ways = network.from(node);
        let before = network.traffic(&ways).swallowed;
        network.change(&ways, |rule| rule.swallows_close = true);
        let deadline = Instant::now() + 2 * SHOWS_WITHIN;
        let mut kills = 0;
        let untold = loop {
            let killed = self.fleet.kill(node);
            kills += 1;
            let untold = until("ends that are not told", UNTOLD_WITHIN, async || {
                let untold = network.traffic(&ways).swallowed - before;
                if untold > 0 { Ok(untold) } else { Err("none".to_owned()) }
            });
            let untold = untold.await;
            sleep(rng.span(200, 3000)).await;
            let back = self.back(node).await;
            if untold.is_ok() || back.is_err() || killed.is_err() || Instant::now() >= deadline {
                break back.and(killed).and_then(|killed| Ok((killed, untold?)));
            }
        };
        network.change(&ways, |rule| rule.swallows_close = false);
        let (killed, untold) = untold?;
        Ok(format!("{killed}; {untold} ends were not told, by {kills} kills"))
    }

    pub(super) async fn late(&self, rng: &mut Rng) -> Result<String> {
        self.deliver_late(false, rng).await
    }

    pub(super) async fn late_client(&self, rng: &mut Rng) -> Result<String> {
        self.deliver_late(true, rng).await
    }

    /// A link may be down at the time because of another fault, or have nothing to say: others are tried.
    async fn deliver_late(&self, of_clients: bool, rng: &mut Rng) -> Result<String> {
        let deadline = Instant::now() + LATE_WITHIN;
        while Instant::now() < deadline {
            let to = self.running(rng).await?;
            let other =
                self.fleet.network.others(to).nth(rng.index(self.fleet.len() - 1)).context("no other")?;
            let from = if of_clients { Place::Clients } else { Place::Node(other) };
            if !of_clients && !self.fleet.runs(other) {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            let link = self.fleet.network.link(from, to);
            let (bytes, replaced) = link.deliver_late(rng.span(100, 600), Duration::from_secs(3)).await;
            if bytes > 0 && replaced {
                return Ok(format!("{bytes} bytes from {from:?} reached node {} late", to + 1));
            }
        }
        bail!("no byte arrived late")
    }

    pub(super) async fn duplicate(&self, rng: &mut Rng) -> Result<String> {
        let (node, network) = (self.running(rng).await?, &self.fleet.network);
        let repeated = || network.links_of(node).map(|link| link.counts().repeated()).sum::<u64>();
        let before = repeated();
        for link in network.links_of(node) {
            link.repeat(true);
            let _others_are_repeated_later = link.reset();
        }
        sleep(rng.span(1000, 5000)).await;
        let twice = until("messages to arrive twice", SHOWS_WITHIN, async || match repeated() - before {
            twice if twice > 10 => Ok(twice),
            twice => Err(format!("{twice} did")),
        });
        let twice = twice.await;
        for link in network.links_of(node) {
            link.repeat(false);
            let _others_were_not_repeated = link.reset();
        }
        Ok(format!("{} messages around node {} arrived twice", twice?, node + 1))
    }
}
