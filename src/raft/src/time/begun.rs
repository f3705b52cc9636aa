//! Which replicas can show that their processes were started after an entry was made.
//!
//! Log time may jump only where no quorum has been running since the last stamped entry. A replica that
//! received that entry when it was made knows the time. One that knows none shows that it was started later
//! by what its log held then; and where one shows that, so does who was started after it. One that can show
//! neither may have been running all the time, behind a network that was cut, and counts as if it had.

use hapax_store::log::LogPosition;
use hapax_wire::peer::Begun;

/// How many of these were certainly started after the entry at `last`, where their uptimes were read within
/// `read_ms`. Boot clocks that run up to a twentieth too fast or too slow deceive nobody.
#[must_use]
pub fn started_after(last: LogPosition, all: &[Begun], read_ms: u64) -> usize {
    let held_it = |begun: &Begun| (begun.term, begun.index) >= (last.term, last.index);
    let longest = all.iter().filter(|begun| held_it(begun)).map(|begun| begun.up_ms).max();
    let is_younger = |begun: &Begun| {
        let at_most = begun.up_ms.saturating_add(read_ms);
        longest.is_some_and(|longest| at_most.saturating_add(at_most / 8) <= longest)
    };
    all.iter().filter(|begun| held_it(begun) || is_younger(begun)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: LogPosition = LogPosition { term: 3, index: 40 };

    fn begun(term: u64, index: u64, up_ms: u64) -> Begun {
        Begun { term, index, up_ms }
    }

    #[test]
    fn a_log_that_held_the_entry_shows_it() {
        assert_eq!(started_after(LAST, &[begun(3, 40, 9), begun(3, 41, 9), begun(4, 7, 9)], 0), 3);
        assert_eq!(started_after(LAST, &[begun(3, 39, 9), begun(2, 90, 9), begun(0, 0, 9)], 0), 0);
    }

    #[test]
    fn who_was_started_after_one_that_held_it_shows_it() {
        let held = begun(3, 40, 9_000);
        assert_eq!(started_after(LAST, &[held, begun(3, 39, 8_000)], 0), 2);
        assert_eq!(started_after(LAST, &[held, begun(3, 39, 8_001)], 0), 1, "by clocks that differ");
        assert_eq!(started_after(LAST, &[held, begun(3, 39, 7_900)], 100), 2);
        assert_eq!(started_after(LAST, &[held, begun(3, 39, 7_900)], 101), 1, "by answers that took long");
        assert_eq!(started_after(LAST, &[begun(3, 39, 100), begun(3, 38, 1)], 0), 0, "nobody held it");
    }
}
