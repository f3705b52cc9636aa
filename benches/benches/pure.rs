//! What needs no disk and no socket: the state machine, the codecs, the frames.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hapax_bench::micro;

fn cases(c: &mut Criterion) {
    let mut group = c.benchmark_group("pure");
    for mut case in micro::all() {
        group.throughput(Throughput::Elements(case.elements));
        group.bench_function(case.name.clone(), |b| b.iter(|| case.run()));
    }
    group.finish();
}

criterion_group!(benches, cases);
criterion_main!(benches);
