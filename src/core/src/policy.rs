//! The numbers and switches of a tenant's operation.
//!
//! The leader resolves a policy when a request arrives and puts the values into the command, so
//! that apply looks nothing up and replicas cannot differ by their configuration.

mod table;

pub use table::{DURATION_MAX_MS, Policies, PolicyError, RULES_MAX};

use crate::tagged;
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// What a lapsed lease leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLapse {
    /// In doubt after the mark, open to the next claim before it.
    #[default]
    TakeoverUnlessMarked,
    /// Always in doubt.
    AlwaysInDoubt,
    /// Always open to the next claim.
    AlwaysTakeover,
}
tagged!(OnLapse { 1 => TakeoverUnlessMarked, 2 => AlwaysInDoubt, 3 => AlwaysTakeover });

/// How strictly the protocol is enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Refusals are refusals.
    #[default]
    Enforce,
    /// What enforce would refuse is granted as a shadow, with the true reply beside it.
    Observe,
    /// Every claim is a shadow.
    Off,
}
tagged!(Mode { 1 => Enforce, 2 => Observe, 3 => Off });

/// Whether a claim must carry a fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FingerprintRule {
    /// A claim without one is invalid.
    #[default]
    Required,
    /// A missing one is compared as [`crate::Fingerprint::EMPTY`].
    Optional,
}

/// The policy of a tenant's operation. Durations in ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The lease where the caller asks for none.
    pub lease_ms: u64,
    /// The shortest lease given.
    pub lease_min_ms: u64,
    /// The longest lease given.
    pub lease_max_ms: u64,
    /// The longest that one claim may be held, renewals included.
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
    /// How long it is remembered, after its retention, that a key ran; 0 = not at all.
    pub memory_ms: u64,
    /// What a lapsed lease leads to.
    pub on_lapse: OnLapse,
    /// Whether a claim must carry a fingerprint.
    pub fingerprint: FingerprintRule,
    /// Whether a mismatch names the fields that differ.
    pub name_fields: bool,
    /// How strictly the protocol is enforced.
    pub mode: Mode,
    /// The largest result, bytes; at most 256 KiB.
    pub max_result_bytes: u64,
    /// The most running claims in the whole cluster, approximate.
    pub max_inflight: Option<u64>,
    /// The most records in the whole cluster, approximate.
    pub max_records: Option<u64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease_ms: 30 * SECOND_MS,
            lease_min_ms: SECOND_MS,
            lease_max_ms: HOUR_MS,
            max_hold_ms: DAY_MS,
            retention_success_ms: DAY_MS,
            retention_rejected_ms: DAY_MS,
            retention_error_ms: 5 * MINUTE_MS,
            retention_min_ms: SECOND_MS,
            retention_max_ms: 365 * DAY_MS,
            abandoned_ms: DAY_MS,
            memory_ms: 7 * DAY_MS,
            on_lapse: OnLapse::default(),
            fingerprint: FingerprintRule::default(),
            name_fields: true,
            mode: Mode::default(),
            max_result_bytes: 256 * 1024,
            max_inflight: None,
            max_records: None,
        }
    }
}

/// The policy values that a record is granted under, and keeps. Durations in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Terms {
    /// What a lapsed lease leads to.
    pub on_lapse: OnLapse,
    /// Enforce or observe. (A claim under `off` never becomes a record.)
    pub mode: Mode,
    /// The longest that this claim may be held, renewals included.
    pub max_hold_ms: u64,
    /// How long a released record, and a lapsed one's checkpoint, is kept.
    pub abandoned_ms: u64,
    /// How long a success is replayed; with `memory_ms`, how long a lapsed attempt is remembered.
    pub retention_success_ms: u64,
    /// How long it is remembered, after its retention, that the key ran.
    pub memory_ms: u64,
}

/// A policy for a tenant path and, where named, one operation of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// A tenant path, or the leading segments of one.
    pub tenant: String,
    /// The operation; all operations where absent.
    pub operation: Option<String>,
    /// What applies.
    #[serde(flatten)]
    pub policy: Policy,
}

/// All policies of a cluster: the longest matching tenant prefix (by whole segments) wins, at
/// equal length the rule that names the operation, then the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyTable {
    /// What applies where no rule matches.
    pub default: Policy,
    /// The rules, in any order.
    pub rules: Vec<PolicyRule>,
}
