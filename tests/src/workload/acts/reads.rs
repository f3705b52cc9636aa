//! Reads: one record, and pages of a shard.

use super::Worker;
use crate::workload::asks;
use crate::workload::keys::Key;
use hapax_core::request::ListAsk;
use hapax_core::{Ask, Operation, Reply, StateKind, Tenant};

/// Pages that are followed.
const PAGES: u32 = 3;

impl Worker {
    pub(super) async fn get(&mut self, key: &Key) {
        let request = asks::request(asks::get(key, &mut self.caller.rng));
        let node = if self.caller.rng.chance(300) {
            self.caller.rng.index(self.caller.lane.len())
        } else {
            self.caller.node_for(&request)
        };
        self.caller.call_at(node, &request, super::super::caller::DEADLINE_MS).await;
    }

    pub(super) async fn list(&mut self, key: &Key) {
        let (Ok(tenant), Ok(operation)) =
            (Tenant::new(key.address.tenant()), Operation::new(key.address.operation()))
        else {
            return;
        };
        let rng = &mut self.caller.rng;
        let mut ask = ListAsk {
            shard: key.address.shard(self.caller.shards),
            tenant,
            operation: rng.chance(500).then_some(operation),
            state: if rng.chance(500) { rng.pick(&StateKind::ALL).copied() } else { None },
            after: None,
            limit: u32::try_from(rng.between(1, 20)).unwrap_or(1),
        };
        for _ in 0..PAGES {
            let request = asks::request(Ask::List(ask.clone()));
            match self.caller.insist(&request, 2).await {
                Some(Reply::Page(page)) if page.next.is_some() => ask.after = page.next,
                _ => return,
            }
        }
    }
}
