//! The way a key is meant to go: claim, hold, end, or fall silent.

use super::Worker;
use crate::workload::asks;
use crate::workload::keys::{Key, remember};
use hapax_core::reply::Granted;
use hapax_core::request::ClaimAsk;
use hapax_core::{Ask, Fingerprint, Reply, Token};
use std::time::Duration;
use tokio::time::sleep;

/// How often a call is said until its caller gives up.
pub(super) const TRIES: u32 = 4;
/// Renewals of one holder.
const RENEWALS: u64 = 3;

/// How a holder ends.
#[derive(Clone, Copy)]
enum End {
    Complete,
    Late,
    Release,
    Silence,
}

const ENDS: [(u64, End); 4] = [(60, End::Complete), (8, End::Late), (12, End::Release), (20, End::Silence)];

impl Worker {
    pub(super) async fn lifecycle(&mut self, key: &Key) {
        let fingerprint = key.fingerprint();
        let ask = asks::claim(key, fingerprint, &mut self.caller.rng);
        self.claim_and_go_on(key, ask).await;
    }

    /// Claims and does what the reply asks for.
    pub(super) async fn claim_and_go_on(&mut self, key: &Key, ask: ClaimAsk) {
        remember(&mut key.known.lock().claims, ask.clone());
        let fingerprint = ask.fingerprint.unwrap_or(Fingerprint::EMPTY);
        let request = asks::request(Ask::Claim(ask));
        match self.caller.insist(&request, TRIES).await {
            Some(Reply::Granted(granted)) => self.hold(key, &fingerprint, &granted).await,
            Some(Reply::InDoubt(doubt)) => {
                remember(&mut key.known.lock().tokens, (doubt.token, fingerprint));
                if self.caller.rng.chance(300) {
                    self.resolve_token(key, &fingerprint, doubt.token).await;
                }
            }
            _ => {}
        }
    }

    async fn hold(&mut self, key: &Key, fingerprint: &Fingerprint, granted: &Granted) {
        remember(&mut key.known.lock().tokens, (granted.token, *fingerprint));
        self.renew(key, fingerprint, granted.token).await;
        let rng = &mut self.caller.rng;
        match rng.weighted(&ENDS) {
            Some(End::Complete) => self.complete(key, fingerprint, granted.token).await,
            Some(End::Late) => {
                let pause = rng.between(granted.lease_left_ms / 2, granted.lease_left_ms * 3 / 2);
                sleep(Duration::from_millis(pause.min(1500))).await;
                self.complete(key, fingerprint, granted.token).await;
            }
            Some(End::Release) => {
                let request = asks::request(asks::release(key, granted.token));
                self.caller.insist(&request, TRIES).await;
            }
            // The lease lapses by itself; what it leads to is for others to find.
            Some(End::Silence) | None => {}
        }
    }

    async fn renew(&mut self, key: &Key, fingerprint: &Fingerprint, token: Token) {
        let renewals = if self.caller.rng.chance(400) { self.caller.rng.between(1, RENEWALS) } else { 0 };
        for seq in 1..=renewals {
            let ask = asks::renew(key, fingerprint, token, seq, &mut self.caller.rng);
            remember(&mut key.known.lock().renews, ask.clone());
            self.caller.insist(&asks::request(Ask::Renew(ask)), TRIES).await;
        }
    }

    pub(super) async fn complete(&mut self, key: &Key, fingerprint: &Fingerprint, token: Token) {
        let ask = asks::complete(key, fingerprint, token, self.largest, &mut self.caller.rng);
        remember(&mut key.known.lock().completes, ask.clone());
        let request = asks::request(Ask::Complete(ask));
        self.caller.insist(&request, TRIES).await;
        if self.caller.rng.chance(80) {
            self.caller.call(&request).await;
        }
        if self.caller.rng.chance(60) {
            let other = asks::complete(key, fingerprint, token, 64, &mut self.caller.rng);
            self.caller.call(&asks::request(Ask::Complete(other))).await;
        }
    }

    pub(super) async fn resolve_token(&mut self, key: &Key, fingerprint: &Fingerprint, token: Token) {
        let ask = asks::resolve(key, fingerprint, token, &mut self.caller.rng);
        remember(&mut key.known.lock().resolves, ask.clone());
        let request = asks::request(Ask::Resolve(ask));
        self.caller.insist(&request, TRIES).await;
        if self.caller.rng.chance(200) {
            self.caller.call(&request).await;
        }
    }
}
