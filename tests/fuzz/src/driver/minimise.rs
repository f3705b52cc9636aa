//! Makes a failing input small.

use super::execute::{Failure, execute};
use crate::seen::Seen;
use crate::targets::Target;

/// The most runs that are spent on it.
const RUNS_MAX: usize = 4_000;

/// The smallest input found that fails at the same place.
#[must_use]
pub fn minimise(target: &Target, input: &[u8], failure: &Failure) -> Vec<u8> {
    let mut search = Search { target, place: &failure.place, best: input.to_vec(), runs: 0 };
    loop {
        let before = search.best.clone();
        search.drop_pieces();
        search.simplify_bytes();
        if search.best == before || search.runs >= RUNS_MAX {
            return search.best;
        }
    }
}

struct Search<'a> {
    target: &'a Target,
    place: &'a str,
    best: Vec<u8>,
    runs: usize,
}

impl Search<'_> {
    /// Takes the candidate if it fails at the same place.
    fn accept(&mut self, candidate: Vec<u8>) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let fails = execute(self.target, &candidate, &mut Seen::default())
            .is_err_and(|failure| failure.place == self.place);
        if fails {
            self.best = candidate;
        }
        fails
    }

    fn drop_pieces(&mut self) {
        let mut len = self.best.len().next_power_of_two() / 2;
        while len > 0 {
            let mut at = 0;
            while at < self.best.len() {
                let mut shorter = self.best.clone();
                shorter.drain(at..(at + len).min(self.best.len()));
                if !self.accept(shorter) {
                    at += len;
                }
            }
            len /= 2;
        }
    }

    fn simplify_bytes(&mut self) {
        for at in 0..self.best.len() {
            for simple in [0, b'a'] {
                if self.best[at] == simple {
                    break;
                }
                let mut simpler = self.best.clone();
                simpler[at] = simple;
                if self.accept(simpler) {
                    break;
                }
            }
        }
    }
}
