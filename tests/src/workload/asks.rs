//! The requests of the load.

use super::keys::Key;
use super::payload::owned;
use super::rng::Rng;
use hapax_core::command::ForgetMode;
use hapax_core::request::{ClaimAsk, CompleteAsk, ForgetAsk, GetAsk, ReleaseAsk, RenewAsk, ResolveAsk};
use hapax_core::{
    Ask, Blob, Fingerprint, Label, Metadata, Nonce, Outcome, OutcomeClass, Reason, Request, Token, Trace,
};

pub(super) fn request(ask: Ask) -> Request {
    Request { not_after: None, ask }
}

pub(super) fn nonce(rng: &mut Rng) -> Nonce {
    loop {
        if let Ok(nonce) = Nonce::try_from(rng.bytes::<16>()) {
            return nonce;
        }
    }
}

/// A claim of a new logical call.
pub(super) fn claim(key: &Key, fingerprint: Fingerprint, rng: &mut Rng) -> ClaimAsk {
    let nonce = nonce(rng);
    ClaimAsk {
        address: key.address.clone(),
        fingerprint: Some(fingerprint),
        fields: if rng.chance(500) { key.fields(&fingerprint) } else { hapax_core::Fields::default() },
        nonce,
        lease_ms: rng.chance(300).then(|| rng.between(60, 3000)),
        wait_ms: if rng.chance(150) { rng.between(20, 600) } else { 0 },
        first_sent: None,
        label: rng.chance(300).then(|| Label::new(format!("for {nonce:?}")).unwrap_or_default()),
        trace: rng.chance(300).then(|| Trace::new(format!("00-{nonce:?}-01")).unwrap_or_default()),
        value: None,
    }
}

/// Bytes of a size that is mostly small, made for this token.
fn result(key: &Key, fingerprint: &Fingerprint, token: Token, largest: u64, rng: &mut Rng) -> Blob {
    let length = match rng.below(100) {
        0..8 => return Blob::default(),
        8..80 => rng.between(0, 48),
        80..99 => rng.between(48, 4096),
        _ => rng.between(4096, largest.max(4097)),
    };
    let seed = rng.bits().to_le_bytes();
    let length = usize::try_from(length.min(largest)).unwrap_or_default();
    let filler: Vec<u8> = seed.iter().copied().cycle().take(length).collect();
    Blob::from(owned(&key.address, fingerprint, token, &filler))
}

pub(super) fn outcome(
    key: &Key,
    fingerprint: &Fingerprint,
    token: Token,
    largest: u64,
    rng: &mut Rng,
) -> Outcome {
    let class = match rng.below(10) {
        0..7 => OutcomeClass::Success,
        7 => OutcomeClass::Rejected,
        _ => OutcomeClass::Error,
    };
    let metadata = Metadata {
        content_type: rng.chance(500).then(|| "text/plain".to_owned()),
        status: rng.chance(500).then(|| if class == OutcomeClass::Success { 200 } else { 402 }),
        headers: if rng.chance(200) { vec![("x-token".to_owned(), token.to_string())] } else { Vec::new() },
    };
    Outcome { class, result: result(key, fingerprint, token, largest, rng), metadata }
}

pub(super) fn complete(
    key: &Key,
    fingerprint: &Fingerprint,
    token: Token,
    largest: u64,
    rng: &mut Rng,
) -> CompleteAsk {
    let outcome = outcome(key, fingerprint, token, largest, rng);
    let retention_ms = rng.chance(200).then(|| rng.between(50, 5000));
    CompleteAsk { address: key.address.clone(), token, outcome, retention_ms }
}

pub(super) fn renew(key: &Key, fingerprint: &Fingerprint, token: Token, seq: u64, rng: &mut Rng) -> RenewAsk {
    let checkpoint = match rng.below(10) {
        0..5 => None,
        5 => Some(Blob::default()),
        _ => Some(Blob::from(owned(&key.address, fingerprint, token, &rng.bits().to_le_bytes()))),
    };
    let lease_ms = rng.chance(400).then(|| rng.between(60, 3000));
    RenewAsk { address: key.address.clone(), token, seq, lease_ms, checkpoint, mark: rng.chance(250) }
}

pub(super) fn release(key: &Key, token: Token) -> Ask {
    Ask::Release(ReleaseAsk { address: key.address.clone(), token, reason: None })
}

pub(super) fn resolve(key: &Key, fingerprint: &Fingerprint, token: Token, rng: &mut Rng) -> ResolveAsk {
    let outcome = rng.chance(500).then(|| outcome(key, fingerprint, token, 2048, rng));
    let reason = Reason::new("looked at the books").unwrap_or_default();
    ResolveAsk { address: key.address.clone(), token, outcome, retention_ms: None, reason }
}

pub(super) fn forget(key: &Key, token: Token, rng: &mut Rng) -> Ask {
    let mode = if rng.chance(500) { ForgetMode::Erase } else { ForgetMode::Reset };
    let (address, force) = (key.address.clone(), rng.chance(200));
    Ask::Forget(ForgetAsk { address, token, mode, force, reason: Reason::default() })
}

pub(super) fn get(key: &Key, rng: &mut Rng) -> Ask {
    let fingerprint = match rng.below(10) {
        0..6 => Some(key.fingerprint()),
        6..8 => Some(key.other_fingerprint(1)),
        _ => None,
    };
    let wait_ms = if rng.chance(150) { rng.between(20, 500) } else { 0 };
    Ask::Get(GetAsk { address: key.address.clone(), fingerprint, wait_ms, stale: rng.chance(200) })
}
