//! The node's only doors to clocks, randomness and the network.
//!
//! Nothing in this crate or above it reads a clock, draws a random number or opens a socket in
//! another way, so that a simulation can own all three.

use parking_lot::Mutex;
use std::sync::Arc;

/// Sockets. A simulation swaps this one alias.
#[cfg(not(feature = "simulation"))]
pub mod net {
    pub use tokio::net::{TcpListener, TcpStream};
}

/// Simulated sockets.
#[cfg(feature = "simulation")]
pub mod net {
    pub use turmoil::net::{TcpListener, TcpStream};
}

/// Runs a call that may block on the disk. On a runtime with several threads the others take over
/// this one's tasks meanwhile; on a single thread (a simulation) it simply runs.
pub fn blocking<T>(call: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        _ => call(),
    }
}

/// Runs a call that may wait for the disk while the task goes on with others: on a thread for such calls, or, on a
/// runtime of a single thread (a simulation), a turn later on that. Nobody hears of a call that panics: it is taken for
/// one that has ended.
pub async fn aside(call: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => drop(tokio::task::spawn_blocking(call).await),
        _ => {
            tokio::task::yield_now().await;
            call();
        }
    }
}

/// The two clocks that a node reads.
pub trait Clock: Send + Sync + 'static {
    /// Wall time, ms since 1970. It may jump.
    fn wall_ms(&self) -> u64;
    /// Time since boot including suspend, ms. It never goes back and is not stepped.
    fn boot_ms(&self) -> u64;
    /// Which start of the machine [`Clock::boot_ms`] counts from; `None` where that cannot be told.
    fn boot_id(&self) -> Option<BootId>;
}

/// Names one start of a machine; no other start has the same.
pub type BootId = [u8; 16];

/// Randomness for nonces of nodes and jitter; never for anything that replicas must agree on.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// What a node is given to live in; cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Env {
    /// The machine's own clocks and randomness.
    #[must_use]
    pub fn real() -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy::default()) }
    }

    /// A random number.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        millis(rustix::time::clock_gettime(rustix::time::ClockId::Realtime))
    }

    fn boot_ms(&self) -> u64 {
        millis(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
    }

    fn boot_id(&self) -> Option<BootId> {
        parse_uuid(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?)
    }
}

/// The bytes of a UUID in its usual form.
fn parse_uuid(text: &str) -> Option<BootId> {
    let digits: String = text.trim_end().split('-').collect();
    let is_one = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_one.then(|| u128::from_str_radix(&digits, 16).ok()).flatten().map(u128::to_be_bytes)
}

fn millis(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

/// The operating system's randomness. When it fails, which Linux does only before the pool is
/// ready, the call is made again: a node without randomness cannot have an identity.
#[derive(Default)]
struct SystemEntropy {
    serial: Mutex<()>,
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let _one_at_a_time = self.serial.lock();
        while getrandom::fill(bytes).is_err() {
            tracing::error!("the operating system gave no randomness; asking again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_of_the_machine_has_a_name() {
        let id = parse_uuid("01020304-0506-0708-090a-0b0c0d0e0f10\n");
        assert_eq!(id, Some([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]));
        assert_eq!(parse_uuid("01020304"), None);
        assert_eq!(parse_uuid("+1020304-0506-0708-090a-0b0c0d0e0f1"), None);
        assert!(Env::real().clock.boot_id().is_some_and(|id| Some(id) == Env::real().clock.boot_id()));
    }
}
