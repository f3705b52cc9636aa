//! The shared log: groups that each append an entry and wait for the sync.

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hapax_bench::stored::appends::Appends;

/// An entry of one claim, about, and one of ten.
const ENTRY_BYTES: [usize; 2] = [400, 4096];

fn appends(c: &mut Criterion) {
    let mut group = c.benchmark_group("log/append and sync");
    for groups in [1, 8, 64] {
        for entry_bytes in ENTRY_BYTES {
            group.throughput(Throughput::Elements(u64::from(groups)));
            let name = format!("{groups} x {entry_bytes} B");
            let open = || Appends::open(groups, entry_bytes);
            if let Some(appends) = common::measure(&mut group, &name, open, Appends::run) {
                appends.finish().expect("the log has what was appended");
            }
        }
    }
    group.finish();
}

criterion_group!(benches, appends);
criterion_main!(benches);
