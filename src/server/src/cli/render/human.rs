//! Answers and errors as text for people.

use super::Shown;
use super::time::{span, utc};
use crate::cli::values::show_money;
use comfy_table::{Table, presets};
use hapax_core::outcome::Metadata;
use hapax_core::reply::{Ended, Granted, InDoubtReply, Replayed};
use hapax_core::view::{Row, View};
use hapax_core::{Answer, LogTime, Reply, StateKind};

/// An answer: one sentence, what belongs to it, and the result as it is.
pub(in crate::cli) fn answer(answer: &Answer) -> Vec<u8> {
    let mut page = Page::default();
    reply(&mut page, &answer.reply);
    if let Some(witness) = &answer.witness {
        let how = witness.basis.name();
        page.row("witness", format!("shard {}, index {}, {how}", witness.shard, witness.index));
    }
    page.finish()
}

/// An error: what happened, and whether it may have had an effect.
pub(in crate::cli) fn error(error: &Shown<'_>) -> String {
    let effect = if error.definite { "nothing was done" } else { "it may or may not have been done" };
    let field = error.field.map_or(String::new(), |field| format!(" [{field}]"));
    format!("error: {}{field}: {} ({effect})\n", error.code.name(), error.text)
}

/// Records as a table.
pub(in crate::cli) fn rows(rows: &[Row], more: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["KEY", "STATE", "TOKEN", "ATTEMPT", "SINCE", "UNTIL"]);
    for Row { address, view } in rows {
        let time = |time: Option<LogTime>| time.map_or(String::new(), |time| utc(time.0));
        let state = match view.class {
            Some(class) => format!("{} ({})", view.state.name(), class.name()),
            None => view.state.name().to_owned(),
        };
        table.add_row([
            address.key().escape_ascii().to_string(),
            state,
            view.token.to_string(),
            view.attempt.to_string(),
            time(view.since),
            time(view.until),
        ]);
    }
    let count = match (rows.len(), more) {
        (count, true) => format!("the first {count} records; there are more (--limit)"),
        (1, false) => "1 record".to_owned(),
        (count, false) => format!("{count} records"),
    };
    if rows.is_empty() { format!("{count}\n") } else { format!("{table}\n{count}\n") }
}

fn reply(page: &mut Page, reply: &Reply) {
    match reply {
        Reply::Granted(it) => granted(page, it),
        Reply::InFlight(it) => {
            page.title("in flight: somebody else runs it");
            page.row("attempt", it.attempt.to_string());
            page.row("lease left", span(it.lease_left_ms));
            page.row("retry after", span(it.retry_after_ms));
        }
        Reply::Mismatch(it) if it.algorithm => {
            page.title("mismatch: this key was used with a fingerprint of another algorithm");
        }
        Reply::Mismatch(it) => {
            page.title("mismatch: this key was used for another request");
            if !it.fields.is_empty() {
                page.row("differs in", it.fields.join(", "));
            }
        }
        Reply::Ended(Ended::Released) => {
            page.title("ended: this call's claim was released; claim with a new nonce")
        }
        Reply::Ended(Ended::Lapsed) => {
            page.title("ended: this call's claim has lapsed; claim with a new nonce")
        }
        Reply::InDoubt(it) => in_doubt(page, it),
        Reply::Replayed(it) => replayed(page, it),
        Reply::Spent(it) => {
            page.title("spent: it ran, and its result is no longer kept");
            page.row(
                "outcome",
                it.class.map_or("forgotten before it ended", |class| class.name()).to_owned(),
            );
            page.row("ended at", utc(it.completed_at.0));
        }
        Reply::TooOld => page.title("too old: first sent longer ago than anything is remembered"),
        Reply::Renewed(it) => {
            page.title("renewed");
            page.row("lease left", span(it.lease_left_ms));
            page.row("deadline", utc(it.deadline.0));
            page.row("marked", yes(it.marked));
        }
        Reply::Completed(it) => {
            page.title(if it.late { "completed, late: the lease had lapsed" } else { "completed" });
            page.row("replayed until", utc(it.expires_at.0));
        }
        Reply::State(it) => view(page, it),
        Reply::Page(it) => page.title(&format!("{} records", it.rows.len())),
        Reply::Error(it) => {
            let field = it.field.as_deref();
            let shown = Shown { code: it.code, definite: it.definite, text: &it.text, field };
            page.title(error(&shown).trim_end());
        }
        Reply::AlreadyCompleted => page.title("already completed: this very outcome is kept"),
        Reply::Conflict => page.title("conflict: another outcome is kept"),
        Reply::Released => page.title("released"),
        Reply::Resolved => page.title("resolved"),
        Reply::NotInDoubt => page.title("not in doubt: nothing is in doubt under that token"),
        Reply::Fenced => page.title("fenced: the token is dead, and nothing was changed"),
        Reply::Ignored => page.title("ignored: a shadow grant leaves the record alone"),
        Reply::Forgotten => page.title("forgotten"),
        Reply::Changed => page.title("changed: the record has moved on, or is running (see --force)"),
    }
}

fn granted(page: &mut Page, it: &Granted) {
    let title = match (it.recovered, it.takeover, it.prior_mark) {
        _ if it.token.is_none() => "granted as a shadow: not enforced, nothing is kept",
        (true, _, _) => "granted: the same claim again",
        (_, true, true) => "granted: a takeover, and the last attempt may have had its effect",
        (_, true, false) => "granted: a takeover of an attempt that ended without an outcome",
        _ => "granted: run it now",
    };
    page.title(title);
    page.row("token", it.token.to_string());
    page.row("attempt", it.attempt.to_string());
    page.row("lease", format!("{} ({} left)", span(it.lease_ms), span(it.lease_left_ms)));
    if let Some(checkpoint) = &it.checkpoint {
        page.row("checkpoint", bytes(checkpoint.as_slice()));
    }
    if let Some(shadow_of) = &it.shadow_of {
        page.row("enforced it were", shadow_of.name().to_owned());
    }
}

fn in_doubt(page: &mut Page, it: &InDoubtReply) {
    page.title("in doubt: it may have happened, and is not run again until somebody resolves it");
    page.row("token", it.token.to_string());
    page.row("attempt", it.attempt.to_string());
    page.row("since", utc(it.since.0));
    if !it.checkpoint.is_empty() {
        page.row("checkpoint", bytes(it.checkpoint.as_slice()));
    }
}

fn replayed(page: &mut Page, it: &Replayed) {
    page.title(&format!("replayed: it ran before ({})", it.class.name()));
    page.row("attempt", it.attempt.to_string());
    page.row("completed at", utc(it.completed_at.0));
    page.row("replayed until", utc(it.expires_at.0));
    metadata(page, &it.metadata);
    page.body(it.result.as_slice());
}

fn view(page: &mut Page, it: &View) {
    page.title(match it.state {
        StateKind::Absent => "absent: nothing is known of it",
        StateKind::Claimed => "claimed: somebody runs it",
        StateKind::Open => "open: nobody holds it, the next claim takes it over",
        StateKind::InDoubt => "in doubt: it may have happened",
        StateKind::Completed => "completed",
        StateKind::Spent => "spent: it ran, and its result is no longer kept",
    });
    if it.state == StateKind::Absent {
        return;
    }
    page.row("token", it.token.to_string());
    page.row("attempt", it.attempt.to_string());
    page.maybe("since", it.since.map(|time| utc(time.0)));
    page.maybe("until", it.until.map(|time| utc(time.0)));
    page.maybe("outcome", it.class.map(|class| class.name().to_owned()));
    if matches!(it.state, StateKind::Claimed | StateKind::Open | StateKind::InDoubt) {
        page.row("marked", yes(it.marked));
    }
    let Some(detail) = &it.detail else { return };
    page.maybe("label", detail.label.as_ref().map(ToString::to_string));
    page.maybe("value", detail.value.as_ref().map(show_money));
    page.maybe("trace", detail.first_trace.as_ref().map(ToString::to_string));
    if !detail.checkpoint.is_empty() {
        page.row("checkpoint", bytes(detail.checkpoint.as_slice()));
    }
    if let Some(resolution) = &detail.resolution {
        page.row("resolved", format!("{}: {}", utc(resolution.at.0), resolution.reason));
    }
    if let Some(outcome) = &detail.outcome {
        metadata(page, &outcome.metadata);
        page.body(outcome.result.as_slice());
    }
}

fn metadata(page: &mut Page, it: &Metadata) {
    page.maybe("content type", it.content_type.clone());
    page.maybe("status", it.status.map(|status| status.to_string()));
    for (name, value) in &it.headers {
        page.row("header", format!("{name}: {value}"));
    }
}

fn yes(so: bool) -> String {
    if so { "yes" } else { "no" }.to_owned()
}

/// Short bytes for one line.
fn bytes(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    if bytes.len() > SHOWN { format!("{shown}… ({} bytes)", bytes.len()) } else { shown.to_string() }
}

/// A title, rows under it, and a body.
#[derive(Default)]
struct Page {
    title: String,
    rows: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Page {
    fn title(&mut self, title: &str) {
        title.clone_into(&mut self.title);
    }

    /// Control characters are shown, not sent: a label must not drive somebody's terminal.
    fn row(&mut self, name: &'static str, value: String) {
        let plain =
            if value.chars().any(char::is_control) { value.escape_debug().to_string() } else { value };
        self.rows.push((name, plain));
    }

    fn maybe(&mut self, name: &'static str, value: Option<String>) {
        if let Some(value) = value {
            self.row(name, value);
        }
    }

    fn body(&mut self, body: &[u8]) {
        self.body = Some(body.to_vec());
    }

    fn finish(self) -> Vec<u8> {
        let mut out = format!("{}\n", self.title);
        for (name, value) in self.rows {
            out.push_str(&format!("  {name:<16} {value}\n"));
        }
        let mut out = out.into_bytes();
        match self.body {
            Some(body) if !body.is_empty() => {
                out.push(b'\n');
                out.extend_from_slice(&body);
                if !body.ends_with(b"\n") {
                    out.push(b'\n');
                }
            }
            _ => {}
        }
        out
    }
}
