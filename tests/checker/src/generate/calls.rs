//! What the generated clients ask, and what they remember of an address.

use super::{Plan, Rng};
use crate::history::{
    Call, Claim, Class, Complete, Field, Fingerprint, Forget, ForgetMode, Get, Hash16, Header, List, Mode,
    Name, OnLapse, Outcome, Owner, Payload, Policy, PolicyRow, Release, Renew, Resolve, address,
};
use std::collections::VecDeque;

/// The kinds of policy in use, by the operation that has it.
const OPERATIONS: [&str; 6] = ["pay", "doubt", "eager", "brief", "watch", "off"];
/// So many addresses share a tenant.
pub(super) const PER_TENANT: u32 = 48;

/// The policy of an operation.
pub(super) fn policy(operation: usize) -> Policy {
    let mut policy = Policy {
        lease_ms: 150,
        lease_min_ms: 20,
        lease_max_ms: 1000,
        max_hold_ms: 700,
        retention_success_ms: 900,
        retention_rejected_ms: 600,
        retention_error_ms: 60,
        retention_min_ms: 30,
        retention_max_ms: 2000,
        abandoned_ms: 400,
        memory_ms: 800,
        ..Policy::default()
    };
    match OPERATIONS[operation] {
        "doubt" => policy.on_lapse = OnLapse::AlwaysInDoubt,
        "eager" => policy.on_lapse = OnLapse::AlwaysTakeover,
        "brief" => (policy.memory_ms, policy.name_fields) = (0, false),
        "watch" => policy.mode = Mode::Observe,
        "off" => policy.mode = Mode::Off,
        _ => (),
    }
    policy
}

pub(super) fn header(plan: &Plan) -> Header {
    let mut header = Header::new("generated", plan.seed);
    header.shards = plan.shards;
    header.everyone_reads = plan.everyone_reads;
    for (number, operation) in OPERATIONS.iter().enumerate() {
        let policy = policy(number);
        header.policies.push(PolicyRow { tenant: "*".into(), operation: (*operation).into(), policy });
    }
    header
}

/// A token that somebody was granted, and since when its holder knows it.
#[derive(Clone, Copy, Debug)]
struct Held {
    token: u64,
    fingerprint: Fingerprint,
    known_us: u64,
}

/// What the clients know of one address.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) number: u32,
    pub(super) address: Name,
    pub(super) shard: u32,
    pub(super) operation: usize,
    /// How many calls will yet be made on it.
    pub(super) left: u32,
    held: VecDeque<Held>,
    nonces: VecDeque<Hash16>,
    seq: u64,
    offered: u32,
    /// Something that was sent before, to be sent again.
    past: VecDeque<Call>,
}

/// The tenant of an address.
pub(super) fn tenant(number: u32) -> String {
    format!("shop-{}", number / PER_TENANT)
}

impl Key {
    pub(super) fn new(plan: &Plan, number: u32, rng: &mut Rng) -> Self {
        // Most operations are enforced; the other policies are there to be seen.
        let operation = if rng.per_mille(700) { 0 } else { rng.index(OPERATIONS.len()) };
        let name = address(&tenant(number), OPERATIONS[operation], &number.to_be_bytes());
        Self {
            number,
            address: name,
            shard: number % plan.shards,
            operation,
            left: u32::try_from(rng.between(8, 56)).unwrap_or(8),
            held: VecDeque::new(),
            nonces: VecDeque::new(),
            seq: 0,
            offered: 0,
            past: VecDeque::new(),
        }
    }

    /// Somebody was granted a token, and will know it by then.
    pub(super) fn learn(&mut self, token: u64, fingerprint: Option<Fingerprint>, known_us: u64) {
        if self.held.iter().all(|held| held.token != token) {
            let fingerprint = fingerprint.unwrap_or_default();
            self.held.push_front(Held { token, fingerprint, known_us });
            self.held.truncate(4);
        }
    }

    fn fingerprint(&self, other: bool) -> Fingerprint {
        let text = format!("{}/{}", self.number, if other { "other" } else { "one" });
        Fingerprint { algorithm: 1, digest: Hash16::of(text.as_bytes()) }
    }

    /// The next call on it.
    pub(super) fn call(&mut self, rng: &mut Rng, now_us: u64, now_ms: u64) -> Call {
        if rng.per_mille(60) && !self.past.is_empty() {
            return self.past[rng.index(self.past.len())].clone();
        }
        let held: Vec<Held> = self.held.iter().filter(|held| held.known_us <= now_us).copied().collect();
        let call = if held.is_empty() || rng.per_mille(380) {
            self.claim_or_get(rng, now_ms)
        } else {
            let held = if rng.per_mille(850) { held[0] } else { held[rng.index(held.len())] };
            self.by_token(rng, held)
        };
        self.past.push_front(call.clone());
        self.past.truncate(3);
        call
    }

    fn claim_or_get(&mut self, rng: &mut Rng, now_ms: u64) -> Call {
        if rng.per_mille(250) {
            let fingerprint = rng.per_mille(700).then(|| self.fingerprint(rng.per_mille(100)));
            let stale = rng.per_mille(150);
            return Call::Get(Get { address: self.address.clone(), fingerprint, wait_ms: 0, stale });
        }
        let nonce = if rng.per_mille(150) && !self.nonces.is_empty() {
            self.nonces[rng.index(self.nonces.len())]
        } else {
            let mut nonce = [0; 16];
            nonce[..8].copy_from_slice(&rng.draw().to_be_bytes());
            nonce[8..].copy_from_slice(&rng.draw().to_be_bytes());
            self.nonces.push_front(Hash16(nonce));
            self.nonces.truncate(3);
            Hash16(nonce)
        };
        let other = rng.per_mille(60);
        let field =
            |name: &str, text: String| Field { name: name.into(), digest: Hash16::of(text.as_bytes()) };
        let fields =
            vec![field("amount", format!("{}{other}", self.number)), field("currency", "EUR".to_owned())];
        Call::Claim(Box::new(Claim {
            address: self.address.clone(),
            fingerprint: Some(self.fingerprint(other)),
            fields: if rng.per_mille(500) { fields } else { Vec::new() },
            nonce,
            lease_ms: rng.per_mille(600).then(|| rng.between(10, 400)),
            wait_ms: if rng.per_mille(120) { rng.between(5, 120) } else { 0 },
            first_sent_ms: rng.per_mille(100).then(|| now_ms - rng.below(2200)),
            label: rng.per_mille(200).then(|| "nightly".into()),
            trace: rng.per_mille(300).then(|| format!("{:016x}", rng.draw()).into()),
        }))
    }

    fn payload(&mut self, rng: &mut Rng, held: Held, kind: &str) -> Payload {
        // Two holders may well give the same; mostly they do not.
        if rng.per_mille(850) {
            self.offered += 1;
        }
        let owner = Owner { address: self.address.clone(), fingerprint: held.fingerprint, token: held.token };
        let text = format!("{kind}/{}/{}/{}", self.address, held.token, self.offered);
        Payload { digest: Hash16::of(text.as_bytes()), len: 64, owner: Some(Box::new(owner)) }
    }

    fn outcome(&mut self, rng: &mut Rng, held: Held) -> Outcome {
        let class = match rng.below(10) {
            0 => Class::Error,
            1 => Class::Rejected,
            _ => Class::Success,
        };
        let result = self.payload(rng, held, "result");
        let metadata = Hash16::of(&[u8::try_from(rng.below(3)).unwrap_or(0)]);
        Outcome { class, result, metadata }
    }

    fn by_token(&mut self, rng: &mut Rng, held: Held) -> Call {
        let address = self.address.clone();
        let token = if rng.per_mille(10) { 0 } else { held.token };
        match rng.below(100) {
            0..36 => {
                let outcome = self.outcome(rng, held);
                let retention_ms = rng.per_mille(150).then(|| rng.between(10, 2500));
                Call::Complete(Complete { address, token, outcome, retention_ms })
            }
            36..68 => {
                self.seq += 1;
                let seq = if rng.per_mille(850) { self.seq } else { self.seq / 2 };
                let checkpoint = match rng.below(10) {
                    0 => Some(Payload::default()),
                    1..6 => Some(self.payload(rng, held, "checkpoint")),
                    _ => None,
                };
                let lease_ms = rng.per_mille(400).then(|| rng.between(10, 500));
                Call::Renew(Renew { address, token, seq, lease_ms, checkpoint, mark: rng.per_mille(150) })
            }
            68..82 => Call::Release(Release { address, token }),
            82..95 => {
                let outcome = rng.per_mille(500).then(|| self.outcome(rng, held));
                Call::Resolve(Resolve { address, token, outcome, retention_ms: None })
            }
            _ => {
                let mode = if rng.per_mille(600) { ForgetMode::Erase } else { ForgetMode::Reset };
                Call::Forget(Forget { address, token, mode, force: rng.per_mille(300) })
            }
        }
    }

    /// A listing of its tenant in its shard.
    pub(super) fn list(&self, rng: &mut Rng) -> Call {
        use crate::history::StateKind;
        let of_operation = rng.per_mille(500).then(|| Name::from(OPERATIONS[self.operation]));
        let state = match rng.below(5) {
            0 => Some(StateKind::InDoubt),
            1 => Some(StateKind::Claimed),
            _ => None,
        };
        Call::List(Box::new(List {
            shard: self.shard,
            tenant: tenant(self.number).into(),
            operation: of_operation,
            state,
            after: rng.per_mille(100).then(|| self.address.clone()),
            limit: if rng.per_mille(200) { 3 } else { 1000 },
        }))
    }
}

/// The name of an operation.
pub(super) fn name_of(operation: usize) -> Name {
    OPERATIONS[operation].into()
}
