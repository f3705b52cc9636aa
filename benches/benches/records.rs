//! The record store: looking up, applying, and moving what was applied into the engine.

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hapax_bench::stored::applies::Applies;
use hapax_bench::stored::gets::{Gets, Place};
use hapax_bench::stored::moves::{BATCH_ROWS, Moves};
use hapax_store::records::EngineKind;

fn gets(c: &mut Criterion) {
    let mut group = c.benchmark_group("records/get");
    group.throughput(Throughput::Elements(1));
    for place in Place::ALL {
        common::measure(&mut group, place.name(), || Gets::open(place), Gets::run);
    }
    group.finish();
}

fn applies(c: &mut Criterion) {
    let mut group = c.benchmark_group("records/apply an entry");
    for changed in [1, 64, 512] {
        group.throughput(Throughput::Elements(changed as u64));
        common::measure(&mut group, &format!("{changed} records"), || Applies::open(changed), Applies::run);
    }
    group.finish();
}

fn moves(c: &mut Criterion) {
    let mut group = c.benchmark_group("records/move a batch");
    group.throughput(Throughput::Elements(BATCH_ROWS as u64)).sample_size(20);
    for (name, kind) in [("fjall", EngineKind::Fjall), ("sled", EngineKind::Sled)] {
        for (how, synced) in [("written", false), ("written and synced", true)] {
            let open = || Moves::open(kind.clone(), synced);
            if let Some(moves) = common::measure(&mut group, &format!("{name}, {how}"), open, Moves::run) {
                moves.finish().expect("the engine has what was moved");
            }
        }
    }
    group.finish();
}

criterion_group!(benches, gets, applies, moves);
criterion_main!(benches);
