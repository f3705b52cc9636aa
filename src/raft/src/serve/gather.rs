//! How long commands that are ready wait for others to share their entry.
//!
//! An entry costs its nodes as much as many commands in it do. Callers that wait for answers come in waves: those whom
//! one entry answers ask again together, a moment later. Whoever proposes at once what is ready parts them into groups
//! that take turns, with entries of a fraction of the size. So an entry waits until two thirds of those who are known to
//! be around are there, at most [`HOLD`].
//!
//! Contract: fewer than [`FEW`] commands never wait, nor does one whose companions did not come in time the last time.
//! Who is around is what was under way when an entry was last proposed; that fades where fewer come, and is forgotten
//! where a wait was in vain. Pure: the driver has the clock.

use std::time::Duration;
use tokio::time::Instant;

/// The longest that the oldest command waits. Shorter than an entry's way takes on a loaded machine, it would fire
/// before the callers of the entry that is on its way are back, and part them again.
pub const HOLD: Duration = Duration::from_millis(4);

/// Fewer commands under way than this never wait.
pub const FEW: usize = 5;

/// What is known of the callers.
#[derive(Debug, Default)]
pub struct Gather {
    /// Commands that are around.
    around: usize,
    /// When the oldest that is ready was first seen.
    since: Option<Instant>,
}

impl Gather {
    /// Until when `ready` commands wait for more; none if they are to be proposed now.
    pub fn hold(&mut self, ready: usize, now: Instant) -> Option<Instant> {
        if ready == 0 {
            self.since = None;
            return None;
        }
        let until = *self.since.get_or_insert(now) + HOLD;
        let enough = self.around < FEW || ready >= self.around - self.around / 3;
        (!enough && now < until).then_some(until)
    }

    /// An entry is proposed while `under_way` commands are ready or not answered yet.
    pub fn proposed(&mut self, under_way: usize, now: Instant) {
        let in_vain = self.since.take().is_some_and(|since| now >= since + HOLD);
        let faded = if in_vain { 0 } else { self.around - self.around / 8 };
        self.around = under_way.max(faded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn few_commands_never_wait() {
        let (mut gather, mut now) = (Gather::default(), Instant::now());
        for under_way in [1, 4, 2, 3, 4] {
            assert_eq!(gather.hold(1, now), None);
            gather.proposed(under_way, now);
            now += ms(1);
        }
    }

    #[test]
    fn an_entry_waits_for_two_thirds_of_those_around() {
        let (mut gather, now) = (Gather::default(), Instant::now());
        assert_eq!(gather.hold(30, now), None, "nobody is known yet");
        gather.proposed(30, now);
        assert_eq!(gather.hold(1, now + ms(1)), Some(now + ms(1) + HOLD));
        assert_eq!(gather.hold(19, now + ms(2)), Some(now + ms(1) + HOLD), "counted from the oldest");
        assert_eq!(gather.hold(20, now + ms(3)), None);
        gather.proposed(30, now + ms(3));
        // What waits next has a wait of its own.
        assert_eq!(gather.hold(1, now + ms(9)), Some(now + ms(9) + HOLD));
    }

    #[test]
    fn a_wait_ends_and_is_not_repeated_in_vain() {
        let (mut gather, mut now) = (Gather::default(), Instant::now());
        gather.proposed(1000, now);
        assert!(gather.hold(6, now).is_some());
        now += HOLD;
        assert_eq!(gather.hold(6, now), None);
        gather.proposed(6, now);
        // Six are around, and four of them are enough.
        assert!(gather.hold(3, now).is_some());
        assert_eq!(gather.hold(4, now), None);
    }

    #[test]
    fn callers_who_leave_fade() {
        let (mut gather, now) = (Gather::default(), Instant::now());
        gather.proposed(80, now);
        let entries = (0..).take_while(|_| {
            gather.proposed(6, now);
            gather.hold(6, now).is_some()
        });
        assert_eq!(entries.take(100).count(), 19, "six are two thirds of nine, an eighth less each time");
    }

    #[test]
    fn what_was_dropped_while_it_waited_leaves_no_wait_behind() {
        let (mut gather, now) = (Gather::default(), Instant::now());
        gather.proposed(10, now);
        assert!(gather.hold(1, now).is_some());
        assert_eq!(gather.hold(0, now + ms(1)), None);
        assert_eq!(gather.hold(1, now + ms(9)), Some(now + ms(9) + HOLD));
    }
}
