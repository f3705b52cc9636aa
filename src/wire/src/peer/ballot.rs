//! Who leads a group, and where its log ends.

use crate::codec::fields;

/// A vote as a replica keeps it: in which term, for whom, and whether a quorum granted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ballot {
    /// The term.
    pub term: u64,
    /// The replica voted for; 0 where none was.
    pub replica: u64,
    /// Whether a quorum granted it: that replica leads in that term.
    pub committed: bool,
}
fields!(Ballot { term, replica, committed });

/// A place in a group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The term of the leader that wrote the entry.
    pub term: u64,
    /// Its index.
    pub index: u64,
}
fields!(Position { term, index });
