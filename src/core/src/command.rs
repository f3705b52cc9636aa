//! What a log entry carries.
//!
//! A command is complete in itself: the leader has resolved the policy, clamped what the caller
//! asked for and stamped the log time, so that applying it needs nothing but the record found.

use crate::address::Address;
use crate::bytes::Blob;
use crate::fingerprint::{Fields, Fingerprint};
use crate::money::Money;
use crate::nonce::Nonce;
use crate::outcome::Outcome;
use crate::policy::Terms;
use crate::tagged;
use crate::text::{Label, Principal, Reason, Trace};
use crate::time::LogTime;
use crate::token::Token;
use bincode::{Decode, Encode};

/// The newest command format that this code can apply. A replica that meets a newer one stops.
pub const FORMAT: u8 = 1;

/// One log entry's worth of commands under one log time. Without commands it is a tick: it moves
/// the log time and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Batch {
    /// The leader's stamp; apply clamps it so that log time never goes back.
    pub time: LogTime,
    /// The commands, in the order in which they take effect; at most 512.
    pub commands: Vec<Command>,
}

/// One verb on one address.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Command {
    /// The format level; see [`FORMAT`].
    pub format: u8,
    /// Who asks; empty while no authentication is set.
    pub principal: Principal,
    /// Past this log time the command has no effect.
    pub not_after: Option<LogTime>,
    /// The record.
    pub address: Address,
    /// What to do.
    pub verb: Verb,
}

/// The mutating verbs. The tags are frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Ask for the right to run.
    Claim(Claim),
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
}
tagged!(Verb {
    1 => Claim(Claim), 2 => Renew(Renew), 3 => Complete(Complete), 4 => Release(Release),
    5 => Resolve(Resolve), 6 => Forget(Forget),
});

impl Verb {
    /// The stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claim(_) => "claim",
            Self::Renew(_) => "renew",
            Self::Complete(_) => "complete",
            Self::Release(_) => "release",
            Self::Resolve(_) => "resolve",
            Self::Forget(_) => "forget",
        }
    }
}

/// A claim as the leader proposes it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// What makes the request the same.
    pub fingerprint: Fingerprint,
    /// Per-field digests; may be empty.
    pub fields: Fields,
    /// The logical call.
    pub nonce: Nonce,
    /// The lease to give, clamped by policy, ms.
    pub lease_ms: u64,
    /// When the caller first sent this logical request, if it says so.
    pub first_sent: Option<LogTime>,
    /// Free text for operators.
    pub label: Option<Label>,
    /// The caller's trace parent.
    pub trace: Option<Trace>,
    /// The value at stake.
    pub value: Option<Money>,
    /// Whether a mismatch names the fields that differ.
    pub name_fields: bool,
    /// The policy values that a grant is given under; its mode decides shadows.
    pub terms: Terms,
}

/// A renewal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Renew {
    /// The holder's token.
    pub token: Token,
    /// Rises with each renewal of a token; a delayed copy changes neither checkpoint nor mark.
    pub seq: u64,
    /// The lease to give from now, clamped by policy, ms.
    pub lease_ms: u64,
    /// The new recovery point: absent keeps the old one, empty clears it.
    pub checkpoint: Option<Blob>,
    /// Set the no-return mark.
    pub mark: bool,
}

/// An end with an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Complete {
    /// The holder's token.
    pub token: Token,
    /// How it ended and what it gave.
    pub outcome: Outcome,
    /// How long it is replayed, clamped by policy, ms.
    pub retention_ms: u64,
}

/// An end without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Release {
    /// The holder's token.
    pub token: Token,
    /// Why.
    pub reason: Option<Reason>,
}

/// A decision about a claim in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Resolve {
    /// The token that is in doubt.
    pub token: Token,
    /// What is decided.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
}

/// What a resolve decides. The tags are frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It happened, with this outcome.
    Complete(VerdictComplete),
    /// It did not happen.
    Release,
}
tagged!(Verdict { 1 => Complete(VerdictComplete), 2 => Release });

/// The outcome that a resolve decides on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VerdictComplete {
    /// How it ended and what it gave.
    pub outcome: Outcome,
    /// How long it is replayed, clamped by policy, ms.
    pub retention_ms: u64,
}

/// What a forget leaves. The tags are frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForgetMode {
    /// Drop payload, label, trace and fields; leave the memory that it ran.
    #[default]
    Erase,
    /// Drop all, so that it may run again.
    Reset,
}
tagged!(ForgetMode { 1 => Erase, 2 => Reset });

/// Drop what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Forget {
    /// Acts only if this is the record's last token.
    pub token: Token,
    /// What is left.
    pub mode: ForgetMode,
    /// Also a running claim.
    pub force: bool,
    /// Why; kept by the audit log.
    pub reason: Reason,
}
