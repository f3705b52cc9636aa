//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a node opens beside its client connections: segments, engine files, peers, HTTP.
const OWN_FILES: u64 = 1024;

/// Raises the soft limit to the hard one, and tells when even that is too low for the connections
/// that the configuration allows: the ones beyond it would not be accepted.
pub(super) fn raise_limit(connections: u32) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let needed = u64::from(connections) + OWN_FILES;
    // No limit at all is told as none.
    if let Some(allowed) = getrlimit(Resource::Nofile).current.filter(|allowed| *allowed < needed) {
        tracing::warn!(allowed, needed, "fewer files may be open than limits.connections may need");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise_limit(1);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
