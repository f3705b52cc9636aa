//! What was answered.

use super::{Fingerprint, Hash16, Name};
use serde::{Deserialize, Serialize};

/// Every kind of reply of the protocol, an error, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// claim: the caller may run.
    Granted(Box<Granted>),
    /// claim: somebody else runs.
    InFlight {
        /// Its attempt.
        attempt: u32,
        /// What is left of its lease.
        lease_left_ms: u64,
    },
    /// claim: this key was used for another request.
    Mismatch {
        /// By another algorithm.
        #[serde(default)]
        algorithm: bool,
        /// The fields that differ.
        #[serde(default)]
        fields: Vec<Name>,
    },
    /// claim: this call's own claim is over.
    Ended(Ended),
    /// claim: it may have happened.
    InDoubt {
        /// The token in doubt.
        token: u64,
        /// Its attempt.
        attempt: u32,
        /// When its lease lapsed.
        since_ms: u64,
        /// Its recovery point; absent when empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Payload>,
    },
    /// claim: it ran; this is what it gave.
    Replayed(Box<Replayed>),
    /// claim: it ran; the result is gone.
    Spent {
        /// How it ended; absent when it was forgotten before it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<Class>,
        /// When it completed, or was forgotten.
        completed_at_ms: u64,
    },
    /// claim: first sent longer ago than anything is remembered.
    TooOld,
    /// renew: the lease moved.
    Renewed {
        /// When it ends now.
        deadline_ms: u64,
        /// What is left of it.
        lease_left_ms: u64,
        /// Whether the mark is set.
        marked: bool,
    },
    /// complete: the outcome is kept.
    Completed {
        /// The lease had lapsed.
        late: bool,
        /// Until when it is replayed.
        expires_at_ms: u64,
    },
    /// complete: this very outcome is already kept.
    AlreadyCompleted,
    /// complete: another outcome is already kept.
    Conflict,
    /// release: the claim is over.
    Released,
    /// resolve: decided as asked.
    Resolved,
    /// resolve: nothing is in doubt under that token.
    NotInDoubt,
    /// The token is dead.
    Fenced,
    /// A verb with a shadow's token.
    Ignored,
    /// forget: dropped, or nothing was there.
    Forgotten,
    /// forget: the record has moved on, or is running.
    Changed,
    /// get: what is there.
    State(Box<View>),
    /// list: one page of one shard.
    Page {
        /// The rows.
        rows: Vec<Row>,
        /// Where to go on; absent at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<Name>,
    },
    /// An error.
    Error {
        /// Its code.
        code: ErrorCode,
        /// Whether it is said to have had no effect.
        definite: bool,
    },
    /// Nothing came back: the connection broke, or the run ended.
    None,
}

impl Reply {
    /// The stable name.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::InFlight { .. } => "in_flight",
            Self::Mismatch { .. } => "mismatch",
            Self::Ended(_) => "ended",
            Self::InDoubt { .. } => "in_doubt",
            Self::Replayed(_) => "replayed",
            Self::Spent { .. } => "spent",
            Self::TooOld => "too_old",
            Self::Renewed { .. } => "renewed",
            Self::Completed { .. } => "completed",
            Self::AlreadyCompleted => "already_completed",
            Self::Conflict => "conflict",
            Self::Released => "released",
            Self::Resolved => "resolved",
            Self::NotInDoubt => "not_in_doubt",
            Self::Fenced => "fenced",
            Self::Ignored => "ignored",
            Self::Forgotten => "forgotten",
            Self::Changed => "changed",
            Self::State(_) => "state",
            Self::Page { .. } => "page",
            Self::Error { .. } => "error",
            Self::None => "none",
        }
    }
}

/// The right to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    /// The fencing token; 0 for a shadow.
    pub token: u64,
    /// Which attempt this is, from 1; 0 for a shadow.
    pub attempt: u32,
    /// The lease given.
    pub lease_ms: u64,
    /// What is left of it.
    pub lease_left_ms: u64,
    /// The recovery point; absent when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Payload>,
    /// An earlier attempt ended without an outcome.
    #[serde(default)]
    pub takeover: bool,
    /// An earlier attempt was marked.
    #[serde(default)]
    pub prior_mark: bool,
    /// The same grant again, for a caller whose reply was lost.
    #[serde(default)]
    pub recovered: bool,
    /// For a shadow under observe: what enforce would have said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow_of: Option<Box<Reply>>,
}

/// Why a call's own claim is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was released, by its holder or by a resolve.
    Released,
    /// Its lease lapsed.
    Lapsed,
}

/// It ran; this is what it gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replayed {
    /// How it ended and what it gave.
    pub outcome: Outcome,
    /// When it completed.
    pub completed_at_ms: u64,
    /// Until when it is replayed.
    pub expires_at_ms: u64,
    /// Which attempt completed it.
    pub attempt: u32,
    /// The trace of the incarnation's first grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_trace: Option<Name>,
}

/// How it ended and what it gave.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The class.
    pub class: Class,
    /// The result.
    pub result: Payload,
    /// The digest of the metadata.
    pub metadata: Hash16,
}

/// The classes of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It happened.
    Success,
    /// It was refused by its business rules.
    Rejected,
    /// It failed unexpectedly.
    Error,
}

/// Bytes, by digest and length, and whose they say they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// [`Hash16::of`] over the bytes.
    pub digest: Hash16,
    /// How many.
    pub len: u32,
    /// What the bytes say of their owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Box<Owner>>,
}

/// For whom bytes were made, as they say themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The record.
    pub address: Name,
    /// The request.
    pub fingerprint: Fingerprint,
    /// The token of the holder that made them. A verdict of a resolve names the token in doubt.
    pub token: u64,
}

/// The state of an address at a log time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// Nothing is known of it.
    Absent,
    /// Somebody runs.
    Claimed,
    /// Nobody holds it.
    Open,
    /// It may have happened.
    InDoubt,
    /// It ran, and the result is kept.
    Completed,
    /// It ran; the result is gone.
    Spent,
}

/// A record as get shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// Where it stands.
    pub state: StateKind,
    /// The last token; 0 when absent.
    pub token: u64,
    /// The last attempt; 0 when absent.
    pub attempt: u32,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// When that state ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Whether the last attempt was marked.
    #[serde(default)]
    pub marked: bool,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// What only the right caller sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<Detail>>,
}

impl View {
    /// What a get or a listing shows where nothing is.
    pub const ABSENT: Self = Self {
        state: StateKind::Absent,
        token: 0,
        attempt: 0,
        since_ms: None,
        until_ms: None,
        marked: false,
        class: None,
        detail: None,
    };
}

/// The part of a record that only the right caller sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// The outcome, while it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The recovery point; absent when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Payload>,
    /// The last claim's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Name>,
    /// The trace of the incarnation's first grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_trace: Option<Name>,
}

/// One row of a listing: no outcome and no checkpoint in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The record.
    pub address: Name,
    /// What is there.
    pub view: View,
}

/// The stable error codes of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// This node does not lead the shard.
    NotLeader,
    /// No quorum, or the replica cannot serve.
    Unavailable,
    /// The caller's deadline passed first.
    Deadline,
    /// `not_after` had passed.
    TooLate,
    /// A bounded queue is full.
    Overloaded,
    /// A part is over its bound.
    TooLarge,
    /// A field broke its rules.
    Invalid,
    /// No or wrong credentials.
    Unauthenticated,
    /// The caller may not do that.
    Forbidden,
    /// A quota is used up.
    Quota,
    /// The peer belongs to another cluster.
    WrongCluster,
    /// The version is not spoken here.
    Version,
}

impl ErrorCode {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotLeader => "not_leader",
            Self::Unavailable => "unavailable",
            Self::Deadline => "deadline",
            Self::TooLate => "too_late",
            Self::Overloaded => "overloaded",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::WrongCluster => "wrong_cluster",
            Self::Version => "version",
        }
    }
}
