//! A shard in a map, and short ways to write commands.

use hapax_core::command::{
    Batch, Claim, Command, Complete, FORMAT, Forget, ForgetMode, Release, Renew, Resolve, Verb, Verdict,
    VerdictComplete,
};
use hapax_core::fingerprint::{FieldDigest, Fields, Fingerprint};
use hapax_core::policy::{Mode, OnLapse, Terms};
use hapax_core::reply::Granted;
use hapax_core::shard_state::Step;
use hapax_core::{
    Address, Blob, Change, Key, LogTime, Metadata, Nonce, Operation, Outcome, OutcomeClass, Principal,
    Reason, Record, Records, Reply, ShardState, StateKind, Tenant, Token, Trace, apply_batch_with,
};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

/// The numbers under which the tests run, ms. Each differs enough from the others that a wrong one
/// shows.
pub(crate) const LEASE: u64 = 100;
pub(crate) const MAX_HOLD: u64 = 700;
pub(crate) const ABANDONED: u64 = 2_000;
pub(crate) const RETENTION: u64 = 10_000;
pub(crate) const MEMORY: u64 = 50_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Map(pub(crate) BTreeMap<Address, Arc<Record>>);

impl Records for Map {
    type Error = Infallible;

    fn get(&mut self, address: &Address) -> Result<Option<Arc<Record>>, Infallible> {
        Ok(self.0.get(address).cloned())
    }

    fn put(&mut self, address: &Address, record: Option<Arc<Record>>) -> Result<(), Infallible> {
        match record {
            Some(record) => self.0.insert(address.clone(), record),
            None => self.0.remove(address),
        };
        Ok(())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) state: ShardState,
    pub(crate) records: Map,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { state: ShardState::new(3, 1), records: Map::default() }
    }

    /// Applies one command as an entry of its own; tells what was said and whether anything changed.
    pub(crate) fn step(&mut self, time: u64, command: &Command) -> (Reply, bool) {
        let mut changed = Vec::new();
        let replies = self.batch(time, vec![command.clone()], |step| {
            changed.push(!matches!(step.change, Change::Keep));
        });
        (replies.into_iter().next().unwrap(), changed[0])
    }

    pub(crate) fn run(&mut self, time: u64, command: &Command) -> Reply {
        self.step(time, command).0
    }

    pub(crate) fn batch(
        &mut self,
        time: u64,
        commands: Vec<Command>,
        observe: impl FnMut(Step<'_>),
    ) -> Vec<Reply> {
        let batch = Batch { time: LogTime(time), commands };
        let index = self.state.index + 1;
        apply_batch_with(&mut self.state, &batch, index, &mut self.records, observe).unwrap()
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.records.0.get(&address()).map(|record| &**record)
    }

    pub(crate) fn kind(&self, time: u64) -> StateKind {
        self.record().map_or(StateKind::Absent, |record| record.kind_at(LogTime(time)))
    }

    /// Claims and hands out the token.
    pub(crate) fn grant(&mut self, time: u64, command: &Command) -> Token {
        granted(&self.run(time, command)).token
    }
}

pub(crate) fn granted(reply: &Reply) -> &Granted {
    match reply {
        Reply::Granted(granted) => granted,
        other => panic!("expected granted, got {other:?}"),
    }
}

pub(crate) fn address_of(tenant: &str, operation: &str, key: &str) -> Address {
    let (tenant, operation) = (Tenant::new(tenant).unwrap(), Operation::new(operation).unwrap());
    Address::new(&tenant, &operation, &Key::new(key).unwrap())
}

pub(crate) fn address() -> Address {
    address_of("acme/m1", "pay", "order-1")
}

pub(crate) fn nonce(n: u8) -> Nonce {
    Nonce::try_from([n; 16]).unwrap()
}

pub(crate) fn fingerprint(n: u8) -> Fingerprint {
    Fingerprint { algorithm: Fingerprint::ALGORITHM_SHA256_BYTES, digest: [n; 32] }
}

pub(crate) fn fields(named: &[(&str, u8)]) -> Fields {
    let digest = |&(name, n): &(&str, u8)| FieldDigest { name: name.to_owned(), digest: [n; 32] };
    Fields::new(named.iter().map(digest).collect()).unwrap()
}

pub(crate) fn terms() -> Terms {
    Terms {
        on_lapse: OnLapse::TakeoverUnlessMarked,
        mode: Mode::Enforce,
        max_hold_ms: MAX_HOLD,
        abandoned_ms: ABANDONED,
        retention_success_ms: RETENTION,
        memory_ms: MEMORY,
    }
}

pub(crate) fn outcome(class: OutcomeClass, result: &str) -> Outcome {
    let metadata = Metadata {
        content_type: Some("text/plain".to_owned()),
        status: Some(200),
        headers: vec![("etag".to_owned(), result.to_owned())],
    };
    Outcome { class, result: Blob::from(result), metadata }
}

pub(crate) fn success() -> Outcome {
    outcome(OutcomeClass::Success, "paid")
}

pub(crate) fn command(verb: Verb) -> Command {
    Command { format: FORMAT, principal: Principal::default(), not_after: None, address: address(), verb }
}

/// A claim with fingerprint 1 under [`terms`], to be changed by `with`.
pub(crate) fn claim_with(n: u8, with: impl FnOnce(&mut Claim)) -> Command {
    let mut claim = Claim {
        fingerprint: fingerprint(1),
        fields: Fields::default(),
        nonce: nonce(n),
        lease_ms: LEASE,
        first_sent: None,
        label: None,
        trace: Some(Trace::new(format!("trace-{n}")).unwrap()),
        value: None,
        name_fields: true,
        terms: terms(),
    };
    with(&mut claim);
    command(Verb::Claim(claim))
}

pub(crate) fn claim(n: u8) -> Command {
    claim_with(n, |_| ())
}

pub(crate) fn renew_with(token: Token, seq: u64, with: impl FnOnce(&mut Renew)) -> Command {
    let mut renew = Renew { token, seq, lease_ms: LEASE, checkpoint: None, mark: false };
    with(&mut renew);
    command(Verb::Renew(renew))
}

pub(crate) fn renew(token: Token, seq: u64) -> Command {
    renew_with(token, seq, |_| ())
}

pub(crate) fn mark(token: Token, seq: u64) -> Command {
    renew_with(token, seq, |renew| renew.mark = true)
}

pub(crate) fn checkpoint(token: Token, seq: u64, text: &str) -> Command {
    renew_with(token, seq, |renew| renew.checkpoint = Some(Blob::from(text)))
}

pub(crate) fn complete_with(token: Token, outcome: Outcome) -> Command {
    command(Verb::Complete(Complete { token, outcome, retention_ms: RETENTION }))
}

pub(crate) fn complete(token: Token) -> Command {
    complete_with(token, success())
}

pub(crate) fn release(token: Token) -> Command {
    command(Verb::Release(Release { token, reason: None }))
}

pub(crate) fn resolve_to(token: Token, verdict: Verdict) -> Command {
    command(Verb::Resolve(Resolve { token, verdict, reason: Reason::new("checked the ledger").unwrap() }))
}

pub(crate) fn verdict(outcome: Outcome) -> Verdict {
    Verdict::Complete(VerdictComplete { outcome, retention_ms: RETENTION })
}

pub(crate) fn resolve_complete(token: Token) -> Command {
    resolve_to(token, verdict(success()))
}

pub(crate) fn resolve_release(token: Token) -> Command {
    resolve_to(token, Verdict::Release)
}

pub(crate) fn forget(token: Token, mode: ForgetMode, force: bool) -> Command {
    command(Verb::Forget(Forget { token, mode, force, reason: Reason::default() }))
}
