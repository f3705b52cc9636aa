//! Which of the mistakes that can be put into the product the simulator catches, and how soon.

use crate::runner::{How, child};
use hapax_core::seeded::Bug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// What came of one mistake.
#[derive(Debug)]
struct Row {
    bug: Bug,
    /// Seeds that were run, the catching one included.
    seeds: u64,
    /// How often their clusters came by it.
    reached: u64,
    /// The seed that failed, and by what first.
    caught: Option<(u64, String)>,
}

/// Puts each mistake into clusters of these seeds until one of them fails, and tells.
#[expect(clippy::print_stdout, reason = "what the program says")]
pub fn run((from, to): (u64, u64), seconds: u64, jobs: usize) {
    let next = AtomicUsize::new(0);
    let (tell, told) = mpsc::channel::<Row>();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (tell, next) = (tell.clone(), &next);
            scope.spawn(move || {
                while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if tell.send(hunt(*bug, from, to, seconds)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let mut caught = 0;
        for row in told {
            caught += usize::from(row.caught.is_some());
            let (bug, seeds, reached) = (row.bug.name(), row.seeds, row.reached);
            match row.caught {
                Some((seed, why)) => {
                    println!("{bug}: caught by seed {seed}, {seeds} seeds, reached {reached} times: {why}")
                }
                None => println!("{bug}: NOT caught by {seeds} seeds, reached {reached} times"),
            }
        }
        println!("{caught} of {} are caught", Bug::ALL.len());
    });
}

fn hunt(bug: Bug, from: u64, to: u64, seconds: u64) -> Row {
    let mut row = Row { bug, seeds: 0, reached: 0, caught: None };
    for seed in from..to {
        let verdict = child(seed, seconds, How { bug: Some(bug.name()), ..How::default() });
        row.seeds += 1;
        row.reached += verdict.reached;
        if let Some(why) = verdict.failures.first() {
            row.caught = Some((seed, why.chars().take(160).collect()));
            break;
        }
    }
    row
}
