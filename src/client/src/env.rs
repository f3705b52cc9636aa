//! The client's only doors to clocks, randomness, sockets, timers and tasks.
//!
//! Nothing else in this crate reads a clock, draws a random number, opens a socket, sets a timer
//! or spawns a task, so that a test or a simulation can own all of them: timers and the monotonic
//! clock are tokio's (and stand still under its paused time), the rest is behind the three traits
//! here.

use crate::error::Error;
use hapax_core::{ErrorCode, Nonce};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

pub use tokio::time::Instant;

/// Sockets. A build for another network swaps this one alias.
pub mod net {
    pub use tokio::net::TcpStream;
}

/// The machine's clocks beside the monotonic one that timers run on.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970. May jump: only estimates come from it, never a lease.
    fn wall_ms(&self) -> u64;

    /// Milliseconds since some fixed moment, without jumps, and **with** the time that the machine
    /// was suspended: a lease goes on running while its holder sleeps.
    fn boot_ms(&self) -> u64;
}

/// Randomness, for nonces and for jitter.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// When the source has none to give; nothing is sent then.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// A byte stream to a node.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A future of a connection being made.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// The way to a node.
pub trait Network: Send + Sync + 'static {
    /// Opens a stream to `addr`, `host:port`. The caller sets the deadline.
    fn connect<'a>(&'a self, addr: &'a str) -> Connecting<'a>;
}

/// What a client is given to live in; cheap to clone.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    network: Arc<dyn Network>,
    /// Where the monotonic clock and the one that counts suspension stood when this was made.
    origin: (Instant, u64),
}

impl Env {
    /// The machine's own clock, randomness and TCP.
    #[must_use]
    pub fn real() -> Self {
        Self::new(SystemClock, SystemEntropy, Tcp)
    }

    /// A world of one's own.
    #[must_use]
    pub fn new(clock: impl Clock, entropy: impl Entropy, network: impl Network) -> Self {
        let origin = (Instant::now(), clock.boot_ms());
        Self { clock: Arc::new(clock), entropy: Arc::new(entropy), network: Arc::new(network), origin }
    }

    /// Now, on the monotonic clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// How long the machine has been suspended since this was made, as far as the difference of
    /// the two clocks tells it (to some milliseconds).
    #[must_use]
    pub fn suspended(&self) -> Duration {
        let (then, boot_ms) = self.origin;
        let whole = Duration::from_millis(self.clock.boot_ms().saturating_sub(boot_ms));
        whole.saturating_sub(self.now().saturating_duration_since(then))
    }

    /// Now, on the clock by which leases are counted: the monotonic one and all suspension.
    pub(crate) fn lease_now(&self) -> Instant {
        self.now() + self.suspended()
    }

    /// When a timer fires at the latest for a moment of the lease clock; after a suspension it may
    /// have passed already.
    pub(crate) fn timer(&self, at: Instant) -> Instant {
        at.checked_sub(self.suspended()).unwrap_or_else(|| self.now())
    }

    /// Milliseconds since 1970 by the wall clock.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    /// A new nonce for one logical call.
    ///
    /// # Errors
    /// `unavailable`, definite, when the machine gives no randomness.
    pub fn nonce(&self) -> Result<Nonce, Error> {
        let mut bytes = [0; 16];
        let refused =
            || Error::definite(ErrorCode::Unavailable, "the machine gave no randomness for a nonce");
        self.entropy.fill(&mut bytes).map_err(|_| refused())?;
        Nonce::try_from(bytes).map_err(|_| refused())
    }

    /// A random part of `span`: callers that failed together do not come back together. All of it
    /// when there is no randomness.
    #[must_use]
    pub fn part_of(&self, span: Duration) -> Duration {
        let mut byte = [0; 2];
        match self.entropy.fill(&mut byte) {
            Ok(()) => span.mul_f64(f64::from(u16::from_le_bytes(byte)) / f64::from(u16::MAX)),
            Err(_) => span,
        }
    }

    pub(crate) async fn connect(&self, addr: &str) -> io::Result<Box<dyn Stream>> {
        self.network.connect(addr).await
    }

    /// Starts a task that nobody waits for; not at all where no runtime is left to run it.
    pub(crate) fn spawn_on(&self, task: impl Future<Output = ()> + Send + 'static) {
        if tokio::runtime::Handle::try_current().is_ok() {
            self.spawn(task).let_go();
        }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(Some(tokio::spawn(task)))
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}

/// The longest span that is told from for ever: thirty years.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// `span` after `now`; a caller's span may be longer than what a clock can hold.
pub(crate) fn after(now: Instant, span: Duration) -> Instant {
    now + span.min(FOR_EVER)
}

pub(crate) async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

pub(crate) async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at).await;
}

/// The future's output, or `None` when `at` came first.
pub(crate) async fn by<F: Future>(at: Instant, future: F) -> Option<F::Output> {
    tokio::time::timeout_at(at, future).await.ok()
}

/// A spawned task that ends with its handle, unless it is let go.
#[derive(Debug)]
pub(crate) struct Task(Option<tokio::task::JoinHandle<()>>);

impl Task {
    /// Lets the task run to its own end.
    pub(crate) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn boot_ms(&self) -> u64 {
        let time = rustix::time::clock_gettime(WITH_SUSPENSION);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const WITH_SUSPENSION: rustix::time::ClockId = rustix::time::ClockId::Boottime;
/// Elsewhere the monotonic clock is the best there is; on some systems it counts suspension.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const WITH_SUSPENSION: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
    }
}

struct Tcp;

impl Network for Tcp {
    fn connect<'a>(&'a self, addr: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let stream = net::TcpStream::connect(addr).await?;
            // Batching is the writer's affair; a small frame must not wait for a bigger one.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
