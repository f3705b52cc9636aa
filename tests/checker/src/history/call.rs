//! What was asked.

use super::{Fingerprint, Hash16, Name, Outcome, Payload, StateKind};
use serde::{Deserialize, Serialize};

/// A verb and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Ask for the right to run.
    Claim(Box<Claim>),
    /// Extend a claim, move its recovery point, set its mark.
    Renew(Renew),
    /// End a claim with an outcome.
    Complete(Complete),
    /// End a claim without one.
    Release(Release),
    /// Decide a claim in doubt.
    Resolve(Resolve),
    /// Drop what is kept.
    Forget(Forget),
    /// Read one record.
    Get(Get),
    /// Read a range of one shard.
    List(Box<List>),
}

impl Call {
    /// The stable name of the verb.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Claim(_) => "claim",
            Self::Renew(_) => "renew",
            Self::Complete(_) => "complete",
            Self::Release(_) => "release",
            Self::Resolve(_) => "resolve",
            Self::Forget(_) => "forget",
            Self::Get(_) => "get",
            Self::List(_) => "list",
        }
    }

    /// The record that it is about; none for a list.
    #[must_use]
    pub fn address(&self) -> Option<&Name> {
        match self {
            Self::Claim(claim) => Some(&claim.address),
            Self::Renew(renew) => Some(&renew.address),
            Self::Complete(complete) => Some(&complete.address),
            Self::Release(release) => Some(&release.address),
            Self::Resolve(resolve) => Some(&resolve.address),
            Self::Forget(forget) => Some(&forget.address),
            Self::Get(get) => Some(&get.address),
            Self::List(_) => None,
        }
    }
}

/// Ask for the right to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The record.
    pub address: Name,
    /// What makes the request the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Digests of named fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// The logical call.
    pub nonce: Hash16,
    /// The lease asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// How long the call may be held.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wait_ms: u64,
    /// When the caller says it first sent this request, log time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent_ms: Option<u64>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Name>,
    /// The trace parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Name>,
}

/// The digest of one named field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name.
    pub name: Name,
    /// Its digest.
    pub digest: Hash16,
}

/// Extend a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// The record.
    pub address: Name,
    /// The holder's token.
    pub token: u64,
    /// Rises with each renewal of a token.
    pub seq: u64,
    /// The lease asked for from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// The new recovery point: absent keeps the old one, empty clears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Payload>,
    /// Set the no-return mark.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mark: bool,
}

/// End a claim with an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// The record.
    pub address: Name,
    /// The holder's token.
    pub token: u64,
    /// How it ended and what it gave.
    pub outcome: Outcome,
    /// How long it shall be replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
}

/// End a claim without an outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The record.
    pub address: Name,
    /// The holder's token.
    pub token: u64,
}

/// Decide a claim in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// The record.
    pub address: Name,
    /// The token that is in doubt.
    pub token: u64,
    /// The verdict: an outcome, or absent for release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// How long the outcome shall be replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
}

/// Drop what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    /// The record.
    pub address: Name,
    /// Acts only if this is the record's last token.
    pub token: u64,
    /// What is left.
    pub mode: ForgetMode,
    /// Also a running claim.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
}

/// What a forget leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgetMode {
    /// The memory that it ran.
    Erase,
    /// Nothing.
    Reset,
}

/// Read one record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Get {
    /// The record.
    pub address: Name,
    /// Opens the detail when it is the record's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// How long the call may be held.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wait_ms: u64,
    /// A follower may answer from its own state.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stale: bool,
}

/// Read a range of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// The shard.
    pub shard: u32,
    /// Whose records.
    pub tenant: Name,
    /// Of which operation; of all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Name>,
    /// In which state; in any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateKind>,
    /// Go on after this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Name>,
    /// The most rows wanted.
    pub limit: u32,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}
