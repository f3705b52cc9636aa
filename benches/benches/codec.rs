//! What an entry's bytes cost: encoded once by the leader, decoded once by every replica.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hapax_bench::batch;
use hapax_store::codec::batch::{decode_batch, encode_batch};
use std::hint::black_box;

fn entry(c: &mut Criterion) {
    let mut group = c.benchmark_group("entry");
    for commands in [1, 32, 512] {
        let batch = batch(commands);
        let bytes = encode_batch(&batch);
        group.throughput(Throughput::Elements(commands));
        group.bench_function(format!("encode {commands}"), |b| b.iter(|| encode_batch(black_box(&batch))));
        group.bench_function(format!("decode {commands}"), |b| b.iter(|| decode_batch(black_box(&bytes))));
    }
    group.finish();
}

criterion_group!(benches, entry);
criterion_main!(benches);
