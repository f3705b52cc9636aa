//! Replies as a script shows them: short, and with tokens by their names.

use hapax_core::reply::Granted;
use hapax_core::{Blob, Reply, Token, View};
use std::fmt::Write as _;

pub(crate) fn reply(reply: &Reply, tokens: &[Token]) -> String {
    let name = reply.name();
    match reply {
        Reply::Granted(granted) => grant(granted, tokens),
        Reply::InFlight(in_flight) => format!(
            "in_flight attempt={} lease_left={} retry_after={}",
            in_flight.attempt,
            duration(in_flight.lease_left_ms),
            duration(in_flight.retry_after_ms)
        ),
        Reply::Mismatch(mismatch) if mismatch.algorithm => "mismatch algorithm".to_owned(),
        Reply::Mismatch(mismatch) if mismatch.fields.is_empty() => name.to_owned(),
        Reply::Mismatch(mismatch) => format!("mismatch fields={}", mismatch.fields.join(",")),
        Reply::Ended(ended) => format!("ended {ended:?}").to_lowercase(),
        Reply::InDoubt(doubt) => format!(
            "in_doubt {} attempt={} since={}{}",
            token(doubt.token, tokens),
            doubt.attempt,
            duration(doubt.since.0),
            checkpoint(&doubt.checkpoint)
        ),
        Reply::Replayed(replayed) => format!(
            "replayed {} {:?} attempt={} completed_at={} expires_at={}",
            replayed.class.name(),
            text(&replayed.result),
            replayed.attempt,
            duration(replayed.completed_at.0),
            duration(replayed.expires_at.0)
        ),
        Reply::Spent(spent) => format!(
            "spent {} completed_at={}",
            spent.class.map_or("unknown", |class| class.name()),
            duration(spent.completed_at.0)
        ),
        Reply::Renewed(renewed) => {
            let marked = if renewed.marked { " marked" } else { "" };
            let (deadline, left) = (duration(renewed.deadline.0), duration(renewed.lease_left_ms));
            format!("renewed deadline={deadline} lease_left={left}{marked}")
        }
        Reply::Completed(completed) => {
            let late = if completed.late { " late" } else { "" };
            format!("completed{late} expires_at={}", duration(completed.expires_at.0))
        }
        Reply::State(view) => state(view, tokens),
        Reply::Error(refusal) => refusal.to_string(),
        _ => name.to_owned(),
    }
}

fn grant(granted: &Granted, tokens: &[Token]) -> String {
    if granted.token.is_none() {
        let of = granted.shadow_of.as_ref().map_or(String::new(), |of| format!(" of {}", reply(of, tokens)));
        return format!("granted as a shadow{of}");
    }
    let mut line = format!(
        "granted {} attempt={} lease_left={}",
        token(granted.token, tokens),
        granted.attempt,
        duration(granted.lease_left_ms)
    );
    if let Some(kept) = &granted.checkpoint {
        line.push_str(&checkpoint(kept));
    }
    for (holds, word) in
        [(granted.takeover, "takeover"), (granted.prior_mark, "prior_mark"), (granted.recovered, "recovered")]
    {
        if holds {
            let _ = write!(line, " {word}");
        }
    }
    line
}

fn state(view: &View, tokens: &[Token]) -> String {
    let mut line = view.state.name().to_owned();
    if view.token.is_none() {
        return line;
    }
    let _ = write!(line, " {} attempt={}", token(view.token, tokens), view.attempt);
    for (name, time) in [("since", view.since), ("until", view.until)] {
        if let Some(time) = time {
            let _ = write!(line, " {name}={}", duration(time.0));
        }
    }
    if view.marked {
        line.push_str(" marked");
    }
    match &view.detail {
        None => line.push_str(" (no detail)"),
        Some(detail) => {
            if let Some(outcome) = &detail.outcome {
                let _ = write!(line, " {} {:?}", outcome.class.name(), text(&outcome.result));
            }
            line.push_str(&checkpoint(&detail.checkpoint));
            if let Some(label) = &detail.label {
                let _ = write!(line, " label={label:?}", label = label.as_str());
            }
            if let Some(resolution) = &detail.resolution {
                let _ = write!(line, " resolved={:?}", resolution.reason.as_str());
            }
        }
    }
    line
}

fn token(token: Token, tokens: &[Token]) -> String {
    match tokens.iter().position(|known| *known == token) {
        Some(i) => format!("t{}", i + 1),
        None => token.to_string(),
    }
}

fn checkpoint(bytes: &Blob) -> String {
    if bytes.is_empty() { String::new() } else { format!(" checkpoint={:?}", text(bytes)) }
}

fn text(bytes: &Blob) -> &str {
    std::str::from_utf8(bytes.as_slice()).unwrap()
}

/// The largest unit that fits without a remainder, sums in words where none does.
pub(crate) fn duration(mut ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut parts = String::new();
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
        if ms >= unit {
            let _ = write!(parts, "{}{name}", ms / unit);
            ms %= unit;
        }
    }
    parts
}
