//! The rolling digests that a replica remembers, and what those of its peers say about it.
//!
//! Replicas that applied the same entry have the same digest, or one of them is wrong. Each
//! remembers the digest at every [`EVERY`]th index, and asks the others for theirs at some of these
//! places. Whoever differs from a majority of the members stops; where no majority agrees at all,
//! everyone does. A difference that members who have not answered may still decide is not judged
//! at once: see [`crate::group::compare`].

use hapax_wire::limits::DIGESTS;
use std::collections::VecDeque;

/// The digest is remembered at indexes that are a multiple of this.
pub const EVERY: u64 = 64;
/// How many places are remembered.
const REMEMBERED: usize = 256;

/// A rolling digest.
pub type Digest = [u8; 16];

/// The places that one replica remembers, oldest first.
#[derive(Debug, Default)]
pub struct DigestRing {
    points: VecDeque<(u64, Digest)>,
}

impl DigestRing {
    /// Notes the digest after the entry of `index` was applied.
    pub fn note(&mut self, index: u64, digest: Digest) {
        if !index.is_multiple_of(EVERY) {
            return;
        }
        if self.points.len() == REMEMBERED {
            self.points.pop_front();
        }
        self.points.push_back((index, digest));
    }

    /// Forgets everything: a snapshot has replaced the state.
    pub fn clear(&mut self) {
        self.points.clear();
    }

    /// The digest at `index`, where it is remembered.
    #[must_use]
    pub fn at(&self, index: u64) -> Option<Digest> {
        let place = self.points.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        self.points.get(place).map(|(_, digest)| *digest)
    }

    /// Places to compare: the newest few, and some spread over the rest for peers that lag.
    #[must_use]
    pub fn places(&self) -> Vec<(u64, Digest)> {
        let newest = self.points.len().saturating_sub(DIGESTS / 2);
        let step = newest.div_ceil(DIGESTS / 2).max(1);
        let older = self.points.iter().take(newest).step_by(step);
        older.chain(self.points.iter().skip(newest)).copied().collect()
    }
}

/// What the digests of a group's members say about this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nobody differs.
    Same,
    /// Somebody differs, but this replica is one of the majority.
    OthersDiffer,
    /// A majority agrees on something else.
    InTheMinority,
    /// There are differences, and those who have not answered may decide.
    Open,
    /// There are differences, and no majority can agree.
    NoMajority,
}

/// Judges one place: `own` digest, those of the `others` that answered, of `members` in all.
#[must_use]
pub fn judge(own: Digest, others: &[Digest], members: usize) -> Judgement {
    if others.iter().all(|other| *other == own) {
        return Judgement::Same;
    }
    let quorum = members / 2 + 1;
    let votes = |digest: Digest| usize::from(digest == own) + others.iter().filter(|o| **o == digest).count();
    if votes(own) >= quorum {
        return Judgement::OthersDiffer;
    }
    let best = others.iter().map(|other| votes(*other)).max().unwrap_or(0);
    if best >= quorum {
        return Judgement::InTheMinority;
    }
    let silent = members.saturating_sub(others.len() + 1);
    if best.max(votes(own)) + silent >= quorum { Judgement::Open } else { Judgement::NoMajority }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Digest = [1; 16];
    const B: Digest = [2; 16];
    const C: Digest = [3; 16];

    #[test]
    fn the_majority_is_right_whoever_asks() {
        assert_eq!(judge(A, &[A, A], 3), Judgement::Same);
        assert_eq!(judge(A, &[A, B], 3), Judgement::OthersDiffer);
        assert_eq!(judge(B, &[A, A], 3), Judgement::InTheMinority);
        assert_eq!(judge(B, &[A, A, A, B], 5), Judgement::InTheMinority);
    }

    #[test]
    fn without_a_majority_everyone_stops_but_not_while_somebody_may_decide() {
        assert_eq!(judge(A, &[B], 3), Judgement::Open);
        assert_eq!(judge(A, &[B, C], 3), Judgement::NoMajority);
        assert_eq!(judge(A, &[B], 2), Judgement::NoMajority);
        assert_eq!(judge(A, &[], 3), Judgement::Same);
        assert_eq!(judge(A, &[B, C, B, A], 5), Judgement::NoMajority);
        assert_eq!(judge(A, &[B, B], 5), Judgement::Open);
    }

    #[test]
    fn a_ring_remembers_every_64th_place_and_offers_at_most_16() {
        let mut ring = DigestRing::default();
        for index in 0..=100_000 {
            ring.note(index, [u8::try_from(index % 251).unwrap(); 16]);
        }
        let newest = 100_000 / EVERY * EVERY;
        assert_eq!(ring.at(newest), Some([u8::try_from(newest % 251).unwrap(); 16]));
        assert_eq!(ring.at(newest - 1), None);
        assert_eq!(ring.at(newest - 256 * EVERY), None);
        let places = ring.places();
        assert!(places.len() <= DIGESTS, "{}", places.len());
        assert_eq!(places.last().map(|(index, _)| *index), Some(newest));
        assert!(places.first().is_some_and(|(index, _)| *index <= newest - 200 * EVERY));
    }
}
