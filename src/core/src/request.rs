//! What a caller asks, before a leader has resolved the policy.

use crate::address::{Address, Operation, Tenant};
use crate::bytes::Blob;
use crate::command::ForgetMode;
use crate::fingerprint::{Fields, Fingerprint};
use crate::money::Money;
use crate::nonce::Nonce;
use crate::outcome::Outcome;
use crate::tagged;
use crate::text::{Label, Reason, Trace};
use crate::time::LogTime;
use crate::token::Token;
use crate::view::StateKind;
use bincode::{Decode, Encode};

/// One verb as a caller sends it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Request {
    /// Past this log time a mutating verb has no effect.
    pub not_after: Option<LogTime>,
    /// The verb and its arguments.
    pub ask: Ask,
}

/// The verbs. The tags are frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Ask for the right to run.
    Claim(ClaimAsk),
    /// Extend a claim, move its recovery point, set its mark.
    Renew(RenewAsk),
    /// End a claim with an outcome.
    Complete(CompleteAsk),
    /// End a claim without one.
    Release(ReleaseAsk),
    /// Decide a claim in doubt.
    Resolve(ResolveAsk),
    /// Drop what is kept.
    Forget(ForgetAsk),
    /// Read one record.
    Get(GetAsk),
    /// Read a range of one shard.
    List(ListAsk),
}
tagged!(Ask {
    1 => Claim(ClaimAsk), 2 => Renew(RenewAsk), 3 => Complete(CompleteAsk), 4 => Release(ReleaseAsk),
    5 => Resolve(ResolveAsk), 6 => Forget(ForgetAsk), 7 => Get(GetAsk), 8 => List(ListAsk),
});

impl Ask {
    /// The stable name of the verb.
    #[must_use]
    pub fn name(&self) -> &'static str {
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

    /// The record asked about; none for a listing.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Claim(ask) => Some(&ask.address),
            Self::Renew(ask) => Some(&ask.address),
            Self::Complete(ask) => Some(&ask.address),
            Self::Release(ask) => Some(&ask.address),
            Self::Resolve(ask) => Some(&ask.address),
            Self::Forget(ask) => Some(&ask.address),
            Self::Get(ask) => Some(&ask.address),
            Self::List(_) => None,
        }
    }

    /// The shard that answers, in a cluster of `shards` data shards.
    #[must_use]
    pub fn shard(&self, shards: u32) -> u32 {
        match self {
            Self::List(ask) => ask.shard,
            ask => ask.address().map_or(0, |address| address.shard(shards)),
        }
    }
}

/// Ask for the right to run.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ClaimAsk {
    /// The record.
    pub address: Address,
    /// What makes the request the same; may be absent only where policy says so.
    pub fingerprint: Option<Fingerprint>,
    /// Per-field digests; may be empty.
    pub fields: Fields,
    /// The logical call.
    pub nonce: Nonce,
    /// The lease asked for, ms; the policy's where absent.
    pub lease_ms: Option<u64>,
    /// How long the server may hold the call while somebody else runs, ms; clamped to 60 s.
    pub wait_ms: u64,
    /// When the caller first sent this logical request.
    pub first_sent: Option<LogTime>,
    /// Free text for operators.
    pub label: Option<Label>,
    /// The caller's trace parent.
    pub trace: Option<Trace>,
    /// The value at stake.
    pub value: Option<Money>,
}

/// Extend a claim, move its recovery point, set its mark.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RenewAsk {
    /// The record.
    pub address: Address,
    /// The holder's token.
    pub token: Token,
    /// Rises with each renewal of a token.
    pub seq: u64,
    /// The lease asked for from now, ms; the policy's where absent.
    pub lease_ms: Option<u64>,
    /// The new recovery point: absent keeps the old one, empty clears it; at most 4 KiB.
    pub checkpoint: Option<Blob>,
    /// Set the no-return mark.
    pub mark: bool,
}

/// End a claim with an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CompleteAsk {
    /// The record.
    pub address: Address,
    /// The holder's token.
    pub token: Token,
    /// How it ended and what it gave.
    pub outcome: Outcome,
    /// How long it shall be replayed, ms; the policy's for its class where absent.
    pub retention_ms: Option<u64>,
}

/// End a claim without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReleaseAsk {
    /// The record.
    pub address: Address,
    /// The holder's token.
    pub token: Token,
    /// Why.
    pub reason: Option<Reason>,
}

/// Decide a claim in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ResolveAsk {
    /// The record.
    pub address: Address,
    /// The token that is in doubt.
    pub token: Token,
    /// The outcome, or absent when it did not happen.
    pub outcome: Option<Outcome>,
    /// How long the outcome shall be replayed, ms; the policy's for its class where absent.
    pub retention_ms: Option<u64>,
    /// Why.
    pub reason: Reason,
}

/// Drop what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ForgetAsk {
    /// The record.
    pub address: Address,
    /// Acts only if this is the record's last token.
    pub token: Token,
    /// What is left.
    pub mode: ForgetMode,
    /// Also a running claim.
    pub force: bool,
    /// Why.
    pub reason: Reason,
}

/// Read one record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct GetAsk {
    /// The record.
    pub address: Address,
    /// Opens the record's detail when it is the same.
    pub fingerprint: Option<Fingerprint>,
    /// How long the server may hold the call while somebody runs, ms; clamped to 60 s.
    pub wait_ms: u64,
    /// A follower may answer a completed record from its own state, labelled stale.
    pub stale: bool,
}

/// Read a range of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ListAsk {
    /// The shard.
    pub shard: u32,
    /// Whose records.
    pub tenant: Tenant,
    /// Of which operation; of all where absent.
    pub operation: Option<Operation>,
    /// In which state; in any where absent.
    pub state: Option<StateKind>,
    /// Go on after this address.
    pub after: Option<Address>,
    /// The most rows wanted; clamped to 1000.
    pub limit: u32,
}
