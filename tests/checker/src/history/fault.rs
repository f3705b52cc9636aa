//! What was done to the cluster, and what proved it.

use serde::{Deserialize, Serialize};

/// A fault that the run set out to inject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// Its id in the plan.
    pub id: u32,
    /// Its kind, in the injector's words.
    pub kind: String,
    /// What it is aimed at.
    #[serde(default)]
    pub target: String,
}

/// A fault that was injected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The id of the planned fault that this is; absent when it was not planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<u32>,
    /// Its kind.
    pub kind: String,
    /// What it hit.
    #[serde(default)]
    pub target: String,
    /// When.
    pub at_us: u64,
    /// Whether it was seen to have taken effect.
    pub proved: bool,
    /// By what.
    #[serde(default)]
    pub evidence: String,
    /// When it was undone; absent when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed_at_us: Option<u64>,
    /// When everything that it had stopped served again; absent when that was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_again_us: Option<u64>,
}
