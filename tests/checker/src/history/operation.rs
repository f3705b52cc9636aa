//! One call of one verb, and its answer.

use super::{Call, Name, Reply};
use serde::{Deserialize, Serialize};

/// One call, sent once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Unique in the history. The operations of one batch have rising ids in batch order.
    pub id: u64,
    /// Who called: one connection of one session.
    pub client: Name,
    /// The node that was asked, if the recorder knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// The phase of the run in which it was sent.
    pub phase: Phase,
    /// When it was about to be sent.
    pub invoke_us: u64,
    /// When its answer had been read; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_us: Option<u64>,
    /// The batch that it was sent in, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// Who asks; empty while no authentication is set.
    #[serde(default, skip_serializing_if = "Name::is_empty")]
    pub principal: Name,
    /// Past this log time a mutating verb has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_ms: Option<u64>,
    /// What was asked.
    pub call: Call,
    /// What was answered.
    pub reply: Reply,
    /// From where in which log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
}

impl Operation {
    /// Whether it may have had an effect that nobody was told of: never answered, or answered with
    /// an error that is not definite.
    #[must_use]
    pub fn is_indefinite(&self) -> bool {
        matches!(self.reply, Reply::None | Reply::Error { definite: false, .. })
    }

    /// Whether it was answered by its verb's own kind of reply, not by an error.
    #[must_use]
    pub fn is_success(&self) -> bool {
        !matches!(self.reply, Reply::None | Reply::Error { .. })
    }
}

/// The phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before the first fault.
    WarmUp,
    /// While faults are injected.
    Faults,
    /// After the last one was healed.
    Healed,
    /// The scan of every acknowledged key from every node.
    Final,
}

impl Phase {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WarmUp => "warm_up",
            Self::Faults => "faults",
            Self::Healed => "healed",
            Self::Final => "final",
        }
    }
}

/// From where a reply was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// The shard.
    pub shard: u32,
    /// The log index: of the command's entry when applied, else the last one applied when read.
    pub index: u64,
    /// The position inside that entry; 0 for a read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub position: u32,
    /// The shard's log time there.
    pub log_time_ms: u64,
    /// What the reply rests on.
    pub basis: Basis,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a reply rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The command went through the log.
    Applied,
    /// It was read from applied state, the lead having been confirmed after the call came.
    Read,
    /// It was read from a follower's state, as the caller allowed.
    Stale,
}
