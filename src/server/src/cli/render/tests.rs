use super::*;
use crate::cli::exit::Exit;
use hapax_core::outcome::{Metadata, Outcome, OutcomeClass};
use hapax_core::reply::{
    CompletedReply, Ended, Granted, InDoubtReply, InFlight, Mismatch, Renewed, Replayed, SpentReply,
};
use hapax_core::view::{Page, Row, View, ViewDetail};
use hapax_core::{
    Address, Basis, Blob, Key, LogTime, Money, Operation, Refusal, Reply, StateKind, Tenant, Token, Witness,
};
use serde_json::json;

fn answer(reply: Reply) -> Answer {
    let witness = Witness { shard: 3, index: 17, position: 2, time: LogTime(1000), basis: Basis::Applied };
    Answer { reply, witness: Some(witness) }
}

fn granted() -> Granted {
    Granted {
        token: Token::from(u64::MAX >> 1),
        attempt: 1,
        lease_ms: 30_000,
        lease_left_ms: 29_990,
        checkpoint: None,
        takeover: false,
        prior_mark: false,
        recovered: false,
        shadow_of: None,
    }
}

fn replayed(result: &[u8]) -> Replayed {
    Replayed {
        class: OutcomeClass::Success,
        result: Blob::from(result),
        metadata: Metadata { status: Some(201), ..Metadata::default() },
        completed_at: LogTime(1000),
        expires_at: LogTime(2000),
        attempt: 2,
        first_trace: None,
    }
}

fn view() -> View {
    View {
        state: StateKind::Completed,
        token: Token::from(7),
        attempt: 1,
        since: Some(LogTime(1000)),
        until: None,
        marked: false,
        class: Some(OutcomeClass::Rejected),
        detail: Some(ViewDetail {
            outcome: Some(Outcome {
                class: OutcomeClass::Rejected,
                result: Blob::from("card declined"),
                metadata: Metadata::default(),
            }),
            checkpoint: Blob::default(),
            label: None,
            first_trace: None,
            value: Some(Money::new(1234, *b"EUR").unwrap()),
            resolution: None,
        }),
    }
}

#[test]
fn a_grant_in_json() {
    assert_eq!(
        json_answer(&answer(Reply::Granted(granted()))),
        json!({
            "reply": "granted",
            "token": "9223372036854775807",
            "attempt": 1,
            "lease_ms": 30_000,
            "lease_left_ms": 29_990,
            "takeover": false,
            "prior_mark": false,
            "recovered": false,
            "witness": {"shard": 3, "index": 17, "position": 2, "time_ms": 1000, "basis": "applied"},
        })
    );
}

#[test]
fn a_result_is_text_only_where_it_is_utf8() {
    let text = json_answer(&answer(Reply::Replayed(replayed("é".as_bytes()))));
    assert_eq!((&text["result"], &text["result_encoding"]), (&json!("é"), &json!("utf-8")));
    assert_eq!(text["metadata"]["status"], 201);
    assert_eq!((&text["outcome"], &text["expires_at_ms"]), (&json!("success"), &json!(2000)));
    let bytes = json_answer(&answer(Reply::Replayed(replayed(&[0xff, 0]))));
    assert_eq!((&bytes["result"], &bytes["result_encoding"]), (&json!("/wA="), &json!("base64")));
}

#[test]
fn a_shadow_shows_what_enforce_would_have_said() {
    let mut shadow = granted();
    shadow.token = Token::NONE;
    shadow.shadow_of =
        Some(Box::new(Reply::Mismatch(Mismatch { algorithm: false, fields: vec!["amount".into()] })));
    let json = json_answer(&answer(Reply::Granted(shadow)));
    assert_eq!(json["shadow_of"], json!({"reply": "mismatch", "algorithm": false, "fields": ["amount"]}));
}

#[test]
fn a_state_and_a_page_in_json() {
    let state = json_answer(&answer(Reply::State(Box::new(view()))));
    assert_eq!(state["state"], "completed");
    assert_eq!(state["outcome"], "rejected");
    assert_eq!(state["result"], "card declined");
    assert_eq!(state["value"], "12.34EUR");
    assert_eq!(state["until_ms"], json!(null));
    let address = Address::new(
        &Tenant::new("acme").unwrap(),
        &Operation::new("pay").unwrap(),
        &Key::new(vec![0xff]).unwrap(),
    );
    let page = Page { rows: vec![Row { address, view: view() }], next: None };
    let page = json_answer(&answer(Reply::Page(page)));
    assert_eq!((&page["more"], &page["failed_shards"]), (&json!(false), &json!([])));
    assert_eq!(page["rows"][0]["tenant"], "acme");
    assert_eq!(page["rows"][0]["key"], "/w==");
    assert_eq!(page["rows"][0]["key_encoding"], "base64");
}

#[test]
fn an_error_in_json_and_text() {
    let shown = Shown {
        code: ErrorCode::Invalid,
        definite: true,
        text: "invalid tenant: empty",
        field: Some("tenant"),
    };
    assert_eq!(
        json_error(&shown),
        json!({"reply": "error", "error": {
            "code": "invalid", "number": 7, "definite": true, "text": "invalid tenant: empty", "field": "tenant",
        }})
    );
    assert_eq!(human_error(&shown), "error: invalid [tenant]: invalid tenant: empty (nothing was done)\n");
    let refusal = Reply::Error(Refusal::indefinite(ErrorCode::Unavailable, "no quorum"));
    assert_eq!(json_answer(&answer(refusal.clone()))["error"]["definite"], false);
    let text = String::from_utf8(human_answer(&answer(refusal))).unwrap();
    assert!(text.contains("it may or may not have been done"), "{text}");
}

#[test]
fn text_for_people() {
    let text = String::from_utf8(human_answer(&answer(Reply::Granted(granted())))).unwrap();
    assert!(text.starts_with("granted: run it now\n"), "{text}");
    assert!(text.contains("30 s (29.9 s left)"), "{text}");
    assert!(text.contains("shard 3, index 17, applied"), "{text}");
    let out = human_answer(&answer(Reply::Replayed(replayed(&[0xff, b'x']))));
    assert!(out.ends_with(&[b'\n', 0xff, b'x', b'\n']), "the result comes as it is");
}

/// Every reply, with the exit status that scripts rely on.
fn every_reply() -> Vec<(Reply, u8)> {
    let in_doubt =
        InDoubtReply { token: Token::from(1), attempt: 1, since: LogTime(0), checkpoint: Blob::default() };
    let refusal = Refusal::definite(ErrorCode::Quota, "x");
    vec![
        (Reply::Granted(granted()), 0),
        (Reply::Replayed(replayed(b"")), 10),
        (Reply::InFlight(InFlight { attempt: 1, lease_left_ms: 1, retry_after_ms: 1 }), 11),
        (Reply::InDoubt(in_doubt), 12),
        (Reply::Mismatch(Mismatch { algorithm: false, fields: vec![] }), 13),
        (Reply::Spent(SpentReply { class: None, completed_at: LogTime(0) }), 14),
        (Reply::Fenced, 15),
        (Reply::Conflict, 16),
        (Reply::Ended(Ended::Lapsed), 17),
        (Reply::TooOld, 18),
        (Reply::Renewed(Renewed { deadline: LogTime(1), lease_left_ms: 1, marked: false }), 0),
        (Reply::Completed(CompletedReply { late: true, expires_at: LogTime(1) }), 0),
        (Reply::AlreadyCompleted, 0),
        (Reply::Released, 0),
        (Reply::Resolved, 0),
        (Reply::NotInDoubt, 1),
        (Reply::Ignored, 0),
        (Reply::Forgotten, 0),
        (Reply::Changed, 1),
        (Reply::State(Box::new(view())), 0),
        (Reply::Page(Page { rows: vec![], next: None }), 0),
        (Reply::Error(refusal), 1),
    ]
}

#[test]
fn every_reply_has_its_exit_status_and_both_forms() {
    for (reply, status) in every_reply() {
        let name = reply.name();
        let answer = answer(reply);
        assert_eq!(Exit::of(&answer).status(), status, "{name}");
        assert_eq!(json_answer(&answer)["reply"], name);
        assert!(human_answer(&answer).len() > 5, "{name}");
    }
}
