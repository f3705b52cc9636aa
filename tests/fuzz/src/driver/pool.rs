//! The inputs that reached something new.

use super::random::Random;
use crate::seen::Seen;
use std::collections::HashSet;

/// More are not kept: the oldest finds make room.
const INPUTS_MAX: usize = 4096;

/// What mutation begins with.
#[derive(Debug, Default)]
pub struct Pool {
    inputs: Vec<Vec<u8>>,
    reached: HashSet<u64>,
}

impl Pool {
    /// Keeps an input if it reached something new; says whether it did.
    pub fn offer(&mut self, input: &[u8], seen: &Seen, random: &mut Random) -> bool {
        let before = self.reached.len();
        self.reached.extend(seen.features());
        if self.reached.len() == before {
            return false;
        }
        if self.inputs.len() < INPUTS_MAX {
            self.inputs.push(input.to_vec());
        } else {
            self.inputs[random.below(INPUTS_MAX)] = input.to_vec();
        }
        true
    }

    /// Any input; half of the time one of the last finds.
    #[must_use]
    pub fn pick(&self, random: &mut Random) -> &[u8] {
        let len = self.inputs.len();
        let late = len.min(32);
        let at = if random.below(2) == 0 { len - late + random.below(late) } else { random.below(len) };
        self.inputs.get(at).map_or(&[], Vec::as_slice)
    }

    /// How many inputs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether there is no input.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// How many features were reached.
    #[must_use]
    pub fn reached(&self) -> usize {
        self.reached.len()
    }
}
