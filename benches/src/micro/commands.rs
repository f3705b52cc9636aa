//! Commands as a leader would propose them, over keys of a fixed shape.

use hapax_core::command::{
    Claim, Complete, FORMAT, Forget, ForgetMode, Release, Renew, Resolve, Verdict, VerdictComplete,
};
use hapax_core::{
    Address, Batch, Command, Fields, Fingerprint, Key, LogTime, Metadata, Nonce, OnLapse, Operation, Outcome,
    OutcomeClass, Policy, Principal, Reason, Tenant, Terms, Token, Verb,
};

/// The result of every completed operation, bytes.
pub const RESULT_BYTES: usize = 256;

/// The lease of every claim, ms.
pub const LEASE_MS: u64 = 30_000;

/// The log time at which the work begins.
pub const BEGIN: LogTime = LogTime(1_800_000_000_000);

const RETENTION_MS: u64 = 24 * 3600 * 1000;

/// The address of the `n`th key.
///
/// # Panics
/// Never: the parts are fixed and valid.
#[must_use]
pub fn address(n: u64) -> Address {
    let tenant = Tenant::new("acme/merchant-42").expect("a valid tenant");
    let operation = Operation::new("payments.charge").expect("a valid operation");
    Address::new(&tenant, &operation, &Key::new(format!("order-{n:016}")).expect("a valid key"))
}

/// The nonce of the `call`th logical call.
///
/// # Panics
/// Never: the nonce is not zero.
#[must_use]
pub fn nonce(call: u64) -> Nonce {
    let mut nonce = [1; 16];
    nonce[..8].copy_from_slice(&call.to_le_bytes());
    Nonce::try_from(nonce).expect("a nonce that is not zero")
}

/// What makes all requests the same.
#[must_use]
pub fn fingerprint() -> Fingerprint {
    Fingerprint { algorithm: Fingerprint::ALGORITHM_SHA256_BYTES, digest: [7; 32] }
}

/// A success with a result.
#[must_use]
pub fn outcome() -> Outcome {
    Outcome {
        class: OutcomeClass::Success,
        result: vec![b'x'; RESULT_BYTES].into(),
        metadata: Metadata::default(),
    }
}

/// A claim of the `n`th key by the `call`th logical call.
#[must_use]
pub fn claim(n: u64, call: u64) -> Command {
    command(n, Verb::Claim(claim_under(call, Policy::default().terms())))
}

/// As [`claim`], of an operation whose lapsed claims are never taken over.
#[must_use]
pub fn doubtful_claim(n: u64, call: u64) -> Command {
    let terms = Terms { on_lapse: OnLapse::AlwaysInDoubt, ..Policy::default().terms() };
    command(n, Verb::Claim(claim_under(call, terms)))
}

fn claim_under(call: u64, terms: Terms) -> Claim {
    Claim {
        fingerprint: fingerprint(),
        fields: Fields::default(),
        nonce: nonce(call),
        lease_ms: LEASE_MS,
        first_sent: None,
        label: None,
        trace: None,
        value: None,
        name_fields: true,
        terms,
    }
}

/// A renewal with a recovery point.
#[must_use]
pub fn renew(n: u64, token: Token, seq: u64) -> Command {
    let checkpoint = Some(vec![b'c'; 64].into());
    command(n, Verb::Renew(Renew { token, seq, lease_ms: LEASE_MS, checkpoint, mark: false }))
}

/// The completion of the `n`th key.
#[must_use]
pub fn complete(n: u64, token: Token) -> Command {
    command(n, Verb::Complete(Complete { token, outcome: outcome(), retention_ms: RETENTION_MS }))
}

/// The end of a claim without an outcome.
#[must_use]
pub fn release(n: u64, token: Token) -> Command {
    command(n, Verb::Release(Release { token, reason: None }))
}

/// The decision that a claim in doubt did happen.
#[must_use]
pub fn resolve(n: u64, token: Token) -> Command {
    let verdict = Verdict::Complete(VerdictComplete { outcome: outcome(), retention_ms: RETENTION_MS });
    command(n, Verb::Resolve(Resolve { token, verdict, reason: reason() }))
}

/// The erasure of a result.
#[must_use]
pub fn forget(n: u64, token: Token) -> Command {
    command(n, Verb::Forget(Forget { token, mode: ForgetMode::Erase, force: false, reason: reason() }))
}

fn reason() -> Reason {
    Reason::new("as the bank's statement has it").unwrap_or_default()
}

fn command(n: u64, verb: Verb) -> Command {
    Command { format: FORMAT, principal: Principal::default(), not_after: None, address: address(n), verb }
}

/// An entry of `commands` claims and completions, half and half, of different keys.
#[must_use]
pub fn batch(commands: u64) -> Batch {
    let commands = (0..commands).map(|n| match n % 2 {
        0 => claim(n, n),
        _ => complete(n, Token::of_grant(0, n + 1, 0).unwrap_or_default()),
    });
    Batch { time: BEGIN, commands: commands.collect() }
}

/// An entry that claims `keys` keys and completes each of them, under the tokens that it gives as entry `index`.
#[must_use]
pub fn whole_lives(keys: u32, index: u64) -> Batch {
    let commands = (0..keys).flat_map(|key| {
        let (n, token) = (u64::from(key), Token::of_grant(0, index, 2 * key).unwrap_or_default());
        [claim(n, n), complete(n, token)]
    });
    Batch { time: BEGIN, commands: commands.collect() }
}
