//! A node's start and its end, in order.

use super::health::NodeHealth;
use super::layout::{first_layout, node_config};
use super::service::NodeService;
use super::storage::{CLOSE_WITHIN, Storage};
use super::{Ports, Stop, VERSION, World};
use crate::anomaly::{Finding, Settings as AnomalySettings, Watch};
use crate::config::Config;
use crate::http::{self, HttpLimits};
use crate::listen::{Port, Settings};
use crate::metrics::Metrics;
use anyhow::{Context as _, bail};
use hapax_raft::config::NodeConfig;
use hapax_raft::env::net::TcpListener;
use hapax_raft::formation::{self, FormationError, Progress};
use hapax_raft::ids::NodeId;
use hapax_raft::layout::Layout;
use hapax_raft::node::{Node, Stored};
use hapax_raft::observe::{Anomaly, Observer};
use hapax_raft::peer::acceptor::PeerAcceptor;
use hapax_store::disk::Disk;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long closing the client connections may take at the very end.
const GOODBYE: Duration = Duration::from_secs(1);

/// A node that serves.
pub struct Running {
    config: Config,
    health: Arc<NodeHealth>,
    storage: Storage,
    node: Arc<Node>,
    port: Port<NodeService>,
    tasks: [JoinHandle<()>; 2],
}

impl Running {
    /// Starts a node. None when it was told to stop before its cluster was complete. Recovery blocks
    /// the calling thread, which should not be one that others need.
    ///
    /// # Errors
    /// Whatever keeps it from starting, with the field or the file at fault.
    pub async fn start(
        config: Config,
        world: World,
        ports: Ports,
        stop: Stop,
    ) -> anyhow::Result<Option<Self>> {
        tracing::info!(name = config.node.name, version = VERSION, "starting");
        let metrics = Arc::new(Metrics::new(VERSION).context("metrics")?);
        let health = NodeHealth::new("opening the data directory", Arc::clone(&world.disk), &config);
        let http = tokio::spawn(serve_http(&config, ports.http, &metrics, &health));
        let storage = match Storage::open(&config, &world) {
            Ok(storage) => storage,
            Err(error) => {
                http.abort();
                return Err(error);
            }
        };
        if storage.wiped {
            Observer::anomaly(metrics.as_ref(), u32::MAX, Anomaly::RecordsWiped);
        }
        let joined = join(&config, &world, ports.peer, &storage, &metrics, &health, &stop).await;
        let Ok(Some(node)) = joined else {
            http.abort();
            storage.close().await?;
            return joined.map(|_| None);
        };
        health.running(Arc::clone(&node));
        let service = Arc::new(NodeService(Arc::clone(&node)));
        let port =
            Port::start(ports.client, settings(&config, storage.node()), service, Arc::clone(&metrics));
        let watch = tokio::spawn(watch_anomalies(config.anomaly.clone(), metrics));
        tracing::info!(node = %storage.node(), clients = config.node.client_listen, "serving");
        Ok(Some(Self { config, health, storage, node, port, tasks: [http, watch] }))
    }

    /// The node, for whoever runs it in a process of their own.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Stops gracefully: not ready, leaderships handed over, calls in flight answered, everything
    /// flushed.
    ///
    /// # Errors
    /// What could not be flushed.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { config, health, storage, node, port, tasks } = self;
        let deadline = Instant::now() + Duration::from_millis(config.timing.shutdown_ms);
        tracing::info!("stopping");
        health.stopping(Arc::clone(&node));
        port.drain();
        let left = || deadline.saturating_duration_since(Instant::now());
        if config.replication() > 1 {
            let still_led = node.hand_over(left() / 2).await;
            if still_led > 0 {
                tracing::warn!(shards = still_led, "nobody took these leaderships over in time");
            }
        }
        let in_flight = port.drained(left() / 2).await;
        if in_flight > 0 {
            tracing::warn!(calls = in_flight, "these calls are not answered");
        }
        node.shutdown().await;
        port.close(GOODBYE).await;
        health.stopped();
        drop((node, port));
        for task in tasks {
            task.abort();
        }
        match tokio::time::timeout(CLOSE_WITHIN, storage.close()).await {
            Ok(closed) => closed?,
            Err(_) => bail!("the data directory could not be flushed within {} s", CLOSE_WITHIN.as_secs()),
        }
        tracing::info!("stopped");
        Ok(())
    }
}

fn serve_http(
    config: &Config,
    listener: TcpListener,
    metrics: &Arc<Metrics>,
    health: &Arc<NodeHealth>,
) -> impl Future<Output = ()> + Send + 'static {
    let limits = HttpLimits {
        connections: usize::try_from(config.http.connections).unwrap_or(usize::MAX),
        connection: Duration::from_millis(config.http.connection_ms),
    };
    http::serve(listener, limits, Arc::clone(metrics), Arc::clone(health), std::future::pending())
}

/// Forms or joins the cluster and starts the replicas; none when told to stop before that.
async fn join(
    config: &Config,
    world: &World,
    listener: TcpListener,
    storage: &Storage,
    metrics: &Arc<Metrics>,
    health: &NodeHealth,
    stop: &Stop,
) -> anyhow::Result<Option<Arc<Node>>> {
    let told = node_config(config, &world.tuning, storage.node());
    let acceptor = PeerAcceptor::start(listener, &told, world.env.clone());
    let formed = tokio::select! {
        formed = form(config, &told, &acceptor, world.disk.as_ref(), storage, health) => formed.map(Some),
        () = stop.requested() => Ok(None),
    };
    let checked = formed.and_then(|layout| {
        layout.as_ref().map_or(Ok(()), |layout| check_layout(config, layout))?;
        Ok(layout)
    });
    let Ok(Some(layout)) = checked else {
        acceptor.stop();
        return checked.map(|_| None);
    };
    let observer: Arc<dyn Observer> = Arc::<Metrics>::clone(metrics);
    let stored = Stored {
        log: storage.log.clone(),
        records: storage.records.clone(),
        disk: Arc::clone(&world.disk),
        dir: storage.dir.path(),
    };
    Ok(Some(Node::start(told, world.env.clone(), layout, stored, acceptor, observer)?))
}

async fn form(
    config: &Config,
    told: &NodeConfig,
    acceptor: &PeerAcceptor,
    disk: &dyn Disk,
    storage: &Storage,
    health: &NodeHealth,
) -> anyhow::Result<Layout> {
    let place = |nodes: &[(NodeId, String)]| first_layout(config, nodes);
    let progress = |progress: Progress| {
        let missing: Vec<String> =
            progress.missing.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        let text =
            format!("{} of {} nodes met; waiting for {}", progress.met, progress.of, missing.join(", "));
        tracing::info!(text, "the cluster is being formed");
        health.starting(text);
    };
    health.starting("meeting the other nodes".to_owned());
    let dir = storage.dir.path();
    match formation::form(acceptor, told, disk, dir, &storage.log, &place, &progress).await {
        Err(FormationError::Replaced { here, there, name }) => {
            if let Ok(Some(layout)) = Layout::load(disk, dir, told.cluster)
                && let Some(owner) = layout.name_of(here)
            {
                bail!("node.data_dir: this is the directory of another node, {owner}, not of {name}");
            }
            Err(FormationError::Replaced { here, there, name }.into())
        }
        formed => Ok(formed?),
    }
}

/// What cannot change after the cluster was formed.
fn check_layout(config: &Config, layout: &Layout) -> anyhow::Result<()> {
    let (shards, replication) = (layout.shards(), layout.replication);
    if config.cluster.shards != shards {
        bail!("cluster.shards: the cluster was formed with {shards} shards");
    }
    if config.replication() != replication {
        bail!("cluster.replication: the cluster was formed with {replication} replicas of each shard");
    }
    for (_, name) in &layout.nodes {
        if !config.cluster.nodes.iter().any(|peer| peer.name == *name) {
            bail!("cluster.nodes: the cluster was formed with a node named {name}");
        }
    }
    if config.cluster.nodes.len() != layout.nodes.len() {
        bail!("cluster.nodes: the cluster was formed with {} nodes", layout.nodes.len());
    }
    Ok(())
}

fn settings(config: &Config, node: NodeId) -> Settings {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Settings {
        cluster: hapax_wire::ClusterId(config.cluster_id()),
        node: node.as_u64(),
        node_name: config.node.name.clone(),
        connections: count(config.limits.connections),
        calls_per_connection: count(config.limits.calls_per_connection),
        reply_bytes_per_connection: usize::try_from(config.limits.reply_bytes_per_connection)
            .unwrap_or(usize::MAX),
    }
}

/// Compares each bucket with its history, shows the scores, and tells when one begins to be unusual.
async fn watch_anomalies(section: crate::config::AnomalySection, metrics: Arc<Metrics>) {
    let settings = AnomalySettings { history_buckets: section.history_buckets, threshold: section.threshold };
    let mut watch = Watch::new(settings, metrics.counts());
    let mut ticks = tokio::time::interval(Duration::from_millis(section.bucket_ms));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let findings = watch.bucket(metrics.counts());
        metrics.found(&findings);
        for Finding { signal, score, bucket: (events, operations), .. } in
            findings.iter().filter(|it| it.began)
        {
            tracing::warn!(
                signal = signal.name(),
                score,
                events,
                operations,
                "this share of operations is unlike its own history"
            );
        }
    }
}
