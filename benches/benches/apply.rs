//! What one command costs in the state machine, by what it finds.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hapax_bench::{claim, complete};
use hapax_core::{At, Change, LogTime, Record, Transition, transition};
use std::hint::black_box;
use std::sync::Arc;

fn at(index: u64) -> At {
    At { shard: 0, epoch: 0, index, position: 0, time: LogTime(1_800_000_000_000 + index) }
}

fn stored(transition: Transition) -> Arc<Record> {
    match transition.change {
        Change::Put(record) => record,
        other => unreachable!("a grant and a completion store a record, got {other:?}"),
    }
}

fn claimed() -> Arc<Record> {
    stored(transition(None, &claim(1, 1), at(1)).expect("a known format"))
}

fn completed() -> Arc<Record> {
    let record = claimed();
    stored(transition(Some(&record), &complete(1, record.token), at(2)).expect("a known format"))
}

fn verbs(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    let fresh = claim(1, 1);
    group.bench_function("claim, absent", |b| b.iter(|| transition(None, black_box(&fresh), at(1))));
    let (record, duplicate) = (claimed(), claim(1, 2));
    group.bench_function("claim, running", |b| {
        b.iter(|| transition(Some(black_box(&record)), black_box(&duplicate), at(2)));
    });
    let done = complete(1, record.token);
    group.bench_function("complete, own", |b| {
        b.iter_batched(
            || done.clone(),
            |done| transition(Some(black_box(&record)), &done, at(2)),
            BatchSize::SmallInput,
        );
    });
    let (record, retry) = (completed(), claim(1, 3));
    group.bench_function("claim, completed", |b| {
        b.iter(|| transition(Some(black_box(&record)), black_box(&retry), at(3)));
    });
    group.finish();
}

criterion_group!(benches, verbs);
criterion_main!(benches);
