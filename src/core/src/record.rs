//! What is kept for an address.
//!
//! A record is stored as it was when it last changed. What it *is* at a log time τ follows from it
//! and τ alone (see [`Record::settle`]): a deadline that has passed takes effect at once, whether
//! or not anything was written or reclaimed.

mod settle;
mod show;

pub use settle::Settled;
pub use show::Access;

use crate::bytes::Blob;
use crate::fingerprint::{Fields, Fingerprint};
use crate::money::Money;
use crate::nonce::Nonce;
use crate::outcome::{Outcome, OutcomeClass};
use crate::policy::Terms;
use crate::tagged;
use crate::text::{Label, Principal, Reason, Trace};
use crate::time::LogTime;
use crate::token::Token;
use bincode::{Decode, Encode};

/// The record of one address, from its first grant until it is absent again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// What makes a request the same as the one that was granted.
    pub fingerprint: Fingerprint,
    /// Per-field digests of the granted request; empty once erased.
    pub fields: Fields,
    /// The token of the incarnation's first grant: names the incarnation.
    pub incarnation: Token,
    /// The last token granted.
    pub token: Token,
    /// The nonce of that grant.
    pub nonce: Nonce,
    /// The attempt of that grant, from 1.
    pub attempt: u32,
    /// Who claimed last; empty while no authentication is set.
    pub principal: Principal,
    /// The trace of the incarnation's first grant.
    pub first_trace: Option<Trace>,
    /// The value that the last claim stated.
    pub value: Option<Money>,
    /// The label of the last claim.
    pub label: Option<Label>,
    /// The policy values of the last grant.
    pub terms: Terms,
    /// The last resolution, if an operator or reconciler made one in this incarnation.
    pub resolution: Option<Resolution>,
    /// Where it stands.
    pub state: State,
}

/// Where a stored record stands. The tags are frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody holds it, or held it until its deadline passed.
    Claimed(Claimed),
    /// Nobody holds it; the next claim takes it over.
    Open(Open),
    /// The holder's lease lapsed after its effect may have happened.
    InDoubt(InDoubt),
    /// It ran, and the result is kept.
    Completed(Completed),
    /// It ran; the result is gone, the memory is not.
    Spent(Spent),
}
tagged!(State { 1 => Claimed(Claimed), 2 => Open(Open), 3 => InDoubt(InDoubt), 4 => Completed(Completed), 5 => Spent(Spent) });

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claimed {
    /// When it was granted.
    pub claimed_at: LogTime,
    /// When the lease ends; only moves forward.
    pub deadline: LogTime,
    /// The lease as last given, ms.
    pub lease_ms: u64,
    /// The recovery point; empty when there is none; at most 4 KiB.
    pub checkpoint: Blob,
    /// The highest renewal sequence number applied; 0 before the first.
    pub renewal_seq: u64,
    /// Set when the holder said that from here on the effect may have happened.
    pub marked: bool,
    /// Whether the attempt before this one was marked.
    pub prior_mark: bool,
    /// The trace of this claim.
    pub trace: Option<Trace>,
}

/// Why nobody holds an open record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenCause {
    /// Its holder released it.
    Released,
    /// Its holder's lease lapsed.
    Lapsed,
    /// It was in doubt and was resolved as not having happened.
    Resolved,
}
tagged!(OpenCause { 1 => Released, 2 => Lapsed, 3 => Resolved });

/// Nobody holds it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Open {
    /// Why.
    pub cause: OpenCause,
    /// Since when.
    pub since: LogTime,
    /// The recovery point of the last attempt; empty when there is none.
    pub checkpoint: Blob,
    /// Whether the last attempt was marked.
    pub marked: bool,
}

/// Nobody may silently run it again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InDoubt {
    /// When the claim was granted.
    pub claimed_at: LogTime,
    /// When the lease lapsed.
    pub since: LogTime,
    /// The recovery point; empty when there is none.
    pub checkpoint: Blob,
    /// Whether the mark was set (under `always_in_doubt` it need not be).
    pub marked: bool,
}

/// It ran.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Completed {
    /// The outcome as it is replayed.
    pub outcome: Outcome,
    /// The digest of outcome class, result and metadata.
    pub digest: [u8; 16],
    /// When it completed.
    pub completed_at: LogTime,
    /// When its retention ends.
    pub expires_at: LogTime,
}

/// It ran; only the memory is left.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Spent {
    /// How it ended; absent when it was forgotten before it ended.
    pub class: Option<OutcomeClass>,
    /// The digest of outcome class, result and metadata; zero when there was none.
    pub digest: [u8; 16],
    /// When it completed, or was forgotten.
    pub completed_at: LogTime,
    /// When the memory ends; the record is absent from then on.
    pub forgotten_at: LogTime,
}

/// What an operator or a reconciler decided about a claim in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Resolution {
    /// The token that was in doubt.
    pub token: Token,
    /// The digest of the verdict, by which a repeated resolve is recognised.
    pub verdict_digest: [u8; 16],
    /// When.
    pub at: LogTime,
    /// Who; empty while no authentication is set.
    pub principal: Principal,
    /// Why.
    pub reason: Reason,
}
