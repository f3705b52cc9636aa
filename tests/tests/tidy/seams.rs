//! Effects at the edges: clocks, randomness, sockets, files and threads are touched in the files
//! named here and nowhere else, so that a simulator can own them all. Timers and tasks are tokio's
//! throughout, whose paused clock a simulator owns.

use crate::all_keep;
use crate::source::files;

/// One kind of effect: what its code looks like, and where it may be.
struct Effect {
    what: &'static str,
    needles: &'static [&'static str],
    /// File or folder, and why it may.
    allowed: &'static [(&'static str, &'static str)],
}

const EFFECTS: [Effect; 5] = [
    Effect {
        what: "a socket",
        needles: &["tokio::net", "std::net::Tcp", "std::net::Udp", "std::os::unix::net"],
        allowed: &[
            ("src/raft/src/env.rs", "the nodes' one alias"),
            ("src/client/src/env.rs", "the client's one alias"),
            ("src/server/src/dev/", "runs real processes; never simulated"),
        ],
    },
    Effect {
        what: "a clock",
        needles: &[
            "SystemTime",
            "std::time::Instant",
            "time::{Duration, Instant}",
            "Boottime",
            "clock_gettime",
        ],
        allowed: &[
            ("src/raft/src/env.rs", "the nodes' clock"),
            ("src/client/src/env.rs", "the client's clock"),
            ("src/server/src/server/world.rs", "measures syncs for a figure; decides nothing"),
        ],
    },
    Effect {
        what: "randomness",
        needles: &["getrandom", "rand::", "RandomState", "thread_rng"],
        allowed: &[
            ("src/raft/src/env.rs", "the nodes' randomness"),
            ("src/client/src/env.rs", "the client's randomness"),
            (
                "src/store/src/address_map.rs",
                "seeds of hash maps, against keys chosen to collide; decide nothing",
            ),
            ("src/server/src/dev/files.rs", "draws the id of a development cluster"),
        ],
    },
    Effect {
        what: "a file",
        needles: &["std::fs", "tokio::fs", "rustix::fs", "OpenOptions"],
        allowed: &[
            ("src/store/src/disk/real.rs", "the disk itself"),
            ("src/store/src/disk/direct.rs", "the same, past the page cache"),
            ("src/raft/src/env.rs", "the kernel's name for the start of the machine"),
            ("src/store/src/records/engine/sled.rs", "the engine opens its own files"),
            ("src/store/src/records/store.rs", "wipes an engine's folder, which no `Disk` made"),
            ("src/server/src/config/", "reads the configuration before a node is made"),
            ("src/server/src/dev/", "lays out directories for real processes"),
            ("src/server/src/cli/", "reads what the command line names"),
        ],
    },
    Effect {
        what: "a thread or a process",
        needles: &[
            "thread::spawn",
            "thread::Builder",
            "process::exit",
            "process::abort",
            "std::process::Command",
            "tokio::process",
        ],
        allowed: &[
            ("src/server/src/server/", "starts and ends the process, and the threads that write to disk"),
            ("src/server/src/dev/", "runs real processes"),
            ("src/server/src/cli/run/", "runs the command of `hapax run`"),
        ],
    },
];

#[test]
fn effects_are_made_at_the_edges_only() {
    let product: Vec<_> = files(&["src"], ".rs").into_iter().filter(|source| source.is_product()).collect();
    let mut breaches = Vec::new();
    for effect in &EFFECTS {
        let mut used: Vec<&str> = Vec::new();
        for source in &product {
            let places = source.places(effect.needles);
            if places.is_empty() {
                continue;
            }
            match effect.allowed.iter().find(|(allowed, _)| source.path.starts_with(allowed)) {
                Some((allowed, _)) => used.push(allowed),
                None => breaches.extend(places.into_iter().map(|place| format!("{}: {place}", effect.what))),
            }
        }
        for (allowed, _) in effect.allowed.iter().filter(|(allowed, _)| !used.contains(allowed)) {
            breaches.push(format!("{}: {allowed} makes none any more; strike it from the list", effect.what));
        }
    }
    all_keep("effects are made at the edges only", &breaches);
}
