//! What is found wrong.

use crate::history::Operation;
use serde::Serialize;

/// Which part of the checker found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The linear scanners.
    Scan,
    /// The replay in the order of the witnesses.
    Witness,
    /// The search that trusts no order that the server says.
    Blind,
}

impl Tier {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Witness => "witness",
            Self::Blind => "blind",
        }
    }
}

/// One thing that cannot have happened in a cluster that keeps the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Who found it.
    pub tier: Tier,
    /// The rule: the promise's number where there is one, and a word.
    pub rule: &'static str,
    /// The address, or the shard, that it is about.
    pub about: String,
    /// The operations involved, by id, the deciding one last.
    pub operations: Vec<u64>,
    /// What happened, in one line.
    pub what: String,
}

/// One operation in a few words.
pub(crate) fn brief(operation: &Operation) -> String {
    let at = operation.witness.map_or_else(String::new, |witness| {
        let (index, position, time) = (witness.index, witness.position, witness.log_time_ms);
        format!(" @{index}.{position} t={time}")
    });
    let reply = serde_json::to_string(&operation.reply).unwrap_or_default();
    let shown: String = reply.chars().take(200).collect();
    format!("{} #{} by {}{at} -> {shown}", operation.call.verb(), operation.id, operation.client)
}
