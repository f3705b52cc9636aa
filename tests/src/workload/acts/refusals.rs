//! Calls that are refused for what they say, not for what they find.

use super::Worker;
use crate::workload::asks;
use crate::workload::keys::Key;
use hapax_core::request::{ListAsk, RenewAsk};
use hapax_core::{Ask, Blob, LogTime, Request, Tenant, Token, limits};

/// How far from what is seen of log time `not_after` is set, ms.
const AROUND_MS: u64 = 400;
/// Longer ago than anything is remembered, ms.
const LONG_AGO_MS: u64 = 400 * 24 * 3600 * 1000;

impl Worker {
    pub(super) async fn refused(&mut self, key: &Key) {
        let last = key.known.lock().tokens.back().copied();
        let (known, fingerprint) = last.unwrap_or((Token::from(1), key.fingerprint()));
        let rng = &mut self.caller.rng;
        let ask = match rng.below(6) {
            0 => {
                let mut ask = asks::claim(key, key.fingerprint(), rng);
                ask.fingerprint = None;
                Ask::Claim(ask)
            }
            1 => {
                let mut ask = asks::complete(key, &fingerprint, known, 16, rng);
                ask.outcome.result = Blob::from(vec![0; limits::RESULT_BYTES + 1]);
                Ask::Complete(ask)
            }
            2 => {
                let mut ask = asks::complete(key, &fingerprint, known, 16, rng);
                ask.outcome.metadata.headers = vec![("x".to_owned(), "y".repeat(limits::METADATA_BYTES))];
                Ask::Complete(ask)
            }
            3 => {
                let checkpoint = Some(Blob::from(vec![0; limits::CHECKPOINT_BYTES + 1]));
                Ask::Renew(RenewAsk { checkpoint, ..asks::renew(key, &fingerprint, known, 9, rng) })
            }
            4 => Ask::Renew(RenewAsk { mark: true, ..asks::renew(key, &fingerprint, known, 0, rng) }),
            _ => {
                let Ok(tenant) = Tenant::new("another") else { return };
                let (shard, after) = (key.address.shard(self.caller.shards), Some(key.address.clone()));
                Ask::List(ListAsk { shard, tenant, operation: None, state: None, after, limit: 5 })
            }
        };
        self.caller.call(&asks::request(ask)).await;
    }

    /// A time limit that has passed, has not, or passes about now; and a request from long ago.
    pub(super) async fn not_after(&mut self, key: &Key) {
        let shard = key.address.shard(self.caller.shards);
        let Some(LogTime(seen)) = self.caller.routes.time(shard) else { return };
        let rng = &mut self.caller.rng;
        let not_after = Some(LogTime((seen + rng.between(0, 2 * AROUND_MS)).saturating_sub(AROUND_MS)));
        let last = key.known.lock().tokens.back().copied();
        let (token, fingerprint) = last.unwrap_or((Token::from(1), key.fingerprint()));
        let mut claim = asks::claim(key, key.fingerprint(), rng);
        let ask = match rng.below(4) {
            0 => asks::release(key, token),
            1 => Ask::Complete(asks::complete(key, &fingerprint, token, 32, rng)),
            2 => {
                claim.first_sent = Some(LogTime(seen.saturating_sub(rng.between(0, LONG_AGO_MS))));
                return drop(self.caller.call(&asks::request(Ask::Claim(claim))).await);
            }
            _ => Ask::Claim(claim),
        };
        self.caller.call(&Request { not_after, ask }).await;
    }
}
