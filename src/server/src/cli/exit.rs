//! Exit statuses: what a script branches on. They never change.

use hapax_core::{Answer, Reply};
use std::process::ExitCode;

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Granted, or done.
    Ok,
    /// Something failed, or the reply is none of those below.
    Error,
    /// The command line is wrong.
    Usage,
    /// It ran before; this is what it gave.
    Replayed,
    /// Somebody else runs it.
    InFlight,
    /// It may have happened.
    InDoubt,
    /// The key was used for another request.
    Mismatch,
    /// It ran before; the result is gone.
    Spent,
    /// The token is dead.
    Fenced,
    /// Another outcome is kept.
    Conflict,
    /// This call's own claim is over.
    Ended,
    /// First sent longer ago than anything is remembered.
    TooOld,
    /// The status of a command that was run, or replayed.
    Command(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Replayed => 10,
            Self::InFlight => 11,
            Self::InDoubt => 12,
            Self::Mismatch => 13,
            Self::Spent => 14,
            Self::Fenced => 15,
            Self::Conflict => 16,
            Self::Ended => 17,
            Self::TooOld => 18,
            Self::Command(status) => status,
        }
    }

    /// What an answer is told by.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        match &answer.reply {
            Reply::Granted(_)
            | Reply::Renewed(_)
            | Reply::Completed(_)
            | Reply::AlreadyCompleted
            | Reply::Released
            | Reply::Resolved
            | Reply::Ignored
            | Reply::Forgotten
            | Reply::State(_)
            | Reply::Page(_) => Self::Ok,
            Reply::Replayed(_) => Self::Replayed,
            Reply::InFlight(_) => Self::InFlight,
            Reply::InDoubt(_) => Self::InDoubt,
            Reply::Mismatch(_) => Self::Mismatch,
            Reply::Spent(_) => Self::Spent,
            Reply::Fenced => Self::Fenced,
            Reply::Conflict => Self::Conflict,
            Reply::Ended(_) => Self::Ended,
            Reply::TooOld => Self::TooOld,
            Reply::NotInDoubt | Reply::Changed | Reply::Error(_) => Self::Error,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}
