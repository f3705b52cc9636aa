//! The client: calls at once, against a node of this process that answers at once.

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hapax_bench::wired::callers::{CALLS, Callers};

fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("client/claim and complete");
    for callers in [1, 64, 512] {
        group.throughput(Throughput::Elements(callers * CALLS));
        let open = || Callers::open(callers);
        if let Some(callers) = common::measure(&mut group, &format!("{callers} at once"), open, Callers::run)
        {
            callers.finish().expect("every call was sent once");
        }
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
