//! The load itself: workers that act until they are told to stop.

use super::acts::Worker;
use super::caller::Caller;
use super::keys::Keys;
use super::recorder::Recorder;
use super::rng::Rng;
use super::targets::{Lane, Routes, Targets};
use super::{WorkloadWorld, overload, surge};
use hapax_checker::history::Name;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How large a load is.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Workers, each with one act at a time.
    pub workers: usize,
    /// Connections to each node, shared by the workers.
    pub lanes: usize,
    /// Keys that are acted on at a time.
    pub live_keys: usize,
    /// The longest pause of a worker between two acts.
    pub pause: Duration,
    /// The largest result, bytes.
    pub largest_result: u64,
}

impl Settings {
    /// For real nodes: as much as the machine gives.
    #[must_use]
    pub fn real() -> Self {
        Self { workers: 48, lanes: 8, live_keys: 96, pause: Duration::ZERO, largest_result: 200 * 1024 }
    }

    /// For a simulation, in which every call costs more than its simulated time.
    #[must_use]
    pub fn simulated() -> Self {
        Self {
            workers: 8,
            lanes: 4,
            live_keys: 24,
            pause: Duration::from_millis(60),
            largest_result: 16 * 1024,
        }
    }
}

/// A load that runs.
#[derive(Debug)]
pub struct Workload {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

pub(super) struct Shared {
    world: WorkloadWorld,
    targets: Targets,
    routes: Arc<Routes>,
    recorder: Arc<Recorder>,
    settings: Settings,
    keys: Arc<Keys>,
    is_over: AtomicBool,
    acts: AtomicU64,
    streams: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("targets", &self.targets).field("settings", &self.settings).finish()
    }
}

impl Shared {
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(super) fn lane(&self) -> Arc<Lane> {
        self.lane_to(&self.targets)
    }

    fn lane_to(&self, targets: &Targets) -> Arc<Lane> {
        Arc::new(Lane::new(Arc::clone(&self.world.network), targets, Arc::clone(&self.routes)))
    }

    /// A caller of its own name and randomness.
    pub(super) fn caller(&self, lane: &Arc<Lane>, client: Name) -> Caller {
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        Caller {
            lane: Arc::clone(lane),
            routes: Arc::clone(&self.routes),
            recorder: Arc::clone(&self.recorder),
            rng: Rng::new(self.world.seed, stream),
            client,
            shards: self.targets.shards,
        }
    }

    pub(super) fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }
}

impl Workload {
    /// Starts the workers.
    #[must_use]
    pub fn start(
        world: WorkloadWorld,
        targets: Targets,
        settings: Settings,
        recorder: Arc<Recorder>,
    ) -> Self {
        let rng = &mut Rng::new(world.seed, u64::MAX);
        let keys = Arc::new(Keys::new(settings.live_keys, Arc::clone(&recorder), rng));
        let routes = Arc::new(Routes::new(&targets));
        let shared = Arc::new(Shared {
            world,
            targets,
            routes,
            recorder,
            settings,
            keys,
            is_over: AtomicBool::new(false),
            acts: AtomicU64::new(0),
            streams: AtomicU64::new(0),
        });
        let mut workers = JoinSet::new();
        let lanes: Vec<Arc<Lane>> = (0..settings.lanes.max(1)).map(|_| shared.lane()).collect();
        for n in 0..settings.workers {
            let lane = n % lanes.len();
            let caller = shared.caller(&lanes[lane], Name::from(format!("lane-{lane}")));
            let (keys, largest) = (Arc::clone(&shared.keys), settings.largest_result);
            workers.spawn(work(Worker { caller, keys, largest }, Arc::clone(&shared)));
        }
        Self { shared, workers }
    }

    /// Acts that were done.
    #[must_use]
    pub fn acts(&self) -> u64 {
        self.shared.acts.load(Ordering::Relaxed)
    }

    /// Sends several times what the nodes can take, for a while, beside the workers; returns the
    /// calls that were answered `overloaded` or `deadline`.
    pub async fn overload(&self, calls: u32, within: Duration) -> overload::Overloaded {
        overload::run(&self.shared, calls, within).await
    }

    /// The most calls a second that are acknowledged beside the workers. `targets` are the load's nodes, maybe by
    /// another way.
    pub async fn peak(&self, targets: &Targets) -> f64 {
        surge::peak(&self.shared, &self.shared.lane_to(targets)).await
    }

    /// Sends so many calls of the same kinds a second for a while, beside the workers and whether or not any is
    /// answered.
    pub async fn surge(&self, targets: &Targets, rate: f64, span: Duration) -> surge::Surge {
        surge::open(&self.shared, &self.shared.lane_to(targets), rate, span).await
    }

    /// Lets every worker end its act, and returns when all have.
    pub async fn stop(mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            // A worker that panicked has shown a fault of the load, not of what it judges.
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

async fn work(mut worker: Worker, shared: Arc<Shared>) {
    while !shared.is_over() {
        worker.act().await;
        shared.acts.fetch_add(1, Ordering::Relaxed);
        let longest = u64::try_from(shared.settings.pause.as_micros()).unwrap_or(u64::MAX);
        if longest > 0 {
            let pause = worker.caller.rng.between(longest / 4, longest);
            sleep(Duration::from_micros(pause)).await;
        } else {
            // Acts that found nothing to do must not keep others from running.
            tokio::task::yield_now().await;
        }
    }
}
