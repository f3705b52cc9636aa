//! What get and list show.

use super::cell::{Record, Stage, Token};
use super::claim::same_payload;
use super::{After, Cell, Clock, Instant, Model};
use crate::history::{Class, Detail, Fingerprint, Outcome, Payload, StateKind, View};

/// The parts of a state that a view shows.
struct Shown<'a> {
    kind: StateKind,
    marked: bool,
    class: Option<Class>,
    outcome: Option<&'a Outcome>,
    checkpoint: Option<&'a Payload>,
}

impl<'h, C: Clock> Model<'h, C> {
    /// Adds the state that `cell` has if it looks like `view`. `access` is the fingerprint that came
    /// with a get and whether everybody may read; a row of a listing has none, and no outcome.
    pub(super) fn view(
        &self,
        cell: &Cell<'h>,
        view: &View,
        access: Option<(Option<&Fingerprint>, bool)>,
        now: Instant,
        whole: bool,
        out: &mut Vec<After<'h>>,
    ) {
        let Some(record) = cell.record else {
            if view.state == StateKind::Absent && view.token == 0 && view.detail.is_none() {
                out.push((*cell, now));
            }
            return;
        };
        if view.state == StateKind::Absent || view.attempt != record.attempt {
            return;
        }
        let Some(cell) = cell.bound(view.token) else { return };
        let may_read = access.is_none_or(|(fingerprint, everyone)| {
            everyone || fingerprint.is_some() && fingerprint == record.claim.fingerprint.as_ref()
        });
        let shown = shown(&record.stage);
        let says_class = matches!(shown.kind, StateKind::Completed | StateKind::Spent);
        let fits = view.state == shown.kind
            && (says_class || view.marked == shown.marked)
            && view.class == shown.class.filter(|_| may_read)
            && (view.detail.is_some() == may_read || !whole);
        let detail_fits = view
            .detail
            .as_ref()
            .is_none_or(|detail| may_read && (!whole || fits_detail(detail, &shown, &record)));
        if let Some(stage) = (fits && detail_fits).then(|| self.timed(&record.stage, view)).flatten() {
            out.push((cell.with(Record { token: Token::Known(view.token), stage, ..record }), now));
        }
    }

    /// The state with the times that the view says.
    fn timed(&self, stage: &Stage<'h>, view: &View) -> Option<Stage<'h>> {
        let mut next = *stage;
        let (since, until) = match &mut next {
            Stage::Claimed { since, deadline, .. } => (since, Some(deadline)),
            Stage::Open { since, ends, .. } => (since, Some(ends)),
            Stage::InDoubt { since, .. } => (since, None),
            Stage::Completed { since, expires, .. } => (since, Some(expires)),
            Stage::Spent { since, forgotten, .. } => (since, Some(forgotten)),
        };
        if let Some(said) = view.since_ms {
            *since = self.clock.said(*since, said)?;
        }
        match (until, view.until_ms) {
            (Some(until), Some(said)) => *until = self.clock.said(*until, said)?,
            (None, Some(_)) => return None,
            (_, None) => (),
        }
        Some(next)
    }
}

fn shown<'a>(stage: &'a Stage<'_>) -> Shown<'a> {
    let plain = |kind, marked, checkpoint| Shown { kind, marked, class: None, outcome: None, checkpoint };
    match stage {
        Stage::Claimed { marked, checkpoint, .. } => {
            plain(StateKind::Claimed, *marked, checkpoint.as_ref().map(|payload| payload.0))
        }
        Stage::Open { marked, checkpoint, .. } => {
            plain(StateKind::Open, *marked, checkpoint.as_ref().map(|payload| payload.0))
        }
        Stage::InDoubt { marked, checkpoint, .. } => {
            plain(StateKind::InDoubt, *marked, checkpoint.as_ref().map(|payload| payload.0))
        }
        Stage::Completed { outcome, .. } => Shown {
            class: Some(outcome.class),
            outcome: Some(outcome.0),
            ..plain(StateKind::Completed, false, None)
        },
        Stage::Spent { class, .. } => Shown { class: *class, ..plain(StateKind::Spent, false, None) },
    }
}

fn fits_detail(detail: &Detail, shown: &Shown<'_>, record: &Record<'_>) -> bool {
    let erased = shown.kind == StateKind::Spent;
    let label = record.claim.label.as_ref().filter(|_| !erased);
    let trace = record.first.trace.as_ref().filter(|_| !erased);
    detail.outcome.as_ref() == shown.outcome
        && same_payload(detail.checkpoint.as_ref(), shown.checkpoint)
        && detail.label.as_ref() == label
        && detail.first_trace.as_ref() == trace
}
