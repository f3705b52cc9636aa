//! The client: a handle on a cluster.

use crate::cache::Cache;
use crate::call::Until;
use crate::config::ClientConfig;
use crate::env::{self, Env, Instant};
use crate::error::Error;
use crate::pause::Pause;
use crate::pool::Pool;
use crate::routes::{Addr, Routes};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hapax_core::{Answer, ErrorCode, LogTime, Request};
use hapax_wire::ClusterId;
use hapax_wire::client::ShardTable;
use hapax_wire::status::NodeStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nodes asked for the table at once.
const ASKED_AT_ONCE: usize = 3;

/// A handle on a cluster; cheap to clone, and all clones share connections, table and cache. The
/// connections close with the last one.
///
/// ```no_run
/// use hapax_client::{Client, ClientConfig};
/// # async fn example() -> Result<(), hapax_client::Error> {
/// let client = Client::connect(ClientConfig::from_list("127.0.0.1:7401,127.0.0.1:7402")).await?;
/// println!("{} shards", client.table().shards.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    timeout: Duration,
    not_after: Option<LogTime>,
}

pub(crate) struct Inner {
    pub(crate) env: Env,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) pool: Pool,
    pub(crate) cache: Cache,
    pub(crate) counts: Counts,
    /// Held while one caller asks for the table; the others wait for its result.
    refreshing: tokio::sync::Mutex<()>,
}

/// What a client did so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) redirects: AtomicU64,
    pub(crate) cached: AtomicU64,
}

/// What a client did so far, by [`Client::counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Logical calls begun.
    pub calls: u64,
    /// Copies of them sent again after a pause.
    pub retries: u64,
    /// Redirects followed.
    pub redirects: u64,
    /// Connections made.
    pub connects: u64,
    /// Claims answered by the local cache.
    pub cached: u64,
}

/// How a node is, or why it could not say.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// Where it was asked.
    pub client_addr: String,
    /// Its name in the shard table.
    pub name: String,
    /// What it said.
    pub status: Result<NodeStatus, Error>,
}

impl Client {
    /// Connects to any of the seeds and learns the shard table from it; tries until the
    /// configuration's `timeout`.
    ///
    /// # Errors
    /// Always definite: `invalid` names the field of the configuration, `unavailable` when no seed
    /// answered, `wrong_cluster`, `version` or `unauthenticated` when the nodes refused this client.
    pub async fn connect(config: impl Into<ClientConfig>) -> Result<Self, Error> {
        Self::connect_in(config, Env::real()).await
    }

    /// Like [`Client::connect`], in a world of one's own.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_in(config: impl Into<ClientConfig>, env: Env) -> Result<Self, Error> {
        let config = Arc::new(config.into());
        config.check()?;
        let routes = Arc::new(Routes::default());
        let inner = Arc::new(Inner {
            pool: Pool::new(env.clone(), Arc::clone(&config), Arc::clone(&routes)),
            cache: Cache::new(config.cache),
            counts: Counts::default(),
            refreshing: tokio::sync::Mutex::new(()),
            env,
            config,
            routes,
        });
        inner.learn_first().await?;
        Ok(Self { timeout: inner.config.timeout, not_after: None, inner })
    }

    /// The same client with another deadline for each call; a `wait` comes on top.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The same client whose mutating verbs have no effect past a log time (`too_late`).
    #[must_use]
    pub fn not_after(&self, time: LogTime) -> Self {
        Self { not_after: Some(time), ..self.clone() }
    }

    /// Sends any request and hands back its answer as it came, without the cache. Waits in it are
    /// not renewed beyond the 60 s that a node holds a call; the typed verbs do that.
    ///
    /// # Errors
    /// What was answered with an error, or not answered by the deadline.
    pub async fn call(&self, request: Request) -> Result<Answer, Error> {
        let wait = Duration::from_millis(match &request.ask {
            hapax_core::Ask::Claim(ask) => ask.wait_ms,
            hapax_core::Ask::Get(ask) => ask.wait_ms,
            _ => 0,
        });
        let until = self.until(self.inner.env.now(), wait.min(WAIT_MAX));
        self.inner.call(request, until, &mut false).await
    }

    /// The shard table as last learnt.
    #[must_use]
    pub fn table(&self) -> Arc<ShardTable> {
        self.inner.routes.table().expect("a client is handed out only once it has a table")
    }

    /// Asks for the shard table again.
    ///
    /// # Errors
    /// When no node answered by the deadline; definite.
    pub async fn refresh_table(&self) -> Result<Arc<ShardTable>, Error> {
        self.inner.refresh(env::after(self.inner.env.now(), self.timeout)).await?;
        Ok(self.table())
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.inner.pool.cluster()
    }

    /// Asks every node of the table how it is.
    pub async fn status(&self) -> Vec<NodeReport> {
        let deadline = env::after(self.inner.env.now(), self.timeout);
        let table = self.table();
        let reports = table.nodes.iter().map(|node| async move {
            let addr: Addr = node.client_addr.as_str().into();
            let status = match self.inner.pool.link(&addr, deadline).await {
                Ok(link) => link.status(deadline).await,
                Err(error) => Err(error),
            };
            NodeReport { client_addr: node.client_addr.clone(), name: node.name.clone(), status }
        });
        futures_util::future::join_all(reports).await
    }

    /// What this client did so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.inner.counts;
        Counters {
            calls: read(&counts.calls),
            retries: read(&counts.retries),
            redirects: read(&counts.redirects),
            connects: self.inner.pool.connects(),
            cached: read(&counts.cached),
        }
    }

    /// The world that this client lives in.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.inner.env
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn until(&self, now: Instant, wait: Duration) -> Until {
        let wait = (!wait.is_zero()).then(|| env::after(now, wait));
        Until { deadline: env::after(wait.unwrap_or(now), self.timeout), wait }
    }

    pub(crate) fn request(&self, ask: hapax_core::Ask) -> Request {
        Request { not_after: self.not_after, ask }
    }
}

/// The longest that a node holds a call.
const WAIT_MAX: Duration = Duration::from_millis(hapax_core::limits::WAIT_MS);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("seeds", &self.inner.config.seeds).finish_non_exhaustive()
    }
}

impl Inner {
    async fn learn_first(&self) -> Result<(), Error> {
        let deadline = self.env.now() + self.config.timeout;
        let mut pause = Pause::new(self.config.retry_backoff);
        loop {
            let error = match self.refresh(deadline).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let moment = pause.next(&self.env);
            let passing = matches!(error.code(), ErrorCode::Unavailable | ErrorCode::Deadline);
            if !passing || self.env.now() + moment >= deadline {
                return Err(error);
            }
            env::sleep(moment).await;
        }
    }

    /// Asks for the table, unless another caller just did; what went wrong shows at the next call.
    pub(crate) async fn refresh_soon(&self, deadline: Instant) {
        if let Err(error) = self.refresh(deadline).await {
            tracing::debug!(%error, "the shard table could not be refreshed");
        }
    }

    /// Asks some nodes at once for the table and takes the first that is given.
    async fn refresh(&self, deadline: Instant) -> Result<(), Error> {
        let late = || Error::definite(ErrorCode::Deadline, "no node gave the shard table in time");
        let generation = self.routes.generation();
        let Some(_one_at_a_time) = env::by(deadline, self.refreshing.lock()).await else {
            return Err(late());
        };
        if self.routes.generation() != generation {
            return Ok(());
        }
        let deadline = deadline.min(self.env.now() + self.config.connect_timeout * 2);
        let sources = self.sources();
        let mut waiting = sources.into_iter();
        let mut asked: FuturesUnordered<_> =
            waiting.by_ref().take(ASKED_AT_ONCE).map(|addr| self.ask_table(addr, deadline)).collect();
        let mut refusal = late();
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(table) => {
                    let before = self.routes.generation();
                    self.routes.learn(&table);
                    if self.routes.generation() != before || self.routes.shards() > 0 {
                        return Ok(());
                    }
                    refusal = Error::definite(ErrorCode::Unavailable, "the cluster has no shard table yet");
                }
                Err(error) => refusal = error,
            }
            if let Some(addr) = waiting.next() {
                asked.push(self.ask_table(addr, deadline));
            }
        }
        Err(refusal.made_definite())
    }

    async fn ask_table(&self, addr: Addr, deadline: Instant) -> Result<ShardTable, Error> {
        self.pool.link(&addr, deadline).await?.table(deadline).await
    }

    /// Whom to ask for the table: connected nodes first, then the table's, then the seeds.
    fn sources(&self) -> Vec<Addr> {
        let mut sources = self.pool.connected();
        let seeds = self.config.seeds.iter().map(|seed| Addr::from(seed.as_str()));
        for addr in self.routes.nodes().into_iter().chain(seeds) {
            if !sources.contains(&addr) {
                sources.push(addr);
            }
        }
        sources
    }
}
