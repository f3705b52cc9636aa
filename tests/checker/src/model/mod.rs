//! The reference model: what the protocol lets happen to one address.
//!
//! Written from the protocol's tables, not from the product. It is a relation, not a function: times
//! may be known only within bounds, an effect may have no reply, a token may never have been told.
//! [`Model::step`] gives every state that an address may be in after an event, given one that it may
//! have been in before; none, if what was answered cannot be answered from there.
//!
//! All durations go through a [`Clock`], so that the same tables serve log time, which is exact, and
//! real time, which is not.

mod cell;
mod claim;
mod clock;
mod read;
mod settle;
mod verbs;

pub(crate) use cell::{Cell, Instant, Ref};
pub(crate) use clock::{Clock, LogClock, RealClock};

use crate::history::{Call, Name, Policy, Reply, View};
use cell::Token;

/// What happened at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'h> {
    /// What was asked.
    pub(crate) ask: Ask<'h>,
    /// Who asked.
    pub(crate) principal: &'h Name,
    /// What was answered; none when nobody knows.
    pub(crate) reply: Option<&'h Reply>,
    /// Whether it was applied at the very moment that is looked at, not read some time after.
    pub(crate) exact: bool,
    /// Whether everybody may read details.
    pub(crate) everyone_reads: bool,
    /// Between which log indexes a grant that was not answered lies.
    pub(crate) indexes: (u64, u64),
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask<'h> {
    /// A verb.
    Call(&'h Call),
    /// Nothing about this address alone: it came as a row of a listing.
    Row(&'h View),
}

/// A state and the moment at which it is, as narrow as it has become known.
pub(crate) type After<'h> = (Cell<'h>, Instant);

/// The tables, for one policy and one kind of time.
#[derive(Debug)]
pub(crate) struct Model<'h, C> {
    pub(crate) clock: C,
    pub(crate) policy: &'h Policy,
    settled: Vec<After<'h>>,
}

impl<'h, C: Clock> Model<'h, C> {
    pub(crate) fn new(clock: C, policy: &'h Policy) -> Self {
        Self { clock, policy, settled: Vec::new() }
    }

    /// Adds to `out` every state that may follow on `cell` when `event` happens at `now`. Of an event
    /// that nobody knows the answer of, only those in which it had an effect.
    pub(crate) fn step(
        &mut self,
        cell: &Cell<'h>,
        event: &Event<'h>,
        now: Instant,
        out: &mut Vec<After<'h>>,
    ) {
        let mut settled = std::mem::take(&mut self.settled);
        settled.clear();
        let before = out.len();
        let is_row = matches!(event.ask, Ask::Row(_));
        let shown = if is_row { self.clock.shown_by_a_row(now) } else { now };
        self.settle(*cell, shown, &mut settled);
        for (cell, now) in settled.drain(..) {
            self.answer(&cell, event, now, out);
        }
        self.settled = settled;
        if is_row {
            for (_, at) in &mut out[before..] {
                *at = Instant { lo: at.lo.max(now.lo), hi: now.hi, ..*at };
            }
        }
    }

    fn answer(&self, cell: &Cell<'h>, event: &Event<'h>, now: Instant, out: &mut Vec<After<'h>>) {
        if let Some(Reply::Error { .. }) = event.reply {
            // A definite error has no effect; whether its code is in place is for the scanners.
            return out.push((*cell, now));
        }
        match event.ask {
            Ask::Row(view) => self.view(cell, view, None, now, false, out),
            Ask::Call(Call::Claim(claim)) => self.claim(cell, claim, event, now, out),
            Ask::Call(Call::Get(get)) => {
                if let Some(Reply::State(view)) = event.reply {
                    let fingerprint = get.fingerprint.as_ref();
                    self.view(cell, view, Some((fingerprint, event.everyone_reads)), now, true, out);
                }
            }
            Ask::Call(Call::List(_)) => (),
            Ask::Call(call) => self.token_verb(cell, call, event, now, out),
        }
    }

    /// The two ways to take a token: as the record's own, or as another one's.
    fn owners(cell: &Cell<'h>, token: u64) -> (Option<Cell<'h>>, Option<Cell<'h>>) {
        let Some(record) = cell.record else { return (None, None) };
        match record.token {
            Token::Known(known) if known == token => (Some(*cell), None),
            Token::Known(_) => (None, Some(*cell)),
            Token::Unknown { .. } => (cell.bound(token), Some(*cell)),
        }
    }
}
