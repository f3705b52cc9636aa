//! What should change nothing: calls said again, old tokens, other requests under the same key.

use super::Worker;
use crate::workload::asks;
use crate::workload::keys::{Key, recall};
use hapax_core::{Ask, Fingerprint, Token};

impl Worker {
    /// An earlier claim verbatim: the same grant while it runs, else what became of it.
    pub(super) async fn claim_again(&mut self, key: &Key) {
        let earlier = recall(&key.known.lock().claims, &mut self.caller.rng);
        if let Some(ask) = earlier {
            self.caller.call(&asks::request(Ask::Claim(ask))).await;
        } else {
            self.lifecycle(key).await;
        }
    }

    /// Another request under the same key, by its last byte or by its algorithm.
    pub(super) async fn other_request(&mut self, key: &Key) {
        let rng = &mut self.caller.rng;
        let mut fingerprint = key.other_fingerprint(1);
        if rng.chance(200) {
            fingerprint = Fingerprint { algorithm: Fingerprint::ALGORITHM_OPAQUE, ..key.fingerprint() };
        }
        let ask = asks::claim(key, fingerprint, rng);
        if rng.chance(300) {
            // Whoever comes first makes the key theirs.
            return self.claim_and_go_on(key, ask).await;
        }
        self.caller.call(&asks::request(Ask::Claim(ask))).await;
    }

    /// A holder that does not know, or does not care, that its time is over.
    pub(super) async fn old_token(&mut self, key: &Key) {
        let known = recall(&key.known.lock().tokens, &mut self.caller.rng);
        let rng = &mut self.caller.rng;
        let (token, fingerprint) = match known {
            Some(known) if rng.chance(950) => known,
            // One that was never given, next to one that was. (Nobody else may be given it: it would
            // be at the same place of the log.)
            Some((token, fingerprint)) => (Token::from(token.as_u64() ^ 1 << 11), fingerprint),
            None => (Token::from(rng.between(1, 1 << 40) << 12 | 1 << 11), key.fingerprint()),
        };
        match rng.below(4) {
            0 => {
                let seq = rng.between(1, 5);
                let ask = asks::renew(key, &fingerprint, token, seq, rng);
                self.caller.call(&asks::request(Ask::Renew(ask))).await;
            }
            1 => {
                let ask = asks::complete(key, &fingerprint, token, 256, rng);
                self.caller.call(&asks::request(Ask::Complete(ask))).await;
            }
            2 => {
                self.caller.call(&asks::request(asks::release(key, token))).await;
            }
            _ => self.resolve_token(key, &fingerprint, token).await,
        }
    }

    /// A delayed copy of a renewal, a complete or a resolve.
    pub(super) async fn said_again(&mut self, key: &Key) {
        let copy = {
            let (known, rng) = (key.known.lock(), &mut self.caller.rng);
            match rng.below(4) {
                0 => recall(&known.renews, rng).map(Ask::Renew),
                1 => recall(&known.resolves, rng).map(Ask::Resolve),
                _ => recall(&known.completes, rng).map(Ask::Complete),
            }
        };
        if let Some(ask) = copy {
            self.caller.call(&asks::request(ask)).await;
        }
    }

    pub(super) async fn resolve(&mut self, key: &Key) {
        let known = recall(&key.known.lock().tokens, &mut self.caller.rng);
        if let Some((token, fingerprint)) = known {
            self.resolve_token(key, &fingerprint, token).await;
        }
    }

    pub(super) async fn forget(&mut self, key: &Key) {
        let known = key.known.lock().tokens.back().copied();
        let Some((token, _)) = known else { return };
        let ask = asks::forget(key, token, &mut self.caller.rng);
        self.caller.call(&asks::request(ask)).await;
    }
}
