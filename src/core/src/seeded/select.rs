//! Which bug is switched on; part of test builds alone.
//!
//! A choice made in a thread counts for that thread: the simulator runs several clusters in one
//! process, each whole in its own thread. Elsewhere the process's environment counts, read once.

use super::Bug;
use std::cell::Cell;
use std::sync::OnceLock;

/// The environment variable that names a bug for the whole process.
pub const VARIABLE: &str = "HAPAX_TEST_BUG";

static PROCESS: OnceLock<Option<Bug>> = OnceLock::new();

thread_local! {
    static HERE: Cell<Option<Option<Bug>>> = const { Cell::new(None) };
    static REACHED: Cell<u64> = const { Cell::new(0) };
}

/// Whether a bug is switched on.
#[must_use]
pub fn active(bug: Bug) -> bool {
    let chosen = HERE.get().unwrap_or_else(|| *PROCESS.get_or_init(of_process));
    let active = chosen == Some(bug);
    if active {
        REACHED.set(REACHED.get() + 1);
    }
    active
}

/// Chooses for this thread, whatever the process has: a bug, or none. Counts anew how often the
/// chosen one is reached.
pub fn choose_here(bug: Option<Bug>) {
    HERE.set(Some(bug));
    REACHED.set(0);
}

/// How often this thread came by a spot of the bug that is switched on.
#[must_use]
pub fn reached_here() -> u64 {
    REACHED.get()
}

#[allow(clippy::disallowed_methods, reason = "a test build chooses its bug by the environment")]
fn of_process() -> Option<Bug> {
    let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
    let bug = Bug::parse(&name);
    assert!(bug.is_some(), "{VARIABLE} names no seeded bug: {name}");
    bug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_counts_in_its_own_thread_alone() {
        choose_here(Some(Bug::NonceIgnored));
        assert!(active(Bug::NonceIgnored) && !active(Bug::TokenReused));
        assert_eq!(reached_here(), 1);
        let elsewhere = std::thread::spawn(|| {
            choose_here(None);
            active(Bug::NonceIgnored)
        });
        assert!(!elsewhere.join().expect("it does not panic"));
        assert!(active(Bug::NonceIgnored));
    }
}
