//! A whole node in this process: its start, its service, what it refuses to start with, its end.

use super::*;
use crate::config::{
    AnomalySection, ClusterSection, Engine, HttpSection, LimitsSection, LogSection, NodeSection, PeerSection,
    StorageSection, TimingSection,
};
use hapax_client::{ClaimReply, ClaimRequest, Client, ClientConfig, CompleteReply};
use hapax_core::request::CompleteAsk;
use hapax_core::{Outcome, OutcomeClass, PolicyTable};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A configuration of one node in `dir`, and its ports.
async fn node(dir: &Path) -> (Config, Ports) {
    let mut config = Config {
        node: NodeSection {
            name: "node-1".to_owned(),
            data_dir: dir.join("data"),
            client_listen: "127.0.0.1:0".to_owned(),
            peer_listen: "127.0.0.1:0".to_owned(),
            threads: None,
        },
        cluster: ClusterSection {
            id: "00112233445566778899aabbccddeeff".to_owned(),
            shards: 4,
            replication: Some(1),
            nodes: Vec::new(),
        },
        storage: StorageSection { engine: Engine::Fjall, reserve_bytes: 0, ..StorageSection::default() },
        timing: TimingSection {
            heartbeat_ms: 50,
            election_min_ms: 450,
            election_max_ms: 600,
            shutdown_ms: 2_000,
        },
        limits: LimitsSection::default(),
        http: HttpSection { listen: "127.0.0.1:0".to_owned(), ..HttpSection::default() },
        log: LogSection::default(),
        anomaly: AnomalySection::default(),
        policies: PolicyTable::default(),
    };
    let ports = Ports::bind(&config).await.unwrap();
    config.cluster.nodes.push(PeerSection {
        name: "node-1".to_owned(),
        peer: ports.peer.local_addr().unwrap().to_string(),
        client: ports.client.local_addr().unwrap().to_string(),
        zone: String::new(),
    });
    (config, ports)
}

async fn start(config: Config, ports: Ports) -> anyhow::Result<Running> {
    let started = Running::start(config, World::real(), ports, Stop::new()).await?;
    Ok(started.expect("nobody told it to stop"))
}

async fn get(addr: std::net::SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn ready(addr: std::net::SocketAddr) {
    let ready = async {
        while !get(addr, "/readyz").await.starts_with("HTTP/1.1 200") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ready).await.expect("the node becomes ready");
}

async fn claim(addr: &str) -> ClaimReply {
    let client = Client::connect(ClientConfig::from_list(addr)).await.unwrap();
    let address = hapax_client::address("acme", "pay", "k").unwrap();
    let claim = ClaimRequest::new(address.clone()).fingerprint(hapax_client::fingerprint::bytes(b""));
    let reply = client.claim(claim).await.unwrap().reply;
    if let ClaimReply::Granted(granted) = &reply {
        let outcome = Outcome {
            class: OutcomeClass::Success,
            result: hapax_core::Blob::from("paid"),
            metadata: hapax_core::Metadata::default(),
        };
        let complete = CompleteAsk { address, token: granted.token, outcome, retention_ms: None };
        let completed = client.complete(complete).await.unwrap().reply;
        assert!(matches!(completed, CompleteReply::Completed(_)), "{completed:?}");
    }
    reply
}

/// Every metric that a rule or an alert reads.
fn metrics_of_rules() -> std::collections::BTreeSet<String> {
    let rules = concat!(
        include_str!("../../../../deploy/prometheus/rules.yml"),
        include_str!("../../../../deploy/prometheus/alerts.yml")
    );
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("hapax_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_stops_and_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let (config, ports) = node(dir.path()).await;
    let (client, http) = (config.cluster.nodes[0].client.clone(), ports.http.local_addr().unwrap());
    let running = start(config.clone(), ports).await.unwrap();
    ready(http).await;
    assert!(matches!(claim(&client).await, ClaimReply::Granted(_)));

    let metrics = get(http, "/metrics").await;
    for name in metrics_of_rules() {
        let found = metrics.lines().any(|line| {
            line.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        });
        assert!(found, "a rule reads {name}, which the node does not have");
    }
    assert!(metrics.contains("hapax_operations_total{reply=\"granted\",verb=\"claim\"} 1\n"), "{metrics}");
    running.stop().await.unwrap();

    // The same directory and the same ports, as after a restart of the process.
    let (again, _other) = node(dir.path()).await;
    let again = Config { cluster: config.cluster.clone(), ..again };
    let ports = Ports {
        client: tokio::net::TcpListener::bind(&client).await.unwrap(),
        peer: tokio::net::TcpListener::bind(&config.cluster.nodes[0].peer).await.unwrap(),
        http: tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
    };
    let http = ports.http.local_addr().unwrap();
    let running = start(again, ports).await.unwrap();
    ready(http).await;
    match claim(&client).await {
        ClaimReply::Replayed(replayed) => assert_eq!(replayed.result.as_slice(), b"paid"),
        other => panic!("not remembered: {other:?}"),
    }
    running.stop().await.unwrap();
}

/// Why a node refuses to start.
async fn refusal(config: Config, ports: Ports) -> String {
    match start(config, ports).await {
        Ok(_) => panic!("it started"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_the_data_directory_is_refused_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (config, ports) = node(dir.path()).await;
    let running = start(config.clone(), ports).await.unwrap();

    let (twin, ports) = node(dir.path()).await;
    let text = refusal(twin, ports).await;
    assert!(text.contains("node.data_dir") && text.contains("in use"), "{text}");
    running.stop().await.unwrap();

    let (mut other, ports) = node(dir.path()).await;
    other.cluster.id = "ff".repeat(16);
    let text = refusal(other, ports).await;
    assert!(text.contains("node.data_dir") && text.contains("belongs to cluster"), "{text}");

    let (mut other, ports) = node(dir.path()).await;
    other.cluster.shards = 8;
    assert!(refusal(other, ports).await.starts_with("cluster.shards: the cluster was formed with 4"));

    let (mut other, ports) = node(dir.path()).await;
    other.node.name = "node-2".to_owned();
    other.cluster.nodes[0].name = "node-2".to_owned();
    let text = refusal(other, ports).await;
    assert!(text.contains("without a node named \"node-2\""), "{text}");

    std::fs::write(dir.path().join("data/identity"), b"garbage").unwrap();
    let (other, ports) = node(dir.path()).await;
    let text = refusal(other, ports).await;
    assert!(text.contains("identity file") && text.contains("damaged"), "{text}");
}

#[tokio::test]
async fn a_taken_port_names_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let (mut config, ports) = node(dir.path()).await;
    config.node.peer_listen = ports.peer.local_addr().unwrap().to_string();
    let text = format!("{:#}", Ports::bind(&config).await.unwrap_err());
    assert!(text.starts_with("node.peer_listen: cannot listen on 127.0.0.1:"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_for_others_says_so_and_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (mut config, ports) = node(dir.path()).await;
    // Ports of listeners that are gone: nobody answers there.
    let gone = node(dir.path()).await.0.cluster.nodes[0].clone();
    for (number, port) in [(2, gone.peer), (3, gone.client)] {
        let name = format!("node-{number}");
        let client = format!("127.0.0.1:{number}");
        config.cluster.nodes.push(PeerSection { name, peer: port, client, zone: String::new() });
    }
    config.cluster.replication = Some(3);
    let http = ports.http.local_addr().unwrap();
    let stop = Stop::new();
    let starting = tokio::spawn(Running::start(config, World::real(), ports, stop.clone()));
    let told = async {
        loop {
            let answer = get(http, "/readyz").await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            if answer.contains("1 of 3 nodes met; waiting for node-2") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it tells whom it waits for");
    stop.request();
    let ended = tokio::time::timeout(Duration::from_secs(30), starting).await.expect("it stops").unwrap();
    assert!(ended.unwrap().is_none());
}
