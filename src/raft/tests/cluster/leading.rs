//! Who leads: spread evenly, handed over before a node goes, and back once it is there again.

use crate::asks::{ask_node, claim, complete, get, token_of};
use crate::harness::{Cluster, Setup};
use hapax_core::{Reply, StateKind};
use hapax_raft::config::Timing;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep};

fn leads(cluster: &Cluster) -> Vec<usize> {
    let shards = cluster.shards();
    let of = |i: usize| (0..shards).filter(|shard| cluster.leader_of(*shard) == Some(i)).count();
    (0..cluster.nodes.len()).map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leads_are_spread_evenly_handed_over_at_shutdown_and_spread_again_after_it() {
    let mut cluster = Cluster::form_with(Setup { shards: 6, ..Setup::of(3) }).await;
    cluster.wait("leads are spread evenly", |cluster| leads(cluster) == [2, 2, 2]).await;
    assert_eq!(cluster.node(1).node.hand_over(Duration::from_secs(10)).await, 0);
    cluster
        .wait("its leads are led elsewhere", |cluster| {
            let leads = leads(cluster);
            leads[1] == 0 && leads.iter().sum::<usize>() == 6
        })
        .await;
    cluster.stop(1).await;
    cluster.start(1).await;
    cluster.wait("leads are spread evenly again", |cluster| leads(cluster) == [2, 2, 2]).await;
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_node_is_gone_is_followed_as_soon_as_its_lease_is_over() {
    // By silence alone a follower would stand after 11.9 s at the earliest; the lease takes 6 s.
    let timing = Timing { election_min_ms: 11_900, election_max_ms: 12_000, ..Setup::of(3).timing };
    let mut cluster = Cluster::form_with(Setup { shards: 1, timing, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let follower = (leader + 1) % 3;
    token_of(&cluster.ask(leader, claim("before", 1, 0)).await);
    cluster.cut_power(leader, 1);
    let gone = Instant::now();
    assert!(matches!(cluster.insist(follower, claim("after", 1, 0)).await, Reply::Granted(_)));
    let took = gone.elapsed();
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(10), "{took:?}");
}

/// Writers that claim and complete keys until they are told to stop, and what they were told.
struct Load {
    running: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<HashMap<String, String>>>,
}

impl Load {
    fn start(cluster: &Arc<RwLock<Cluster>>, writers: u64) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let write = |writer| tokio::spawn(write(Arc::clone(cluster), writer, Arc::clone(&running)));
        Self { running: Arc::clone(&running), writers: (0..writers).map(write).collect() }
    }

    /// Ends it; returns every key whose completion was acknowledged.
    async fn stop(self) -> HashMap<String, String> {
        self.running.store(false, Ordering::Relaxed);
        let mut acknowledged = HashMap::new();
        for writer in self.writers {
            acknowledged.extend(writer.await.unwrap());
        }
        acknowledged
    }
}

async fn write(
    cluster: Arc<RwLock<Cluster>>,
    writer: u64,
    running: Arc<AtomicBool>,
) -> HashMap<String, String> {
    let mut acknowledged = HashMap::new();
    let mut n = 0;
    while running.load(Ordering::Relaxed) {
        n += 1;
        let key = format!("w{writer}-{n}");
        let result = format!("result of {key}");
        let Some(granted) =
            persist(&cluster, writer, &running, || claim(&key, writer * 1_000_000 + n, 0)).await
        else {
            break;
        };
        let token = match granted {
            Reply::Granted(granted) => granted.token,
            other => panic!("{key} has one caller: {other:?}"),
        };
        match persist(&cluster, writer + 1, &running, || complete(&key, token, &result)).await {
            Some(Reply::Completed(_) | Reply::AlreadyCompleted) => drop(acknowledged.insert(key, result)),
            Some(other) => panic!("{key}: {other:?}"),
            None => break,
        }
        sleep(Duration::from_millis(2)).await;
    }
    acknowledged
}

/// Sends a request again, by one node after another, until it is answered or the load ends.
async fn persist(
    cluster: &RwLock<Cluster>,
    from: u64,
    running: &AtomicBool,
    ask: impl Fn() -> hapax_core::Ask,
) -> Option<Reply> {
    let mut i = usize::try_from(from).unwrap();
    while running.load(Ordering::Relaxed) {
        i += 1;
        let answer = {
            let cluster = cluster.read().await;
            match &cluster.nodes[i % cluster.nodes.len()] {
                Some(node) => Some(ask_node(node, ask(), 1_000).await.reply),
                None => None,
            }
        };
        match answer {
            Some(Reply::Error(_)) | None => sleep(Duration::from_millis(10)).await,
            reply => return reply,
        }
    }
    None
}

/// Every acknowledged result comes back byte for byte, from every node.
async fn check_replays(cluster: &Cluster, acknowledged: &HashMap<String, String>, nodes: usize) {
    for (n, (key, result)) in acknowledged.iter().enumerate() {
        match cluster.ask(n % nodes, claim(key, 9, 0)).await.reply {
            Reply::Replayed(replayed) => {
                assert_eq!((replayed.result.as_slice(), replayed.attempt), (result.as_bytes(), 1), "{key}");
            }
            other => panic!("{key} was acknowledged: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_loses_nothing_that_was_acknowledged() {
    let cluster = Cluster::form_with(Setup { shards: 3, ..Setup::of(3) }).await;
    let cluster = Arc::new(RwLock::new(cluster));
    let load = Load::start(&cluster, 8);
    for i in 0..3 {
        sleep(Duration::from_millis(500)).await;
        cluster.read().await.node(i).node.hand_over(Duration::from_secs(5)).await;
        cluster.write().await.stop(i).await;
        sleep(Duration::from_millis(300)).await;
        cluster.write().await.start(i).await;
        cluster.read().await.wait_ready().await;
    }
    let acknowledged = load.stop().await;
    let cluster = cluster.read().await;
    assert!(acknowledged.len() > 100, "only {} keys were completed", acknowledged.len());
    check_replays(&cluster, &acknowledged, 3).await;
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_of_one_node_and_then_of_all_lose_nothing_that_was_acknowledged() {
    let cluster = Cluster::form_with(Setup { shards: 3, ..Setup::of(3) }).await;
    let cluster = Arc::new(RwLock::new(cluster));
    let load = Load::start(&cluster, 8);
    for (seed, i) in (1..).zip([0, 1, 2, 1]) {
        sleep(Duration::from_millis(700)).await;
        cluster.write().await.cut_power(i, seed);
        sleep(Duration::from_millis(300)).await;
        cluster.write().await.start(i).await;
        cluster.read().await.wait_ready().await;
    }
    sleep(Duration::from_millis(500)).await;
    {
        let mut cluster = cluster.write().await;
        for i in 0..3 {
            cluster.cut_power(i, 40 + i as u64);
        }
        for i in 0..3 {
            cluster.start(i).await;
        }
        cluster.wait_ready().await;
    }
    sleep(Duration::from_millis(500)).await;
    let acknowledged = load.stop().await;
    let cluster = cluster.read().await;
    assert!(acknowledged.len() > 100, "only {} keys were completed", acknowledged.len());
    check_replays(&cluster, &acknowledged, 3).await;
    cluster.check_agreement().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_before_a_change_of_leader_still_completes_after_it() {
    let cluster = Cluster::form_with(Setup { shards: 1, ..Setup::of(3) }).await;
    let leader = cluster.leader_of(0).unwrap();
    let token = token_of(&cluster.ask(leader, claim("k", 1, 0)).await);
    cluster.node(leader).node.hand_over(Duration::from_secs(10)).await;
    cluster.wait("another leads", |cluster| cluster.leader_of(0).is_some_and(|now| now != leader)).await;
    assert!(matches!(cluster.ask(leader, complete("k", token, "x")).await.reply, Reply::Completed(_)));
    match cluster.ask(leader, get("k", 0)).await.reply {
        Reply::State(view) => assert_eq!(view.state, StateKind::Completed),
        other => panic!("{other:?}"),
    }
}
