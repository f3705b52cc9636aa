//! Answers without a log entry.
//!
//! Allowed only where the same reply follows at the applied log time and at the leader's stamp,
//! and nothing changes: then no entry that could be put into the log now would be answered
//! otherwise. Everything else must be proposed. The caller has confirmed its leadership
//! (ReadIndex) after the call arrived, and looks at all that was applied up to that index.

use crate::command::Command;
use crate::fingerprint::Fingerprint;
use crate::record::Record;
use crate::reply::Reply;
use crate::seeded::{self, Bug};
use crate::time::LogTime;
use crate::token::Token;
use crate::transition::{At, Change, decide, known_format};
use crate::verbs;

/// The two ends of the time in which a read happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAt {
    /// The applied log time τ.
    pub applied: LogTime,
    /// The leader's stamp, taken after the call arrived; not before `applied`.
    pub stamp: LogTime,
}

impl ReadAt {
    /// The stamp, held at the applied log time should a clock have fallen behind it.
    fn latest(self) -> LogTime {
        self.stamp.max(self.applied)
    }
}

/// The answer of a mutating verb that changes nothing, or `None` where it must be proposed.
///
/// What is left of a lease is counted from the stamp.
#[must_use]
pub fn read_verb(found: Option<&Record>, command: &Command, at: ReadAt) -> Option<Reply> {
    known_format(command).ok()?;
    let stamp = at.latest();
    let first = answer_at(found, command, at.applied, stamp)?;
    let second = answer_at(found, command, stamp, stamp)?;
    (first == second || seeded::active(Bug::ReadIgnoresStamp)).then_some(first)
}

/// The answer at `time` if it changes nothing.
fn answer_at(found: Option<&Record>, command: &Command, time: LogTime, stamp: LogTime) -> Option<Reply> {
    // Stands for any later place in the log: a grant there would have a higher token than all.
    let anywhere = At {
        shard: 0,
        epoch: Token::EPOCH_MAX,
        index: Token::INDEX_MAX,
        position: Token::POSITION_MAX,
        time,
    };
    let transition = decide(found, command, anywhere, stamp);
    matches!(transition.change, Change::Keep).then_some(transition.reply)
}

/// The answer of a get, or `None` where a deadline lies between the two times: then a tick must be
/// proposed and the record read again.
#[must_use]
pub fn read_get(
    found: Option<&Record>,
    fingerprint: Option<&Fingerprint>,
    is_reader: bool,
    at: ReadAt,
) -> Option<Reply> {
    let first = verbs::get::answer(found, fingerprint, is_reader, at.applied);
    let second = verbs::get::answer(found, fingerprint, is_reader, at.latest());
    (first == second || seeded::active(Bug::ReadIgnoresStamp)).then_some(first)
}
