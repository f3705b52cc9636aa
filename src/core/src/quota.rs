//! Quotas: what a leader counts, so that it can refuse a claim before it proposes it.
//!
//! A quota is of a tenant's operation in the whole cluster; each shard keeps its share of it. The
//! counts are a pure function of the stored records and the log time: each record counts until it
//! is absent, and each claim as running until its deadline, without anybody having to look at the
//! record when that time comes. Ends are kept in coarse slots, rounded up, so a count may fall
//! late by one slot, never early. The ledger is fed with every change, and rebuilt by a scan when
//! a replica becomes leader. Bounded by the records themselves: a sweep of a few at a time drops
//! what has none left.

use crate::address::{Address, Operation, Tenant};
use crate::command::Claim;
use crate::error::{ErrorCode, Refusal};
use crate::policy::{Mode, Policy};
use crate::record::{Record, State};
use crate::reply::Reply;
use crate::shard_state::Step;
use crate::time::LogTime;
use crate::transition::Change;
use crate::verbs::claim::shadow;
use crate::view::StateKind;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The width of the slots of running claims, ms.
const RUNNING_SLOT_MS: u64 = 1000;
/// The width of the slots of records, ms.
const RECORD_SLOT_MS: u64 = 10 * 60 * 1000;
/// How many tenant's operations are swept each time that a slot of running claims ends.
const SWEEP: usize = 256;

/// The quotas of a policy; none where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// The most running claims in the whole cluster.
    pub max_inflight: Option<u64>,
    /// The most records in the whole cluster.
    pub max_records: Option<u64>,
}

impl QuotaLimits {
    /// Those of a policy.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        Self { max_inflight: policy.max_inflight, max_records: policy.max_records }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What a tenant's operation holds in one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Running claims.
    pub inflight: u64,
    /// Records that are not absent.
    pub records: u64,
}

/// The counts of one shard.
#[derive(Clone, Debug, Default)]
pub struct QuotaLedger {
    now: LogTime,
    /// By the range prefix of a tenant's operation.
    scopes: BTreeMap<Box<[u8]>, Scope>,
    /// The sweep goes on after this one.
    swept: Box<[u8]>,
}

#[derive(Clone, Debug, Default)]
struct Scope {
    running: Ends,
    records: Ends,
}

/// How many end when.
#[derive(Clone, Debug, Default)]
struct Ends {
    total: u64,
    /// By the slot in which they end; those that never do are in `total` only.
    slots: BTreeMap<u64, u64>,
}

impl QuotaLedger {
    /// An empty shard.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the log time on: what has ended by then no longer counts.
    pub fn advance(&mut self, now: LogTime) {
        let moved = now.0 / RUNNING_SLOT_MS > self.now.0 / RUNNING_SLOT_MS;
        self.now = self.now.max(now);
        if moved {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        let rest = (Bound::Excluded(self.swept.clone()), Bound::Unbounded);
        let due: Vec<_> = self.scopes.range(rest).take(SWEEP).map(|(prefix, _)| prefix.clone()).collect();
        for prefix in &due {
            if let Some(scope) = self.scopes.get_mut(prefix) {
                scope.drop_ended(self.now);
                if scope.is_empty() {
                    self.scopes.remove(prefix);
                }
            }
        }
        self.swept =
            if due.len() < SWEEP { Box::default() } else { due.into_iter().last().unwrap_or_default() };
    }

    /// Takes in what a command did.
    pub fn apply(&mut self, step: &Step<'_>) {
        self.advance(step.at.time);
        match step.change {
            Change::Keep => (),
            Change::Put(record) => self.replace(&step.command.address, step.found, Some(record)),
            Change::Remove => self.replace(&step.command.address, step.found, None),
        }
    }

    /// Takes in a record that a scan found.
    pub fn add(&mut self, address: &Address, record: &Record) {
        self.replace(address, None, Some(record));
    }

    /// Takes in that one stored record took the place of another.
    pub fn replace(&mut self, address: &Address, before: Option<&Record>, after: Option<&Record>) {
        let now = self.now;
        let prefix = &address.canonical()[..address.canonical().len() - address.key().len()];
        if !self.scopes.contains_key(prefix) {
            self.scopes.insert(prefix.into(), Scope::default());
        }
        let Some(scope) = self.scopes.get_mut(prefix) else { return };
        scope.drop_ended(now);
        if let Some(record) = before {
            scope.count(record, now, Ends::remove);
        }
        if let Some(record) = after {
            scope.count(record, now, Ends::add);
        }
        if scope.is_empty() {
            self.scopes.remove(prefix);
        }
    }

    /// How many tenants' operations are kept count of.
    #[must_use]
    pub fn scopes(&self) -> usize {
        self.scopes.len()
    }

    /// What a tenant's operation holds in this shard.
    #[must_use]
    pub fn usage(&self, tenant: &Tenant, operation: &Operation) -> Usage {
        self.usage_of_prefix(&Address::operation_prefix(tenant, operation))
    }

    /// Whether a claim that would be granted on what is stored, `found`, is within the quotas.
    ///
    /// # Errors
    /// A definite [`Refusal`] `quota`.
    pub fn check(
        &self,
        address: &Address,
        found: Option<&Record>,
        limits: QuotaLimits,
        shards: u32,
    ) -> Result<(), Refusal> {
        if limits.is_none() {
            return Ok(());
        }
        let prefix = &address.canonical()[..address.canonical().len() - address.key().len()];
        let usage = self.usage_of_prefix(prefix);
        let kind = found.map_or(StateKind::Absent, |record| record.kind_at(self.now));
        let grows = kind == StateKind::Absent;
        let starts = grows || kind == StateKind::Open;
        let is_full = |used: u64, max: Option<u64>| max.is_some_and(|max| used >= share(max, shards));
        if starts && is_full(usage.inflight, limits.max_inflight) {
            return Err(Refusal::definite(ErrorCode::Quota, "max_inflight is reached"));
        }
        if grows && is_full(usage.records, limits.max_records) {
            return Err(Refusal::definite(ErrorCode::Quota, "max_records is reached"));
        }
        Ok(())
    }

    fn usage_of_prefix(&self, prefix: &[u8]) -> Usage {
        self.scopes.get(prefix).map_or_else(Usage::default, |scope| Usage {
            inflight: scope.running.left_at(self.now, RUNNING_SLOT_MS),
            records: scope.records.left_at(self.now, RECORD_SLOT_MS),
        })
    }
}

/// What a claim is answered that a quota refuses: under observe, a shadow.
#[must_use]
pub fn refuse_claim(claim: &Claim, refusal: Refusal) -> Reply {
    match claim.terms.mode {
        Mode::Enforce => Reply::Error(refusal),
        Mode::Observe => shadow(claim, Some(Reply::Error(refusal))),
        Mode::Off => shadow(claim, None),
    }
}

/// One shard's share of a quota of the whole cluster.
#[must_use]
pub fn share(max: u64, shards: u32) -> u64 {
    max.div_ceil(u64::from(shards.max(1)))
}

impl Scope {
    fn count(
        &mut self,
        record: &Record,
        now: LogTime,
        count: impl Fn(&mut Ends, Option<LogTime>, LogTime, u64),
    ) {
        count(&mut self.records, record.absent_at(), now, RECORD_SLOT_MS);
        if let State::Claimed(claimed) = &record.state {
            count(&mut self.running, Some(claimed.deadline), now, RUNNING_SLOT_MS);
        }
    }

    fn drop_ended(&mut self, now: LogTime) {
        self.running.drop_ended(now, RUNNING_SLOT_MS);
        self.records.drop_ended(now, RECORD_SLOT_MS);
    }

    fn is_empty(&self) -> bool {
        self.running.total == 0 && self.records.total == 0
    }
}

impl Ends {
    fn add(&mut self, end: Option<LogTime>, now: LogTime, slot_ms: u64) {
        match slot_of(end, now, slot_ms) {
            Slot::Ended => (),
            Slot::Never => self.total += 1,
            Slot::At(slot) => {
                self.total += 1;
                *self.slots.entry(slot).or_default() += 1;
            }
        }
    }

    fn remove(&mut self, end: Option<LogTime>, now: LogTime, slot_ms: u64) {
        match slot_of(end, now, slot_ms) {
            Slot::Ended => (),
            Slot::Never => self.total = self.total.saturating_sub(1),
            Slot::At(slot) => {
                if let Some(count) = self.slots.get_mut(&slot) {
                    *count -= 1;
                    self.total = self.total.saturating_sub(1);
                    if *count == 0 {
                        self.slots.remove(&slot);
                    }
                }
            }
        }
    }

    /// How many have not ended.
    fn left_at(&self, now: LogTime, slot_ms: u64) -> u64 {
        let ended: u64 = self.slots.range(..=now.0 / slot_ms).map(|(_, count)| count).sum();
        self.total.saturating_sub(ended)
    }

    fn drop_ended(&mut self, now: LogTime, slot_ms: u64) {
        while let Some(first) = self.slots.first_entry() {
            if *first.key() > now.0 / slot_ms {
                return;
            }
            self.total = self.total.saturating_sub(first.remove());
        }
    }
}

enum Slot {
    Ended,
    At(u64),
    Never,
}

/// The slot of an end: the first whose start is not before it.
fn slot_of(end: Option<LogTime>, now: LogTime, slot_ms: u64) -> Slot {
    match end.map(|end| end.0.div_ceil(slot_ms)) {
        None => Slot::Never,
        Some(slot) if slot <= now.0 / slot_ms => Slot::Ended,
        Some(slot) => Slot::At(slot),
    }
}
