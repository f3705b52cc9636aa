//! Short leases that change hands while nodes fail and clocks are wrong: two holders never act at
//! the same time.
//!
//! A holder counts its lease from its first send on its own monotonic clock and stops at 0.9 of it.
//! Here all holders share a clock, so that their times can be held against each other.

use crate::asks::{ask_node, claim_for, release};
use crate::chaos::trouble;
use crate::harness::{Cluster, Setup};
use hapax_core::{Reply, Token};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep, sleep_until};

const WORKERS: u64 = 9;
const KEYS: u64 = 4;
const LEASE_MS: u64 = 1_000;
const HOUR_MS: i64 = 3_600_000;

/// From when until when each token of a key was acted under.
type Holds = Mutex<BTreeMap<String, BTreeMap<Token, (Instant, Instant)>>>;

async fn work(number: u64, cluster: Arc<RwLock<Cluster>>, holds: Arc<Holds>, running: Arc<AtomicBool>) {
    for n in 0.. {
        let key = format!("k{}", (number + n) % KEYS);
        let nonce = number * 1_000_000 + n;
        let first_sent = Instant::now();
        let granted = loop {
            if !running.load(Ordering::Relaxed) {
                return;
            }
            match ask(&cluster, number + n, claim_for(&key, nonce, 0, Some(LEASE_MS))).await {
                // The same nonce finds a grant again whose reply was lost.
                Some(Reply::Error(_)) | None => sleep(Duration::from_millis(10)).await,
                Some(Reply::Granted(granted)) => break Some(granted.token),
                Some(Reply::InFlight(_) | Reply::Ended(_)) => break None,
                Some(other) => panic!("{other:?}"),
            }
        };
        let (now, stops) = (Instant::now(), first_sent + Duration::from_millis(LEASE_MS * 9 / 10));
        let Some(token) = granted.filter(|_| now < stops) else {
            sleep(Duration::from_millis(30)).await;
            continue;
        };
        let gives_back = nonce.is_multiple_of(2);
        let stops = if gives_back { stops.min(now + Duration::from_millis(300)) } else { stops };
        let before = holds.lock().entry(key.clone()).or_default().insert(token, (now, stops));
        assert!(before.is_none(), "{key}: {token:?} was granted twice");
        sleep_until(stops).await;
        if gives_back {
            ask(&cluster, number, release(&key, token)).await;
        }
    }
}

async fn ask(cluster: &RwLock<Cluster>, from: u64, ask: hapax_core::Ask) -> Option<Reply> {
    let cluster = cluster.read().await;
    let node = cluster.nodes[usize::try_from(from).unwrap() % cluster.nodes.len()].as_ref()?;
    Some(ask_node(node, ask, 1_000).await.reply)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_holders_never_act_at_the_same_time_whatever_happens_to_nodes_and_clocks() {
    let cluster = Cluster::form_with(Setup { shards: 2, wired: true, ..Setup::of(3) }).await;
    let cluster = Arc::new(RwLock::new(cluster));
    let (holds, running) = (Arc::new(Holds::default()), Arc::new(AtomicBool::new(true)));
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            tokio::spawn(work(number, Arc::clone(&cluster), Arc::clone(&holds), Arc::clone(&running)))
        })
        .collect();
    // Most wall clocks are wrong, and change. No step is a cold start, which would be allowed to jump.
    for (step, offset) in [0, 1, 2, 3, 5, 6, 7].into_iter().zip([HOUR_MS, -HOUR_MS].into_iter().cycle()) {
        for node in [step % 3, (step + 1) % 3] {
            cluster.read().await.homes[usize::try_from(node).unwrap()].clock.set_wall_offset(offset);
        }
        trouble(&cluster, step).await;
    }
    running.store(false, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    let mut changes = 0;
    for (key, holds) in holds.lock().iter() {
        // Tokens rise with every change of hands.
        for ((first, (_, ends)), (second, (begins, _))) in holds.iter().zip(holds.iter().skip(1)) {
            let overlap = ends.saturating_duration_since(*begins);
            assert!(overlap.is_zero(), "{key}: {first:?} and {second:?} were held together for {overlap:?}");
            changes += 1;
        }
    }
    assert!(changes > 20, "the keys changed hands only {changes} times");
}
