//! Many callers on the same keys while nodes are cut off, lose power and hand over.
//!
//! No lease lapses in this test, so that a key may be granted once and never again, whatever
//! happens to the nodes; and what was acknowledged comes back byte for byte.

use crate::asks::{ask_node, claim_for, complete, get};
use crate::harness::{Cluster, Setup};
use hapax_core::{Reply, StateKind, Token};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::time::sleep;

const WORKERS: u64 = 9;
/// So many workers are after the same key at the same time.
const RIVALS: u64 = 3;

/// What was seen of one key.
#[derive(Default)]
struct Seen {
    tokens: BTreeSet<Token>,
    results: BTreeSet<String>,
    is_acknowledged: bool,
}

#[derive(Default)]
struct History(Mutex<BTreeMap<String, Seen>>);

impl History {
    fn note(&self, key: &str, change: impl FnOnce(&mut Seen)) {
        change(self.0.lock().entry(key.to_owned()).or_default());
    }

    fn is_acknowledged(&self, key: &str) -> bool {
        self.0.lock().get(key).is_some_and(|seen| seen.is_acknowledged)
    }
}

struct Worker {
    number: u64,
    cluster: Arc<RwLock<Cluster>>,
    history: Arc<History>,
    running: Arc<AtomicBool>,
}

impl Worker {
    async fn run(self) {
        for n in 0.. {
            if !self.running.load(Ordering::Relaxed) {
                return;
            }
            let key = format!("k{}-{n}", self.number / RIVALS);
            self.bring_to_its_end(&key, self.number * 1_000_000 + n).await;
        }
    }

    /// Claims a key until it is completed, by this worker or another.
    async fn bring_to_its_end(&self, key: &str, nonce: u64) {
        loop {
            let acknowledged = self.history.is_acknowledged(key);
            let wait_ms = if nonce.is_multiple_of(2) { 1_500 } else { 0 };
            let Some(reply) = self.ask(claim_for(key, nonce, wait_ms, Some(600_000))).await else { return };
            match reply {
                Reply::Granted(granted) => {
                    assert!(!acknowledged, "{key} was granted after its result was acknowledged");
                    self.history.note(key, |seen| seen.tokens.extend([granted.token]));
                    self.complete(key, granted.token).await;
                }
                Reply::Replayed(replayed) => {
                    let result = String::from_utf8(replayed.result.as_slice().to_vec()).unwrap();
                    self.history.note(key, |seen| seen.results.extend([result]));
                    return;
                }
                Reply::InFlight(_) => {
                    assert!(!acknowledged, "{key} was running after its result was acknowledged");
                    sleep(Duration::from_millis(20)).await;
                }
                Reply::Error(_) => sleep(Duration::from_millis(10)).await,
                other => panic!("{key}: {other:?}"),
            }
        }
    }

    async fn complete(&self, key: &str, token: Token) {
        let result = format!("{key} by {}", self.number);
        loop {
            match self.ask(complete(key, token, &result)).await {
                Some(Reply::Completed(_) | Reply::AlreadyCompleted) => {
                    return self.history.note(key, |seen| {
                        seen.is_acknowledged = true;
                        seen.results.extend([result]);
                    });
                }
                Some(Reply::Error(_)) => sleep(Duration::from_millis(10)).await,
                Some(other) => panic!("{key} is ours: {other:?}"),
                None => return,
            }
        }
    }

    /// Asks any node; none once the test ends.
    async fn ask(&self, ask: hapax_core::Ask) -> Option<Reply> {
        let mut i = usize::try_from(self.number).unwrap();
        while self.running.load(Ordering::Relaxed) {
            i += 1;
            {
                let cluster = self.cluster.read().await;
                if let Some(node) = &cluster.nodes[i % cluster.nodes.len()] {
                    return Some(ask_node(node, ask, 2_000).await.reply);
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
        None
    }
}

/// One thing that goes wrong, and its end.
pub(crate) async fn trouble(cluster: &RwLock<Cluster>, step: u64) {
    let i = usize::try_from(step % 3).unwrap();
    let other = (i + 1) % 3;
    match step % 5 {
        0 => {
            cluster.read().await.isolate(i, true);
            sleep(Duration::from_millis(1_500)).await;
            cluster.read().await.isolate(i, false);
        }
        1 => {
            cluster.write().await.cut_power(i, step);
            sleep(Duration::from_millis(400)).await;
            cluster.write().await.start(i).await;
        }
        2 => {
            // One cannot be heard and another loses its power: no quorum.
            cluster.read().await.mute(other, true);
            sleep(Duration::from_millis(300)).await;
            cluster.write().await.cut_power(i, step);
            sleep(Duration::from_millis(600)).await;
            cluster.write().await.start(i).await;
            cluster.read().await.mute(other, false);
        }
        3 => drop(cluster.read().await.node(i).node.hand_over(Duration::from_secs(2)).await),
        _ => {
            let mut cluster = cluster.write().await;
            for node in 0..3 {
                cluster.cut_power(node, step + node as u64);
            }
            for node in 0..3 {
                cluster.start(node).await;
            }
        }
    }
    sleep(Duration::from_millis(1_200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_the_nodes_each_key_is_granted_once_and_its_result_stays() {
    let cluster = Cluster::form_with(Setup { shards: 3, wired: true, ..Setup::of(3) }).await;
    let cluster = Arc::new(RwLock::new(cluster));
    let (history, running) = (Arc::new(History::default()), Arc::new(AtomicBool::new(true)));
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let (cluster, history, running) =
                (Arc::clone(&cluster), Arc::clone(&history), Arc::clone(&running));
            tokio::spawn(Worker { number, cluster, history, running }.run())
        })
        .collect();
    for step in 0..10 {
        trouble(&cluster, step).await;
    }
    cluster.read().await.wait_ready().await;
    sleep(Duration::from_millis(500)).await;
    running.store(false, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    let cluster = cluster.read().await;
    let seen = std::mem::take(&mut *history.0.lock());
    let history = seen.into_iter().map(|(key, seen)| {
        assert!(seen.tokens.len() <= 1, "{key} was granted as {:?}", seen.tokens);
        assert!(seen.results.len() <= 1, "{key} gave {:?}", seen.results);
        (key, seen.results.first().cloned(), seen.is_acknowledged)
    });
    let history: Vec<_> = history.collect();
    let acknowledged = history.iter().filter(|(_, _, is_acknowledged)| *is_acknowledged).count();
    assert!(acknowledged > 100, "only {acknowledged} keys were completed");
    for (n, (key, result, is_acknowledged)) in history.iter().enumerate() {
        match cluster.ask(n % 3, get(key, 0)).await.reply {
            Reply::State(view) if *is_acknowledged => {
                assert_eq!(view.state, StateKind::Completed, "{key}");
                let detail = view.detail.unwrap();
                let kept = detail.outcome.as_ref().map(|kept| kept.result.as_slice());
                assert_eq!(kept, result.as_ref().map(String::as_bytes), "{key}");
            }
            Reply::State(_) => {}
            other => panic!("{other:?}"),
        }
    }
    cluster.check_agreement().await;
}
