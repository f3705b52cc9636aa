//! What get and list show of a record.

use crate::address::Address;
use crate::bytes::Blob;
use crate::money::Money;
use crate::outcome::{Outcome, OutcomeClass};
use crate::record::Resolution;
use crate::tagged;
use crate::text::{Label, Trace};
use crate::time::LogTime;
use crate::token::Token;
use bincode::{Decode, Encode};

/// The state of an address at a log time. The tags are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// Nothing is known of it.
    Absent,
    /// Somebody runs.
    Claimed,
    /// Nobody holds it; the next claim takes it over.
    Open,
    /// It may have happened.
    InDoubt,
    /// It ran, and the result is kept.
    Completed,
    /// It ran; the result is gone.
    Spent,
}
tagged!(StateKind { 1 => Absent, 2 => Claimed, 3 => Open, 4 => InDoubt, 5 => Completed, 6 => Spent });

impl StateKind {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Absent, Self::Claimed, Self::Open, Self::InDoubt, Self::Completed, Self::Spent];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Claimed => "claimed",
            Self::Open => "open",
            Self::InDoubt => "in_doubt",
            Self::Completed => "completed",
            Self::Spent => "spent",
        }
    }
}

/// A record as get shows it: its state with its token and times; the rest only to a caller with
/// the same fingerprint, or with the reader role.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct View {
    /// Where it stands.
    pub state: StateKind,
    /// The last token; [`Token::NONE`] when absent.
    pub token: Token,
    /// The last attempt; 0 when absent.
    pub attempt: u32,
    /// Since when it is in that state; for a spent record, when it completed or was forgotten.
    pub since: Option<LogTime>,
    /// When that state ends by itself: the lease, the retention, the memory.
    pub until: Option<LogTime>,
    /// Claimed, open, in doubt: whether the (last) attempt was marked.
    pub marked: bool,
    /// How it ended, once completed or spent; only to whom the detail is shown.
    pub class: Option<OutcomeClass>,
    /// What only the right caller sees.
    pub detail: Option<ViewDetail>,
}

/// The part of a record that needs the matching fingerprint or the reader role.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ViewDetail {
    /// The outcome, while it is kept.
    pub outcome: Option<Outcome>,
    /// The recovery point; empty when there is none.
    pub checkpoint: Blob,
    /// The last claim's label.
    pub label: Option<Label>,
    /// The trace of the incarnation's first grant.
    pub first_trace: Option<Trace>,
    /// The value at stake.
    pub value: Option<Money>,
    /// The last resolution.
    pub resolution: Option<Resolution>,
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Row {
    /// The record's address.
    pub address: Address,
    /// What is there; without outcome and checkpoint.
    pub view: View,
}

/// One page of one shard's listing, in canonical order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Page {
    /// The rows; at most 1000.
    pub rows: Vec<Row>,
    /// Where to go on; absent at the end. (A filtered page may be short and still go on.)
    pub next: Option<Address>,
}
