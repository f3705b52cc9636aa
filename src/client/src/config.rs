//! What a client is told: where the cluster is, and every bound.

use crate::error::Error;
use hapax_core::Invalid;
use hapax_wire::ClusterId;
use std::time::Duration;

/// The longest that the local cache keeps a completed result.
pub const CACHE_KEEP_MAX: Duration = Duration::from_secs(60);

/// A client's settings. [`ClientConfig::new`] gives the defaults; change fields as needed.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Nodes to begin with, `host:port`; any node of the cluster will do, more than one is safer.
    pub seeds: Vec<String>,
    /// This client's name as the nodes' logs show it; at most 64 bytes.
    pub name: String,
    /// The cluster that must answer; whichever the first node belongs to where absent.
    pub cluster: Option<ClusterId>,
    /// How long one call may take in all, retries included; a `wait` comes on top. Default 10 s.
    pub timeout: Duration,
    /// How long one copy of a call may go unanswered before it is sent again. Default 4 s.
    pub attempt_timeout: Duration,
    /// How long connecting and greeting may take. Default 2 s.
    pub connect_timeout: Duration,
    /// Calls in flight on one connection; one more is `overloaded`, definite. Default 4096, which
    /// is also the most that a node takes.
    pub max_in_flight: usize,
    /// A connection on which nothing came for so long is asked whether it lives. Default 2 s.
    pub ping_after: Duration,
    /// It is given up when nothing comes for so long after that. Default 2 s.
    pub ping_timeout: Duration,
    /// The pause before a call is sent again: doubled from the first to the second, with jitter.
    /// Default 10 ms to 200 ms.
    pub retry_backoff: (Duration, Duration),
    /// The pause before a node that could not be reached is dialled again: doubled, with jitter.
    /// Default 50 ms to 2 s.
    pub connect_backoff: (Duration, Duration),
    /// Keeps completed results here for a short while. Default off.
    pub cache: Option<CacheConfig>,
}

/// The bounds of the local cache of completed results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// The most results.
    pub entries: usize,
    /// The most bytes of results, metadata and addresses together.
    pub bytes: usize,
    /// How long one is kept; at most 60 s, and never past its retention.
    pub keep: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 16 * 1024 * 1024, keep: Duration::from_secs(10) }
    }
}

impl ClientConfig {
    /// The defaults, with these nodes to begin with.
    pub fn new<S: Into<String>>(seeds: impl IntoIterator<Item = S>) -> Self {
        Self {
            seeds: seeds.into_iter().map(Into::into).collect(),
            name: "hapax-client".to_owned(),
            cluster: None,
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(4),
            connect_timeout: Duration::from_secs(2),
            max_in_flight: hapax_wire::limits::IN_FLIGHT,
            ping_after: Duration::from_secs(2),
            ping_timeout: Duration::from_secs(2),
            retry_backoff: (Duration::from_millis(10), Duration::from_millis(200)),
            connect_backoff: (Duration::from_millis(50), Duration::from_secs(2)),
            cache: None,
        }
    }

    /// The defaults, with nodes as the command line and `HAPAX_CLUSTER` list them:
    /// `host:port,host:port`.
    #[must_use]
    pub fn from_list(seeds: &str) -> Self {
        Self::new(seeds.split(',').map(str::trim).filter(|seed| !seed.is_empty()))
    }

    /// Checks every field.
    ///
    /// # Errors
    /// `invalid`, definite, naming the field.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |field, why| Err(Error::from(Invalid::new(field, why)));
        if self.seeds.is_empty() {
            return wrong("seeds", "no node to begin with");
        }
        for seed in &self.seeds {
            check_addr(seed)?;
        }
        if self.name.len() > hapax_wire::limits::NAME_BYTES {
            return wrong("name", "longer than 64 bytes");
        }
        for (field, span) in [
            ("timeout", self.timeout),
            ("attempt_timeout", self.attempt_timeout),
            ("connect_timeout", self.connect_timeout),
            ("ping_after", self.ping_after),
            ("ping_timeout", self.ping_timeout),
            ("retry_backoff", self.retry_backoff.0),
            ("connect_backoff", self.connect_backoff.0),
        ] {
            if span.is_zero() || span > Duration::from_secs(24 * 3600) {
                return wrong(field, "zero, or longer than a day");
            }
        }
        if self.max_in_flight == 0 || self.max_in_flight > hapax_wire::limits::IN_FLIGHT {
            return wrong("max_in_flight", "outside 1 to 4096");
        }
        if let Some(cache) = &self.cache
            && (cache.keep.is_zero() || cache.keep > CACHE_KEEP_MAX)
        {
            return wrong("cache.keep", "zero, or longer than 60 s");
        }
        Ok(())
    }
}

/// `host:port`, as far as it can be told without resolving it.
pub(crate) fn check_addr(addr: &str) -> Result<(), Error> {
    let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    let fits = addr.len() <= hapax_wire::limits::ADDR_BYTES;
    match port.and_then(|port| port.parse::<u16>().ok()) {
        Some(port) if fits && port != 0 => Ok(()),
        _ => Err(Invalid::new("seeds", "not host:port").into()),
    }
}

impl From<&str> for ClientConfig {
    fn from(seeds: &str) -> Self {
        Self::from_list(seeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(change: impl FnOnce(&mut ClientConfig)) -> Option<String> {
        let mut config = ClientConfig::from_list("a:1, b:2 ,[::1]:3");
        change(&mut config);
        config.check().err().map(|error| {
            assert!(error.is_definite());
            error.field().expect("every config error names its field").to_owned()
        })
    }

    #[test]
    fn every_fault_names_its_field() {
        assert_eq!(fault(|_| ()), None);
        assert_eq!(fault(|c| c.seeds.clear()).as_deref(), Some("seeds"));
        for seed in ["nohost", ":7401", "host:", "host:0", "host:65536", "host:x"] {
            assert_eq!(fault(|c| c.seeds.push(seed.to_owned())).as_deref(), Some("seeds"), "{seed}");
        }
        assert_eq!(fault(|c| c.name = "x".repeat(65)).as_deref(), Some("name"));
        assert_eq!(fault(|c| c.timeout = Duration::ZERO).as_deref(), Some("timeout"));
        assert_eq!(fault(|c| c.ping_after = Duration::MAX).as_deref(), Some("ping_after"));
        assert_eq!(fault(|c| c.max_in_flight = 4097).as_deref(), Some("max_in_flight"));
        let cache = CacheConfig { keep: Duration::from_secs(61), ..CacheConfig::default() };
        assert_eq!(fault(|c| c.cache = Some(cache)).as_deref(), Some("cache.keep"));
    }
}
