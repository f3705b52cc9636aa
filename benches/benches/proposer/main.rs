//! The way of a claim through a leader: queue, batch, entry, log, apply, answer.
//!
//! Contract: so many claims of new keys are in flight all the time, as of so many callers, each on its own: it is the
//! leader that makes entries of them. They go in at the node's public entry, and each must be granted, under a token that
//! no other has.

#[path = "../common/mod.rs"]
mod common;

mod claims;
mod cluster;

use claims::Claims;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::io::Write as _;

/// Claims in flight.
const AT_ONCE: [usize; 3] = [1, 64, 512];

fn one_replica(c: &mut Criterion) {
    claims(c, 1);
}

fn three_replicas(c: &mut Criterion) {
    claims(c, 3);
}

fn claims(c: &mut Criterion, replicas: usize) {
    let mut group = c.benchmark_group(format!("proposer/claims, {replicas} replicas"));
    for at_once in AT_ONCE {
        group.throughput(Throughput::Elements(at_once as u64));
        let open = || Claims::open(replicas, at_once);
        if let Some(claims) = common::measure(&mut group, &format!("{at_once} at once"), open, Claims::run) {
            let commands = claims.finish().expect("the last claim is kept");
            let _gone = writeln!(std::io::stderr(), "    an entry had {commands:.1} commands, on average");
        }
    }
    group.finish();
}

criterion_group!(benches, one_replica, three_replicas);
criterion_main!(benches);
