//! The first line of a history: what holds for the whole run.

use super::{Name, Phase, PlannedFault};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The version of this format: [`Header::VERSION`].
    pub version: u32,
    /// What made the history, in a few words.
    pub run: String,
    /// The seed from which everything random was drawn.
    pub seed: u64,
    /// How many nodes the cluster had.
    pub nodes: u32,
    /// How many data shards.
    pub shards: u32,
    /// How many replicas each shard had.
    pub replication: u32,
    /// Whether every caller may read every record's detail by get: so while no authentication is set.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub everyone_reads: bool,
    /// The policies in force, resolved. Where no row matches, the protocol's defaults are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyRow>,
    /// What the clocks of the run may do.
    #[serde(default)]
    pub clock: ClockBounds,
    /// The faults that the run set out to inject. Each must be proved by a fault line that names its
    /// id, or the run is void.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<PlannedFault>,
    /// What the run must have reached to mean anything.
    #[serde(default)]
    pub expect: Expectations,
}

impl Header {
    /// The version of the format.
    pub const VERSION: u32 = 1;

    /// A header with the protocol's default policies and nothing planned.
    #[must_use]
    pub fn new(run: &str, seed: u64) -> Self {
        Self {
            version: Self::VERSION,
            run: run.to_owned(),
            seed,
            nodes: 3,
            shards: 1,
            replication: 3,
            everyone_reads: true,
            policies: Vec::new(),
            clock: ClockBounds::default(),
            planned: Vec::new(),
            expect: Expectations::default(),
        }
    }
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

/// The policy of a tenant's operation, resolved: no prefix rules, one row for each pair that the run
/// uses and that has other values than the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRow {
    /// The whole tenant path, or `*` for any.
    pub tenant: Name,
    /// The operation, or `*` for any.
    pub operation: Name,
    /// What applies. The first row that matches wins.
    pub policy: Policy,
}

/// The values of a policy. Durations in ms.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The lease where the caller asks for none.
    pub lease_ms: u64,
    /// The shortest lease given.
    pub lease_min_ms: u64,
    /// The longest lease given.
    pub lease_max_ms: u64,
    /// The longest that one claim may be held.
    pub max_hold_ms: u64,
    /// How long a success is replayed.
    pub retention_success_ms: u64,
    /// How long a rejection is replayed.
    pub retention_rejected_ms: u64,
    /// How long an error is replayed.
    pub retention_error_ms: u64,
    /// The shortest retention given.
    pub retention_min_ms: u64,
    /// The longest retention given.
    pub retention_max_ms: u64,
    /// How long a released record, and a lapsed one's checkpoint, is kept.
    pub abandoned_ms: u64,
    /// How long it is remembered, after its retention, that a key ran.
    pub memory_ms: u64,
    /// What a lapsed lease leads to.
    pub on_lapse: OnLapse,
    /// How strictly the protocol is enforced.
    pub mode: Mode,
    /// Whether a mismatch names the fields that differ.
    pub name_fields: bool,
    /// Whether a claim without a fingerprint is refused.
    pub fingerprint_required: bool,
    /// The largest result, bytes.
    pub max_result_bytes: u64,
    /// Whether the policy has quotas, so that a claim may be refused with `quota`.
    pub has_quota: bool,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE_MS: u64 = 60_000;
        const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
        Self {
            lease_ms: 30_000,
            lease_min_ms: 1000,
            lease_max_ms: 60 * MINUTE_MS,
            max_hold_ms: DAY_MS,
            retention_success_ms: DAY_MS,
            retention_rejected_ms: DAY_MS,
            retention_error_ms: 5 * MINUTE_MS,
            retention_min_ms: 1000,
            retention_max_ms: 365 * DAY_MS,
            abandoned_ms: DAY_MS,
            memory_ms: 7 * DAY_MS,
            on_lapse: OnLapse::TakeoverUnlessMarked,
            mode: Mode::Enforce,
            name_fields: true,
            fingerprint_required: true,
            max_result_bytes: 256 * 1024,
            has_quota: false,
        }
    }
}

/// What a lapsed lease leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLapse {
    /// In doubt after the mark, open before it.
    TakeoverUnlessMarked,
    /// Always in doubt.
    AlwaysInDoubt,
    /// Always open.
    AlwaysTakeover,
}

/// How strictly the protocol is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Refusals are refusals.
    Enforce,
    /// Refusals are granted as shadows.
    Observe,
    /// Every claim is a shadow.
    Off,
}

/// What log time may do while real time, as the run's monotonic clock has it, goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClockBounds {
    /// The slowest rate of log time per real time outside of outages. The product of how slow a
    /// node's own clock may be in the run and how slow the protocol lets log time be.
    pub rate_min: f64,
    /// The fastest rate outside of jumps, likewise.
    pub rate_max: f64,
    /// What rounding and reading of clocks may add or take, ms.
    pub slack_ms: u64,
    /// Windows of real time in which log time may jump forward, as at a cold start of a shard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jumps: Vec<Window>,
    /// Whether log time may stand still at moments that no list names (elections, loss of a quorum,
    /// frozen clocks). Then nothing is said to be late, only early.
    pub may_stall: bool,
}

impl Default for ClockBounds {
    fn default() -> Self {
        Self { rate_min: 0.95, rate_max: 1.05, slack_ms: 2, jumps: Vec::new(), may_stall: true }
    }
}

/// A window of real time in which the log time of a shard may jump forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// From here.
    pub from_us: u64,
    /// To here.
    pub to_us: u64,
    /// By at most so much in all, ms.
    pub by_ms: u64,
    /// The shard; every shard where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
}

/// What a run must have reached; else it is void.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expectations {
    /// At least so many operations of a phase with a reply that is no error.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub successes: BTreeMap<Phase, u64>,
    /// These reply kinds, by the name that [`super::Reply::kind`] gives, or `error:` and a code.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<String>,
}
