//! Work for the benchmarks: commands as a leader would propose them, over keys of a fixed shape.
//!
//! Times are noisy on shared machines: compare within one run, and prefer ratios.

use hapax_core::command::{Claim, Complete, FORMAT};
use hapax_core::{
    Address, Batch, Command, Fields, Fingerprint, Key, LogTime, Metadata, Nonce, Operation, Outcome,
    OutcomeClass, Policy, Principal, Tenant, Token, Verb,
};

/// The result of every completed operation, bytes.
pub const RESULT_BYTES: usize = 256;

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

/// A claim of the `n`th key by the `call`th logical call.
///
/// # Panics
/// Never: the nonce is not zero.
#[must_use]
pub fn claim(n: u64, call: u64) -> Command {
    let mut nonce = [1; 16];
    nonce[..8].copy_from_slice(&call.to_le_bytes());
    let verb = Verb::Claim(Claim {
        fingerprint: Fingerprint { algorithm: Fingerprint::ALGORITHM_SHA256_BYTES, digest: [7; 32] },
        fields: Fields::default(),
        nonce: Nonce::try_from(nonce).expect("a nonce that is not zero"),
        lease_ms: 30_000,
        first_sent: None,
        label: None,
        trace: None,
        value: None,
        name_fields: true,
        terms: Policy::default().terms(),
    });
    command(n, verb)
}

/// The completion of the `n`th key.
#[must_use]
pub fn complete(n: u64, token: Token) -> Command {
    let outcome = Outcome {
        class: OutcomeClass::Success,
        result: vec![b'x'; RESULT_BYTES].into(),
        metadata: Metadata::default(),
    };
    command(n, Verb::Complete(Complete { token, outcome, retention_ms: 24 * 3600 * 1000 }))
}

fn command(n: u64, verb: Verb) -> Command {
    Command { format: FORMAT, principal: Principal::default(), not_after: None, address: address(n), verb }
}

/// An entry of `commands` claims and completions, half and half.
#[must_use]
pub fn batch(commands: u64) -> Batch {
    let commands = (0..commands).map(|n| match n % 2 {
        0 => claim(n, n),
        _ => complete(n, Token::of_grant(0, n + 1, 0).unwrap_or_default()),
    });
    Batch { time: LogTime(1_800_000_000_000), commands: commands.collect() }
}
