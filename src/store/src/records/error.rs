//! What can go wrong in the record store, said so that the caller knows what to do about it.

use crate::codec::CodecError;
use std::sync::Arc;

/// An error of the record store. Cheap to clone: one failed sync is told to everyone who waits for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the engine refused. After a failed write or sync nothing is known about the disk: the process
    /// must end, and what is on the disk is judged anew when it opens again.
    #[error("the record store failed to {doing}: {reason}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What was said.
        reason: Arc<str>,
    },
    /// Something stored is not what was written. The store (or this shard of it) must be wiped and rebuilt from
    /// the log or from a peer; until then it answers nothing.
    #[error("the record store is damaged: {what}: {reason}")]
    Damaged {
        /// What was found damaged.
        what: &'static str,
        /// How that showed, without a byte of any payload.
        reason: Arc<str>,
    },
    /// A consistent view of this shard is being read and the engine can only wait: try again later.
    #[error("the shard is pinned by a reader")]
    Pinned,
    /// A received snapshot breaks its own rules; nothing was changed.
    #[error("the snapshot is refused: {0}")]
    BadSnapshot(&'static str),
    /// The store was closed, or its writer has stopped.
    #[error("the record store is closed")]
    Closed,
}

impl StoreError {
    /// An error of the disk or of the engine.
    pub(crate) fn io(doing: &'static str, reason: impl ToString) -> Self {
        Self::Io { doing, reason: reason.to_string().into() }
    }

    /// Damage.
    pub(crate) fn damaged(what: &'static str, reason: impl ToString) -> Self {
        Self::Damaged { what, reason: reason.to_string().into() }
    }

    /// Whether wiping and rebuilding is the remedy.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

impl From<CodecError> for StoreError {
    fn from(error: CodecError) -> Self {
        Self::damaged("a stored value", error)
    }
}
