//! Commands and shards that the targets begin with.

use hapax_core::command::{
    Claim, Command, Complete, FORMAT, Forget, ForgetMode, Release, Renew, Resolve, Verb, Verdict,
};
use hapax_core::{
    Address, Batch, Blob, FieldDigest, Fields, Fingerprint, Key, Label, LogTime, Metadata, Money, Nonce,
    Operation, Outcome, OutcomeClass, Policy, Principal, Reason, ShardState, Tenant, Terms, Token, Trace,
    apply_batch,
};
use hapax_store::disk::SimDisk;
use hapax_store::log::{GroupId, LogPosition};
use hapax_store::records::{
    AppliedMeta, EngineKind, MemoryEngine, RecordConfig, RecordStore, RecordWriter, ShardRecords,
};
use std::path::Path;
use std::sync::Arc;

/// The replica that the targets use.
pub(super) const ID: GroupId = GroupId { shard: 3, replica: 7 };

/// An open store with one shard.
pub(super) struct Store {
    pub(super) shard: Arc<ShardRecords>,
    writer: RecordWriter,
    _store: RecordStore,
}

impl Store {
    pub(super) fn new() -> Self {
        let config =
            RecordConfig { kind: EngineKind::Memory(MemoryEngine::new()), ..RecordConfig::default() };
        let (store, writer) =
            RecordStore::open(Arc::new(SimDisk::new()), Path::new("/records"), config).unwrap();
        let shard = store.shard(ID).unwrap();
        Self { shard, writer, _store: store }
    }

    /// Applies batches as the first entries and makes them durable.
    pub(super) fn fill(&mut self, batches: &[Batch]) {
        let mut state = ShardState::new(ID.shard, 0);
        for batch in batches {
            let index = state.index + 1;
            let mut changes = self.shard.begin();
            apply_batch(&mut state, batch, index, &mut changes).unwrap();
            changes.commit(AppliedMeta {
                position: Some(LogPosition { term: 1, index }),
                time: state.time,
                digest: state.digest,
                epoch: state.epoch,
                membership: vec![1, 2, 3].into(),
                format: FORMAT,
            });
        }
        for now_ms in [20_000, 40_000, 60_000] {
            self.writer.step(now_ms).unwrap();
        }
    }
}

/// One of four addresses with the same key in different places, or a plain numbered one.
pub(super) fn address(number: u8) -> Address {
    let places = [("acme", "pay"), ("acme", "refund"), ("acme/m1", "pay"), ("zeta", "pay")];
    let (tenant, operation) = places[usize::from(number % 4)];
    let key = Key::new(format!("order-{}", number / 4)).unwrap();
    Address::new(&Tenant::new(tenant).unwrap(), &Operation::new(operation).unwrap(), &key)
}

/// Short times, so that little log time goes through every state.
fn terms() -> Terms {
    let policy = Policy::default();
    Terms {
        on_lapse: policy.on_lapse,
        mode: policy.mode,
        max_hold_ms: 100_000,
        abandoned_ms: 1_000,
        retention_success_ms: 2_000,
        memory_ms: 1_000,
    }
}

fn command(number: u8, verb: Verb) -> Command {
    Command {
        format: FORMAT,
        principal: Principal::default(),
        not_after: None,
        address: address(number),
        verb,
    }
}

pub(super) fn claim(number: u8, nonce: u8) -> Command {
    let fields = vec![FieldDigest { name: "amount".to_owned(), digest: [number; 32] }];
    command(
        number,
        Verb::Claim(Claim {
            fingerprint: Fingerprint { algorithm: 1, digest: [number; 32] },
            fields: Fields::new(fields).unwrap(),
            nonce: Nonce::try_from([nonce.max(1); 16]).unwrap(),
            lease_ms: 1_000,
            first_sent: Some(LogTime(900)),
            label: Some(Label::new("order").unwrap()),
            trace: Some(Trace::new("00-aa").unwrap()),
            value: Some(Money::new(1_234, *b"EUR").unwrap()),
            name_fields: true,
            terms: terms(),
        }),
    )
}

fn outcome(bytes: usize) -> Outcome {
    let metadata = Metadata {
        content_type: Some("text/plain".to_owned()),
        status: Some(201),
        headers: vec![("etag".to_owned(), "7".to_owned())],
    };
    Outcome { class: OutcomeClass::Success, result: Blob::from(vec![5; bytes]), metadata }
}

fn token(index: u64, position: u8) -> Token {
    Token::of_grant(0, index, position.into()).unwrap()
}

/// A history that leaves records in every state: claimed, marked, open, in doubt, completed, spent.
pub(super) fn history(records: u8, result_bytes: usize) -> Vec<Batch> {
    let of = |remainder: u8| (0..records).filter(move |number| number % 6 == remainder);
    let renew = |number| {
        let checkpoint = Some(Blob::from("step 3"));
        command(
            number,
            Verb::Renew(Renew { token: token(1, number), seq: 1, lease_ms: 1_000, checkpoint, mark: true }),
        )
    };
    let complete = |number, retention_ms| {
        command(
            number,
            Verb::Complete(Complete {
                token: token(1, number),
                outcome: outcome(result_bytes),
                retention_ms,
            }),
        )
    };
    let release = |number| {
        command(
            number,
            Verb::Release(Release { token: token(1, number), reason: Some(Reason::new("gave up").unwrap()) }),
        )
    };
    let resolve = |number| {
        let reason = Reason::new("seen").unwrap();
        command(number, Verb::Resolve(Resolve { token: token(1, number), verdict: Verdict::Release, reason }))
    };
    let forget = |number| {
        let reason = Reason::new("asked").unwrap();
        command(
            number,
            Verb::Forget(Forget { token: token(1, number), mode: ForgetMode::Erase, force: false, reason }),
        )
    };
    let first = (0..records).map(|number| claim(number, number + 1)).collect();
    let second = of(1)
        .chain(of(2))
        .map(renew)
        .chain(of(3).map(|number| complete(number, 100_000)))
        .chain(of(4).map(|number| complete(number, 100)))
        .chain(of(5).map(release))
        .collect();
    let third = of(2).take(1).map(resolve).chain(of(3).take(1).map(forget)).collect();
    vec![
        Batch { time: LogTime(1_000), commands: first },
        Batch { time: LogTime(1_100), commands: second },
        Batch { time: LogTime(2_600), commands: third },
        Batch { time: LogTime(2_700), commands: vec![claim(0, 200)] },
    ]
}
