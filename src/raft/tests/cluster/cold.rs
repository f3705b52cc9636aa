//! Calls whose records only the disk has.

use crate::asks::{Connection, answer, ask_node, claim, complete, get, is_definite, release, token_of};
use crate::harness::{Cluster, Setup};
use crate::node::Storage;
use hapax_core::{Ask, ErrorCode, Reply, StateKind};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

/// A disk that stands still while it is held.
#[derive(Default)]
struct Gate {
    held: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        self.changed.wait_while(&mut self.held.lock(), |held| *held);
    }

    fn set(&self, held: bool) {
        *self.held.lock() = held;
        self.changed.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.set(false);
    }
}

async fn completed(cluster: &Cluster, key: &str) {
    let token = token_of(&cluster.ask(0, claim(key, 1, 0)).await);
    assert!(matches!(cluster.ask(0, complete(key, token, "done")).await.reply, Reply::Completed(_)));
}

/// One node over a disk that can be held. Only that has "old", which is completed, and "free", which was released; "young"
/// is completed and in memory.
async fn cluster() -> (Cluster, Arc<Gate>) {
    let mut cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(1) }).await;
    completed(&cluster, "old").await;
    let token = token_of(&cluster.ask(0, claim("free", 1, 0)).await);
    cluster.ask(0, release("free", token)).await;
    cluster.stop(0).await;
    cluster.start(0).await;
    cluster.wait_ready().await;
    completed(&cluster, "young").await;
    let Storage::Simulated(_, engine) = &cluster.homes[0].storage else { panic!("it is in memory") };
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    engine.set_on_get(move || held.pass());
    (cluster, gate)
}

fn is_replay(reply: &Reply) -> bool {
    matches!(reply, Reply::Replayed(replayed) if replayed.result.as_slice() == b"done")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_waits_for_the_disk_holds_up_no_other_call() {
    let (cluster, gate) = cluster().await;
    gate.set(true);
    let connection = Connection::new();
    let asks: Vec<Ask> = (2..40).map(|n| claim("old", n, 0)).chain([get("old", 0)]).collect();
    let mut waiting = connection.send(cluster.node(0), asks, 30_000);
    for n in 2..40 {
        assert!(is_replay(&ask_node(cluster.node(0), claim("young", n, 0), 10_000).await.reply));
    }
    assert!(waiting.iter_mut().all(|(_, receiver)| receiver.try_recv().is_err()), "the disk stands still");
    gate.set(false);
    for (_, receiver) in waiting {
        match answer(receiver).await.reply {
            Reply::State(view) => assert_eq!(view.state, StateKind::Completed),
            reply => assert!(is_replay(&reply), "{reply:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_does_not_wait_for_the_disk() {
    let (cluster, gate) = cluster().await;
    gate.set(true);
    let refused = ask_node(cluster.node(0), claim("old", 2, 0), 200).await;
    assert!(is_definite(&refused, ErrorCode::Unavailable), "{refused:?}");
    assert!(is_replay(&ask_node(cluster.node(0), claim("young", 3, 0), 10_000).await.reply));
    gate.set(false);
    assert!(is_replay(&ask_node(cluster.node(0), claim("old", 4, 0), 10_000).await.reply));
}

/// What was read aside may turn out to need an entry, and what stands behind it in its frame stays there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_a_released_key_that_only_the_disk_has_is_granted_once() {
    let (cluster, _gate) = cluster().await;
    let connection = Connection::new();
    let mut answers = Vec::new();
    for (_, receiver) in
        connection.send(cluster.node(0), vec![claim("free", 2, 0), claim("free", 3, 0)], 10_000)
    {
        answers.push(answer(receiver).await);
    }
    token_of(&answers[0]);
    assert!(matches!(answers[1].reply, Reply::InFlight(_)), "{answers:?}");
}
