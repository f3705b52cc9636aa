//! The stable JSON form of answers and errors.

use super::Shown;
use crate::cli::values::show_money;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hapax_core::outcome::{Metadata, Outcome};
use hapax_core::reply::{Ended, Granted, Replayed};
use hapax_core::view::{Page, Row, View, ViewDetail};
use hapax_core::{Answer, LogTime, Reply, Token, Witness};
use serde_json::{Map, Value, json};

/// An answer.
pub(in crate::cli) fn answer(answer: &Answer) -> Value {
    let mut object = reply(&answer.reply);
    object.insert("witness".into(), answer.witness.as_ref().map_or(Value::Null, witness));
    Value::Object(object)
}

/// An error that is no reply of the protocol.
pub(in crate::cli) fn error(error: &Shown<'_>) -> Value {
    json!({
        "reply": "error",
        "error": {
            "code": error.code.name(),
            "number": error.code.number(),
            "definite": error.definite,
            "text": error.text,
            "field": error.field,
        },
    })
}

/// Bytes as text where they are valid UTF-8, else as base64; `<name>_encoding` says which.
pub(in crate::cli) fn text(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    let (value, encoding) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), "utf-8"),
        Err(_) => (BASE64_STANDARD.encode(bytes), "base64"),
    };
    object.insert(name.to_owned(), value.into());
    object.insert(format!("{name}_encoding"), encoding.into());
}

/// A listing, or one page of it; `failed` are the shards whose records are missing.
pub(in crate::cli) fn page(rows: &[Row], more: bool, failed: &[u32]) -> Value {
    let rows: Vec<Value> = rows.iter().map(row).collect();
    json!({ "reply": "page", "rows": rows, "more": more, "failed_shards": failed })
}

fn reply(reply: &Reply) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("reply".into(), reply.name().into());
    match reply {
        Reply::Granted(it) => granted(&mut object, it),
        Reply::InFlight(it) => {
            object.insert("attempt".into(), it.attempt.into());
            object.insert("lease_left_ms".into(), it.lease_left_ms.into());
            object.insert("retry_after_ms".into(), it.retry_after_ms.into());
        }
        Reply::Mismatch(it) => {
            object.insert("algorithm".into(), it.algorithm.into());
            object.insert("fields".into(), it.fields.clone().into());
        }
        Reply::Ended(cause) => {
            let cause = if *cause == Ended::Released { "released" } else { "lapsed" };
            object.insert("cause".into(), cause.into());
        }
        Reply::InDoubt(it) => {
            object.insert("token".into(), token(it.token));
            object.insert("attempt".into(), it.attempt.into());
            object.insert("since_ms".into(), it.since.0.into());
            text(&mut object, "checkpoint", it.checkpoint.as_slice());
        }
        Reply::Replayed(it) => replayed(&mut object, it),
        Reply::Spent(it) => {
            object.insert("outcome".into(), it.class.map(|class| class.name()).into());
            object.insert("completed_at_ms".into(), it.completed_at.0.into());
        }
        Reply::Renewed(it) => {
            object.insert("deadline_ms".into(), it.deadline.0.into());
            object.insert("lease_left_ms".into(), it.lease_left_ms.into());
            object.insert("marked".into(), it.marked.into());
        }
        Reply::Completed(it) => {
            object.insert("late".into(), it.late.into());
            object.insert("expires_at_ms".into(), it.expires_at.0.into());
        }
        Reply::State(it) => view(&mut object, it),
        Reply::Page(Page { rows, next }) => {
            if let Value::Object(listing) = page(rows, next.is_some(), &[]) {
                object.extend(listing);
            }
        }
        Reply::Error(refusal) => {
            let shown = Shown {
                code: refusal.code,
                definite: refusal.definite,
                text: &refusal.text,
                field: refusal.field.as_deref(),
            };
            if let Value::Object(error) = error(&shown) {
                object.extend(error);
            }
        }
        Reply::TooOld
        | Reply::AlreadyCompleted
        | Reply::Conflict
        | Reply::Released
        | Reply::Resolved
        | Reply::NotInDoubt
        | Reply::Fenced
        | Reply::Ignored
        | Reply::Forgotten
        | Reply::Changed => {}
    }
    object
}

fn granted(object: &mut Map<String, Value>, it: &Granted) {
    object.insert("token".into(), token(it.token));
    object.insert("attempt".into(), it.attempt.into());
    object.insert("lease_ms".into(), it.lease_ms.into());
    object.insert("lease_left_ms".into(), it.lease_left_ms.into());
    object.insert("takeover".into(), it.takeover.into());
    object.insert("prior_mark".into(), it.prior_mark.into());
    object.insert("recovered".into(), it.recovered.into());
    if let Some(checkpoint) = &it.checkpoint {
        text(object, "checkpoint", checkpoint.as_slice());
    }
    if let Some(shadow_of) = &it.shadow_of {
        object.insert("shadow_of".into(), Value::Object(reply(shadow_of)));
    }
}

fn replayed(object: &mut Map<String, Value>, it: &Replayed) {
    object.insert("outcome".into(), it.class.name().into());
    text(object, "result", it.result.as_slice());
    object.insert("metadata".into(), metadata(&it.metadata));
    object.insert("completed_at_ms".into(), it.completed_at.0.into());
    object.insert("expires_at_ms".into(), it.expires_at.0.into());
    object.insert("attempt".into(), it.attempt.into());
    object.insert("first_trace".into(), it.first_trace.as_ref().map(|trace| trace.as_str()).into());
}

fn view(object: &mut Map<String, Value>, it: &View) {
    let time = |time: Option<LogTime>| time.map(|time| time.0);
    object.insert("state".into(), it.state.name().into());
    object.insert("token".into(), token(it.token));
    object.insert("attempt".into(), it.attempt.into());
    object.insert("since_ms".into(), time(it.since).into());
    object.insert("until_ms".into(), time(it.until).into());
    object.insert("marked".into(), it.marked.into());
    object.insert("outcome".into(), it.class.map(|class| class.name()).into());
    if let Some(it) = &it.detail {
        detail(object, it);
    }
}

fn detail(object: &mut Map<String, Value>, it: &ViewDetail) {
    if let Some(Outcome { result, metadata: about, .. }) = &it.outcome {
        text(object, "result", result.as_slice());
        object.insert("metadata".into(), metadata(about));
    }
    if !it.checkpoint.is_empty() {
        text(object, "checkpoint", it.checkpoint.as_slice());
    }
    object.insert("label".into(), it.label.as_ref().map(|label| label.as_str()).into());
    object.insert("first_trace".into(), it.first_trace.as_ref().map(|trace| trace.as_str()).into());
    object.insert("value".into(), it.value.as_ref().map(show_money).into());
    let resolution = it.resolution.as_ref().map(|it| {
        json!({
            "token": token(it.token),
            "at_ms": it.at.0,
            "principal": it.principal.as_str(),
            "reason": it.reason.as_str(),
        })
    });
    object.insert("resolution".into(), resolution.unwrap_or(Value::Null));
}

fn row(row: &Row) -> Value {
    let mut object = Map::new();
    object.insert("tenant".into(), row.address.tenant().into());
    object.insert("operation".into(), row.address.operation().into());
    text(&mut object, "key", row.address.key());
    view(&mut object, &row.view);
    Value::Object(object)
}

fn metadata(it: &Metadata) -> Value {
    json!({ "content_type": it.content_type, "status": it.status, "headers": it.headers })
}

fn witness(it: &Witness) -> Value {
    json!({
        "shard": it.shard,
        "index": it.index,
        "position": it.position,
        "time_ms": it.time.0,
        "basis": it.basis.name(),
    })
}

/// As a string: a token has up to 63 bits, and many JSON readers keep 53.
fn token(token: Token) -> Value {
    token.to_string().into()
}
