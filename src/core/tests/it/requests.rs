//! From requests to commands: bounds, clamps and defaults, each named when it is broken.

use crate::world::*;
use hapax_core::command::{Command, FORMAT, ForgetMode, Verb, Verdict};
use hapax_core::policy::{FingerprintRule, Mode, PolicyRule};
use hapax_core::request::{
    Ask, ClaimAsk, CompleteAsk, ForgetAsk, GetAsk, ListAsk, ReleaseAsk, RenewAsk, ResolveAsk,
};
use hapax_core::{
    Blob, ErrorCode, Fingerprint, LogTime, Metadata, Operation, Outcome, OutcomeClass, Policies, Policy,
    PolicyTable, Principal, QuotaLimits, Reason, Refusal, Reply, Request, Resolved, Tenant, Token,
    resolve_request,
};

fn policy() -> Policy {
    Policy {
        max_result_bytes: 10,
        max_inflight: Some(7),
        max_records: Some(9),
        retention_rejected_ms: 50_000,
        ..Policy::default()
    }
}

fn resolve_with(policy: Policy, principal: &str, ask: Ask) -> Result<Resolved, Refusal> {
    let rule = PolicyRule { tenant: "acme".to_owned(), operation: None, policy };
    let table = PolicyTable { default: Policy::default(), rules: vec![rule] };
    let request = Request { not_after: Some(LogTime(5)), ask };
    resolve_request(&request, &Principal::new(principal).unwrap(), &Policies::new(&table).unwrap())
}

fn resolve(ask: Ask) -> Result<Resolved, Refusal> {
    resolve_with(policy(), "", ask)
}

fn command_of(ask: Ask) -> Command {
    match resolve(ask).unwrap() {
        Resolved::Command { command, .. } => command,
        other => panic!("{other:?}"),
    }
}

fn claim_ask() -> ClaimAsk {
    ClaimAsk {
        address: address(),
        fingerprint: Some(fingerprint(1)),
        fields: fields(&[("amount", 1)]),
        nonce: nonce(1),
        lease_ms: None,
        wait_ms: 0,
        first_sent: Some(LogTime(3)),
        label: None,
        trace: None,
        value: None,
    }
}

fn renew_ask() -> RenewAsk {
    RenewAsk {
        address: address(),
        token: Token::from(5),
        seq: 1,
        lease_ms: None,
        checkpoint: None,
        mark: false,
    }
}

fn complete_ask(class: OutcomeClass, retention_ms: Option<u64>) -> CompleteAsk {
    let outcome = Outcome { class, result: Blob::from("0123456789"), metadata: Metadata::default() };
    CompleteAsk { address: address(), token: Token::from(5), outcome, retention_ms }
}

#[test]
fn a_claim_carries_all_that_apply_needs() {
    let resolved = resolve_with(policy(), "ann", Ask::Claim(ClaimAsk { wait_ms: 9, ..claim_ask() })).unwrap();
    let Resolved::Command { command, wait_ms, quota } = resolved else { panic!() };
    assert_eq!((command.format, command.principal.as_str()), (FORMAT, "ann"));
    assert_eq!((command.not_after, command.address), (Some(LogTime(5)), address()));
    assert_eq!((wait_ms, quota), (9, QuotaLimits { max_inflight: Some(7), max_records: Some(9) }));
    let Verb::Claim(claim) = command.verb else { panic!() };
    assert_eq!((claim.fingerprint, claim.nonce, claim.lease_ms), (fingerprint(1), nonce(1), 30_000));
    assert_eq!((claim.first_sent, claim.fields), (Some(LogTime(3)), fields(&[("amount", 1)])));
    assert!(claim.name_fields);
    assert_eq!(claim.terms, policy().terms());
    assert_eq!(claim.terms.max_hold_ms, policy().max_hold_ms);
    assert_eq!(claim.terms.memory_ms, policy().memory_ms);
    assert_eq!(claim.terms.abandoned_ms, policy().abandoned_ms);
    assert_eq!(claim.terms.retention_success_ms, policy().retention_success_ms);
}

#[test]
fn leases_are_clamped() {
    let cases = [(None, 30_000), (Some(0), 1000), (Some(5000), 5000), (Some(u64::MAX), 3_600_000)];
    for (lease_ms, given) in cases {
        let command = command_of(Ask::Claim(ClaimAsk { lease_ms, ..claim_ask() }));
        let Verb::Claim(claim) = command.verb else { panic!() };
        assert_eq!(claim.lease_ms, given);
        let Verb::Renew(renew) = command_of(Ask::Renew(RenewAsk { lease_ms, ..renew_ask() })).verb else {
            panic!()
        };
        assert_eq!(renew.lease_ms, given);
    }
}

#[test]
fn retentions_are_the_class_s_or_clamped() {
    use OutcomeClass::{Error, Rejected, Success};
    let day = 86_400_000;
    let cases = [
        (Success, None, day),
        (Rejected, None, 50_000),
        (Error, None, 300_000),
        (Error, Some(1), 1000),
        (Success, Some(77_000), 77_000),
        (Success, Some(u64::MAX), 365 * day),
    ];
    for (class, asked, given) in cases {
        let Verb::Complete(complete) = command_of(Ask::Complete(complete_ask(class, asked))).verb else {
            panic!()
        };
        assert_eq!(complete.retention_ms, given);
        let ask = ResolveAsk {
            address: address(),
            token: Token::from(5),
            outcome: Some(complete_ask(class, None).outcome),
            retention_ms: asked,
            reason: Reason::default(),
        };
        let Verb::Resolve(resolve) = command_of(Ask::Resolve(ask)).verb else { panic!() };
        let Verdict::Complete(verdict) = resolve.verdict else { panic!() };
        assert_eq!(verdict.retention_ms, given);
    }
}

fn refused(result: Result<Resolved, Refusal>, code: ErrorCode, field: &str) {
    let refusal = result.unwrap_err();
    assert_eq!((refusal.code, refusal.field.as_deref(), refusal.definite), (code, Some(field), true));
}

#[test]
fn what_is_too_large_is_refused_by_its_field() {
    let too_large = |ask, field| refused(resolve(ask), ErrorCode::TooLarge, field);
    let mut long = complete_ask(OutcomeClass::Success, None);
    assert!(resolve(Ask::Complete(long.clone())).is_ok(), "exactly as long as allowed");
    long.outcome.result = Blob::from("0123456789a");
    too_large(Ask::Complete(long.clone()), "result");
    let resolve_ask = |outcome| ResolveAsk {
        address: address(),
        token: Token::from(5),
        outcome: Some(outcome),
        retention_ms: None,
        reason: Reason::default(),
    };
    too_large(Ask::Resolve(resolve_ask(long.outcome)), "result");

    let mut wordy = complete_ask(OutcomeClass::Success, None);
    let header = |length: usize| vec![("h".to_owned(), "v".repeat(length))];
    // Status (2), the header's name (1) and overhead (2) leave 8187 of 8192.
    wordy.outcome.metadata.headers = header(8187);
    assert!(resolve(Ask::Complete(wordy.clone())).is_ok());
    wordy.outcome.metadata.headers = header(8188);
    too_large(Ask::Complete(wordy.clone()), "metadata");
    too_large(Ask::Resolve(resolve_ask(wordy.outcome)), "metadata");

    let point = |length: usize| RenewAsk { checkpoint: Some(Blob::from(vec![0; length])), ..renew_ask() };
    assert!(resolve(Ask::Renew(point(4096))).is_ok());
    too_large(Ask::Renew(point(4097)), "checkpoint");
}

#[test]
fn a_missing_fingerprint_is_invalid_empty_or_a_shadow_as_policy_says() {
    let ask = || Ask::Claim(ClaimAsk { fingerprint: None, ..claim_ask() });
    refused(resolve(ask()), ErrorCode::Invalid, "fingerprint");
    let empty = |policy| match resolve_with(policy, "", ask()).unwrap() {
        Resolved::Command { command, .. } => match command.verb {
            Verb::Claim(claim) => assert_eq!(claim.fingerprint, Fingerprint::EMPTY),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    empty(Policy { fingerprint: FingerprintRule::Optional, ..policy() });
    empty(Policy { mode: Mode::Off, ..policy() });
    empty(Policy { mode: Mode::Observe, fingerprint: FingerprintRule::Optional, ..policy() });
    let observed = resolve_with(Policy { mode: Mode::Observe, ..policy() }, "", ask()).unwrap();
    let Resolved::Answer(reply) = observed else { panic!("{observed:?}") };
    assert!(granted(&reply).token.is_none());
    let Some(Reply::Error(refusal)) = granted(&reply).shadow_of.as_deref() else { panic!("{reply:?}") };
    assert_eq!((refusal.code, refusal.field.as_deref()), (ErrorCode::Invalid, Some("fingerprint")));
}

#[test]
fn a_given_fingerprint_is_kept_in_every_mode() {
    for mode in [Mode::Enforce, Mode::Observe, Mode::Off] {
        let resolved = resolve_with(Policy { mode, ..policy() }, "", Ask::Claim(claim_ask())).unwrap();
        let Resolved::Command { command, .. } = resolved else { panic!() };
        let Verb::Claim(claim) = command.verb else { panic!() };
        assert_eq!((claim.fingerprint, claim.terms.mode), (fingerprint(1), mode));
    }
}

#[test]
fn a_renewal_numbered_zero_can_carry_nothing() {
    let zero = || RenewAsk { seq: 0, ..renew_ask() };
    assert!(resolve(Ask::Renew(zero())).is_ok());
    refused(resolve(Ask::Renew(RenewAsk { mark: true, ..zero() })), ErrorCode::Invalid, "seq");
    let point = RenewAsk { checkpoint: Some(Blob::default()), ..zero() };
    refused(resolve(Ask::Renew(point)), ErrorCode::Invalid, "seq");
}

#[test]
fn the_other_verbs_pass_through() {
    let token = Token::from(5);
    let reason = Reason::new("because").unwrap();
    let renew = RenewAsk { seq: 4, mark: true, checkpoint: Some(Blob::from("p")), ..renew_ask() };
    let Verb::Renew(renewed) = command_of(Ask::Renew(renew)).verb else { panic!() };
    assert_eq!((renewed.token, renewed.seq, renewed.mark), (token, 4, true));
    assert_eq!(renewed.checkpoint, Some(Blob::from("p")));
    let release = ReleaseAsk { address: address(), token, reason: Some(reason.clone()) };
    let Verb::Release(released) = command_of(Ask::Release(release)).verb else { panic!() };
    assert_eq!((released.token, released.reason), (token, Some(reason.clone())));
    let forget =
        ForgetAsk { address: address(), token, mode: ForgetMode::Reset, force: true, reason: reason.clone() };
    let resolved = resolve(Ask::Forget(forget)).unwrap();
    let Resolved::Command { command, wait_ms, quota } = resolved else { panic!() };
    assert_eq!((wait_ms, quota), (0, QuotaLimits::default()));
    let Verb::Forget(forgot) = command.verb else { panic!() };
    assert_eq!((forgot.token, forgot.mode, forgot.force), (token, ForgetMode::Reset, true));
    let ask =
        ResolveAsk { address: address(), token, outcome: None, retention_ms: None, reason: reason.clone() };
    let Verb::Resolve(resolved) = command_of(Ask::Resolve(ask)).verb else { panic!() };
    assert_eq!((resolved.verdict, resolved.reason), (Verdict::Release, reason));
}

#[test]
fn waits_are_clamped_to_a_minute() {
    let claim = Ask::Claim(ClaimAsk { wait_ms: u64::MAX, ..claim_ask() });
    let Resolved::Command { wait_ms, .. } = resolve(claim).unwrap() else { panic!() };
    assert_eq!(wait_ms, 60_000);
    let get = GetAsk { address: address(), fingerprint: None, wait_ms: u64::MAX, stale: true };
    let Resolved::Get { wait_ms, stale, .. } = resolve(Ask::Get(get)).unwrap() else { panic!() };
    assert_eq!((wait_ms, stale), (60_000, true));
}

#[test]
fn everyone_is_a_reader_while_nobody_is_known() {
    let get = || {
        Ask::Get(GetAsk { address: address(), fingerprint: Some(fingerprint(1)), wait_ms: 0, stale: false })
    };
    for (principal, reader) in [("", true), ("ann", false)] {
        let resolved = resolve_with(policy(), principal, get()).unwrap();
        let Resolved::Get { is_reader, fingerprint: asked, .. } = resolved else { panic!() };
        assert_eq!((is_reader, asked), (reader, Some(fingerprint(1))));
    }
}

#[test]
fn a_listing_is_bounded_and_goes_on_only_inside_its_range() {
    let list = |limit, after: Option<(&str, &str)>| {
        Ask::List(ListAsk {
            shard: 3,
            tenant: Tenant::new("acme").unwrap(),
            operation: Some(Operation::new("pay").unwrap()),
            state: None,
            after: after.map(|(tenant, operation)| address_of(tenant, operation, "k")),
            limit,
        })
    };
    for (asked, given) in [(0, 1), (10, 10), (1000, 1000), (u32::MAX, 1000)] {
        let Resolved::List(ask) = resolve(list(asked, Some(("acme", "pay")))).unwrap() else { panic!() };
        assert_eq!((ask.limit, ask.shard), (given, 3));
    }
    assert!(resolve(list(1, None)).is_ok(), "the first page");
    refused(resolve(list(1, Some(("acme", "refund")))), ErrorCode::Invalid, "after");
    refused(resolve(list(1, Some(("zeta", "pay")))), ErrorCode::Invalid, "after");
    let all = Ask::List(ListAsk {
        shard: 0,
        tenant: Tenant::new("acme").unwrap(),
        operation: None,
        state: None,
        after: Some(address_of("acme", "refund", "k")),
        limit: 1,
    });
    assert!(resolve(all).is_ok());
}
